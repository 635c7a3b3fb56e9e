//! Names of files and folders: free text, within reason.

use crate::error::{Error, Result};
use unicode_normalization::UnicodeNormalization;

/// What every file system agrees on.
const BYTES: usize = 255;

/// The name in its stored form, if it may be one.
pub fn checked(pointer: &str, name: &str) -> Result<String> {
    let name: String = name.nfc().collect();
    let problem = if name.is_empty() || name.len() > BYTES {
        "must have 1 to 255 bytes"
    } else if name == "." || name == ".." || name.contains('/') {
        "must not contain / and not be . or .."
    } else if name.chars().any(|c| c.is_control() || overrides_direction(c)) {
        "must not contain control characters or overrides of the writing direction"
    } else {
        return Ok(name);
    };
    Err(Error::field(pointer, problem))
}

/// How names are compared: `Report.PDF` and `report.pdf` are one name.
pub fn key(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// Characters that make `gpj.exe` look like `exe.jpg`.
fn overrides_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
