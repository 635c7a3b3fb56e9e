//! `log`: what the builder reads afterwards.

use crate::sandbox::{
    guest::Guest,
    receipt::{LogEntry, plain},
    world::aiybiz::agent::log::{self, Level},
};
use wasmtime::Result;

/// Longer entries are cut, in bytes.
const ENTRY_BYTES: usize = 8 << 10;

/// What an entry counts for beside its text: what is kept around it.
const ENTRY_OVERHEAD: u64 = 48;

impl log::Host for Guest {
    async fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Result<()> {
        self.call("log.write").await?;
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
        // An empty entry is not free either; one that does not fit is cut to fit.
        let left = self.limits.log_bytes.saturating_sub(self.used.log_bytes + ENTRY_OVERHEAD);
        if left == 0 {
            return;
        }
        let whole = ENTRY_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut room = whole;
        // Fields first: they say what the rest is.
        let fields = fields.into_iter().map(|(k, v)| (plain(&k, &mut room), plain(&v, &mut room)));
        let fields = fields.collect();
        let message = plain(&message, &mut room);
        let entry = LogEntry { level: level.to_owned(), message, fields };
        self.used.log_bytes += (whole - room) as u64 + ENTRY_OVERHEAD;
        self.log.push(entry);
    }
}
