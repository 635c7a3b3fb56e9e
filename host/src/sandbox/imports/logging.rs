//! `log`: what the builder reads afterwards.

use crate::sandbox::{
    guest::Guest,
    receipt::LogEntry,
    world::aiybiz::agent::log::{self, Level},
};
use wasmtime::Result;

/// Longer entries are cut, in bytes.
const ENTRY_BYTES: usize = 8 << 10;

impl log::Host for Guest {
    async fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Result<()> {
        self.call("log.write")?;
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.note(level, message, fields);
        Ok(())
    }
}

impl Guest {
    /// Adds an entry to the event's log if there is room.
    pub(crate) fn note(&mut self, level: &str, message: String, fields: Vec<(String, String)>) {
        let mut room = ENTRY_BYTES;
        let message = cut(&message, &mut room);
        let fields = fields.into_iter().map(|(k, v)| (cut(&k, &mut room), cut(&v, &mut room)));
        let entry = LogEntry { level: level.to_owned(), message, fields: fields.collect() };
        // An empty entry is not free either.
        let size = (ENTRY_BYTES - room + 16) as u64;
        if self.used.log_bytes + size > self.limits.log_bytes {
            return;
        }
        self.used.log_bytes += size;
        self.log.push(entry);
    }
}

/// As much of the text as there is room for, without control characters: a log
/// line must not be able to draw on an operator's terminal.
fn cut(text: &str, room: &mut usize) -> String {
    let mut kept = String::with_capacity(text.len().min(*room));
    for c in text.chars() {
        let c = if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
        let Some(left) = room.checked_sub(c.len_utf8()) else { break };
        *room = left;
        kept.push(c);
    }
    kept
}
