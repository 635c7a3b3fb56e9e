//! Names of files and folders: free text, within reason.

use crate::error::{Error, Result};
use std::fmt::Write;
use unicode_normalization::UnicodeNormalization;

/// What every file system agrees on.
pub const BYTES: usize = 255;

/// Longer ones are no extensions.
const EXTENSION: usize = 32;

// Written down for the description of the API: what `checked` takes.
/// A name of a file or folder: 1 to 255 bytes, neither `.` nor `..`, without `/`, control
/// characters and overrides of the writing direction.
#[derive(utoipa::ToSchema)]
#[schema(min_length = 1, max_length = 255, examples("report.pdf"))]
#[schema(pattern = "^[^/\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]+$")]
pub struct NodeName(pub String);

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

/// `report.pdf` → `report (3f2a).pdf`, for a second one where names are unique.
pub(super) fn second(name: &str, id: impl std::fmt::Display) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= EXTENSION => (stem, &name[stem.len()..]),
        _ => (name, ""),
    };
    let id = id.to_string();
    let mark = format!(" ({}){extension}", &id[id.len() - 4..]);
    let mut end = stem.len().min(BYTES - mark.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &stem[..end])
}

/// `type/subtype`, with parameters or without.
pub fn media_type<'t>(pointer: &str, text: &'t str) -> Result<&'t str> {
    let text = text.trim();
    let (kind, _) = text.split_once(';').unwrap_or((text, ""));
    let part = |part: &str| {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !part.is_empty() && part.bytes().all(token)
    };
    let parts = kind.trim().split_once('/');
    let good = parts.is_some_and(|(kind, subtype)| part(kind) && part(subtype));
    if !good || text.len() > BYTES || text.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
        return Err(Error::field(pointer, "must be a media type such as application/pdf"));
    }
    Ok(text)
}

/// Says to a browser: keep it under this name, do not show it (RFC 6266, 8187).
pub fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' })
        .collect();
    let mut exact = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            // A string takes whatever it is given.
            let _ = write!(exact, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// Characters that make `gpj.exe` look like `exe.jpg`.
fn overrides_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_name_is_a_name() {
        let long = "é".repeat(127);
        for (name, second_one) in [
            ("report.pdf", "report (89ab).pdf".to_owned()),
            ("notes", "notes (89ab)".to_owned()),
            (".profile", " (89ab).profile".to_owned()),
            (&long, format!("{} (89ab)", "é".repeat(124))),
            (&format!("{long}.x"), format!("{} (89ab).x", "é".repeat(123))),
        ] {
            assert_eq!(second(name, "0123456789ab"), second_one, "{name}");
            assert!(checked("/name", &second_one).is_ok(), "{name}");
        }
    }
}
