//! Which limits make sense: each number within its bounds, and together.
//!
//! The upper bounds are far above what honest agents need. They keep a slip of the
//! keyboard from becoming the policy, and hold what the rest of the host counts on.

use super::{
    limits::{KIB, Limits, MIB, Pool},
    site::check_site,
};

/// An event holds its session's lane, a place among the running and an instance for
/// as long: a quarter of an hour. Longer work is several events.
const MOST_MILLIS: u64 = 15 * 60 * 1_000;

/// Log and state are held in memory while the event runs, and then written as one
/// row.
const MOST_IN_A_ROW: u64 = 16 * MIB;

/// More cannot be moved within the longest event.
const MOST_MOVED: u64 = 64 * 1024 * MIB;

/// Held in memory whole, on both sides of the call.
const MOST_AT_ONCE: u64 = 64 * MIB;

/// Each is a row of the log, sent to every reader.
const MOST_REPLIES: u64 = 100_000;

const MOST_REPLY_BYTES: u64 = 64 * MIB;

/// A guest that calls this often is in a loop.
const MOST_CALLS: u64 = 100_000_000;
const MOST_REQUESTS: u64 = 100_000;

/// A handle costs the host some hundred bytes.
const MOST_HANDLES: u64 = 100_000;

/// An upload is held in memory while it is received and looked at.
const MOST_COMPONENT: u64 = 256 * MIB;

/// Address space, of which Cranelift uses a part; no component that passes the other
/// limits needs more.
const MOST_COMPILER: u64 = 64 * 1024 * MIB;

/// A client's longest message must get in, and a reply out, with what surrounds them.
const LEAST_AT_ONCE: u64 = 512 * KIB;

/// Each holds a lane's task while it waits.
const MOST_QUEUED: u64 = 10_000;

/// Standard output and error, a clock, and something to work with.
const LEAST_HANDLES: u64 = 8;

/// What the compiler takes for itself.
const LEAST_COMPILER: u64 = 256 * MIB;

/// Entries of `httpAllow`; the text is read with every event.
const MOST_SITES: usize = 100;

/// A limit that makes no sense, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Senseless {
    /// As it is written in JSON: `memoryBytes`, `httpAllow/3`.
    pub limit: String,
    /// The other one, when each would do without the other.
    pub beside: Option<&'static str>,
    pub why: String,
}

impl std::fmt::Display for Senseless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.limit, self.why)
    }
}

fn senseless<T>(limit: impl Into<String>, why: String) -> Result<T, Senseless> {
    Err(Senseless { limit: limit.into(), beside: None, why })
}

/// A limit that must not be above another one.
fn within(
    (limit, value): (&str, u64),
    (other, most): (&'static str, u64),
) -> Result<(), Senseless> {
    if value <= most {
        return Ok(());
    }
    let why = format!("{limit} ({value}) is above {other} ({most})");
    Err(Senseless { limit: limit.to_owned(), beside: Some(other), why })
}

impl Limits {
    /// Refuses what makes no sense, naming the limit.
    pub fn check(&self, pool: &Pool) -> Result<(), Senseless> {
        for (limit, value, least, most, why) in self.bounds(pool) {
            if value < least {
                return senseless(limit, format!("{value} is too little, at least {least}"));
            }
            if value > most {
                return senseless(limit, format!("{value} is too much, at most {most}: {why}"));
            }
        }
        within(("cpuMillis", self.cpu_millis), ("wallMillis", self.wall_millis))?;
        within(
            ("concurrentEvents", self.concurrent_events),
            ("concurrentEventsTotal", self.concurrent_events_total),
        )?;
        self.check_sites()
    }

    /// Each number with the least and the most it may be, and why no more.
    fn bounds(&self, pool: &Pool) -> [(&'static str, u64, u64, u64, &'static str); 24] {
        let (slot, slots) = ("the pool's slot, set at start", "the pool's instances, set at start");
        let (time, turn) = ("an event holds its place so long", "other uploads wait so long");
        let (moved, held) = ("an event has no time for more", "it is held in memory");
        let (kept, rows) = ("it is kept in the log", "each is a row of the log");
        let (looped, costly) = ("more is a loop", "each costs the host memory");
        [
            ("memoryBytes", self.memory_bytes, 64 * KIB, pool.memory_bytes, slot),
            ("tableElements", self.table_elements, 1, pool.table_elements, slot),
            ("cpuMillis", self.cpu_millis, 1, MOST_MILLIS, time),
            ("wallMillis", self.wall_millis, 1, MOST_MILLIS, time),
            ("hostCallMillis", self.host_call_millis, 1, MOST_MILLIS, time),
            ("hostCalls", self.host_calls, 0, MOST_CALLS, looped),
            ("hostCallBytes", self.host_call_bytes, LEAST_AT_ONCE, MOST_AT_ONCE, held),
            ("replies", self.replies, 0, MOST_REPLIES, rows),
            ("replyBytes", self.reply_bytes, 0, MOST_REPLY_BYTES, kept),
            ("logBytes", self.log_bytes, 0, MOST_IN_A_ROW, held),
            ("fileReadBytes", self.file_read_bytes, 0, MOST_MOVED, moved),
            ("fileWriteBytes", self.file_write_bytes, 0, MOST_MOVED, moved),
            ("stateBytes", self.state_bytes, 0, MOST_IN_A_ROW, held),
            ("handles", self.handles, LEAST_HANDLES, MOST_HANDLES, costly),
            ("httpCalls", self.http_calls, 0, MOST_REQUESTS, looped),
            ("httpBytes", self.http_bytes, 0, MOST_MOVED, moved),
            ("httpMillis", self.http_millis, 0, MOST_MILLIS, time),
            ("warmInstances", self.warm_instances, 0, pool.instances, slots),
            ("concurrentEvents", self.concurrent_events, 1, pool.instances, slots),
            ("queuedEvents", self.queued_events, 0, MOST_QUEUED, costly),
            ("concurrentEventsTotal", self.concurrent_events_total, 1, pool.instances, slots),
            ("componentBytes", self.component_bytes, 1, MOST_COMPONENT, held),
            ("compileMillis", self.compile_millis, 1, MOST_MILLIS, turn),
            (
                "compileMemoryBytes",
                self.compile_memory_bytes,
                LEAST_COMPILER,
                MOST_COMPILER,
                costly,
            ),
        ]
    }

    fn check_sites(&self) -> Result<(), Senseless> {
        if self.http_allow.len() > MOST_SITES {
            let why = format!("{} entries, at most {MOST_SITES}", self.http_allow.len());
            return senseless("httpAllow", why);
        }
        for (index, site) in self.http_allow.iter().enumerate() {
            if let Err(why) = check_site(site) {
                return senseless(format!("httpAllow/{index}"), format!("{site:?} {why}"));
            }
        }
        Ok(())
    }
}
