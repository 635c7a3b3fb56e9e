//! What a guest may use, as the operator sets it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

/// What is reserved at start and cannot change while the process lives: no limit may
/// promise more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pool {
    /// Instances that live at once: events that run, warm instances, trials.
    pub instances: u64,
    /// Address space of one linear memory.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// What instances may hold that are kept between events, all together, in bytes
    /// of their memories.
    pub warm_bytes: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            instances: 512,
            memory_bytes: 1024 * MIB,
            table_elements: 200_000,
            warm_bytes: 1024 * MIB,
        }
    }
}

/// One number per limit, each per event unless it says otherwise.
// What is said of the least and the most is `bounds`'; the rest of it is the pool's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// All linear memories of the instance together, in bytes. Python needs
    /// 13 MiB to say hello.
    #[schema(minimum = 65_536)]
    pub memory_bytes: u64,
    /// All tables together, in elements. StarlingMonkey begins with 7 800.
    #[schema(minimum = 1)]
    pub table_elements: u64,
    /// Time in guest code, in milliseconds; waiting for the host is not counted.
    #[schema(minimum = 1, maximum = 900_000)]
    pub cpu_millis: u64,
    /// From instantiation to return, in milliseconds, waiting included.
    #[schema(minimum = 1, maximum = 900_000)]
    pub wall_millis: u64,
    /// A single call to the host, in milliseconds.
    #[schema(minimum = 1, maximum = 900_000)]
    pub host_call_millis: u64,
    /// Calls to imports of `aiybiz:agent`, all kinds together.
    #[schema(maximum = 100_000_000)]
    pub host_calls: u64,
    /// What one call to the host may carry across, in bytes.
    #[schema(minimum = 524_288, maximum = 67_108_864)]
    pub host_call_bytes: u64,
    /// Replies and pieces of replies.
    #[schema(maximum = 100_000)]
    pub replies: u64,
    /// All replies together, in bytes of UTF-8.
    #[schema(maximum = 67_108_864)]
    pub reply_bytes: u64,
    /// The log with what the guest prints; beyond it entries are dropped.
    #[schema(maximum = 16_777_216)]
    pub log_bytes: u64,
    /// Read from files, in bytes.
    #[schema(maximum = 68_719_476_736_i64)]
    pub file_read_bytes: u64,
    /// Written to files, in bytes.
    #[schema(maximum = 68_719_476_736_i64)]
    pub file_write_bytes: u64,
    /// The state of one session, keys and values together.
    #[schema(maximum = 16_777_216)]
    pub state_bytes: u64,
    /// Live handles (files, streams, secrets) the guest holds at once.
    #[schema(minimum = 8, maximum = 100_000)]
    pub handles: u64,
    /// Outbound HTTP requests.
    #[schema(maximum = 100_000)]
    pub http_calls: u64,
    /// Bodies of outbound requests and of their answers together, in bytes.
    #[schema(maximum = 68_719_476_736_i64)]
    pub http_bytes: u64,
    /// Waiting for outbound HTTP in all, in milliseconds.
    #[schema(maximum = 900_000)]
    pub http_millis: u64,
    /// Where outbound HTTP may go: `https://api.example.com`,
    /// `https://*.example.com:8443`. Nowhere by default.
    #[schema(max_items = 100, max_length = 300)]
    pub http_allow: Vec<String>,
    /// Instances of one agent that are kept between events.
    pub warm_instances: u64,
    /// Events of one agent that run at once.
    #[schema(minimum = 1)]
    pub concurrent_events: u64,
    /// Events of one agent that wait in memory for a place; the rest wait in the
    /// database.
    #[schema(maximum = 10_000)]
    pub queued_events: u64,
    /// Events of all agents that run at once.
    #[schema(minimum = 1)]
    pub concurrent_events_total: u64,
    /// An uploaded file.
    #[schema(minimum = 1, maximum = 268_435_456)]
    pub component_bytes: u64,
    /// Compiling an upload, both in time on the clock and in CPU time.
    #[schema(minimum = 1, maximum = 900_000)]
    pub compile_millis: u64,
    /// Address space of the process that compiles.
    #[schema(minimum = 268_435_456, maximum = 68_719_476_736_i64)]
    pub compile_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 * MIB,
            table_elements: 50_000,
            cpu_millis: 2_000,
            wall_millis: 30_000,
            host_call_millis: 10_000,
            // A thousand pieces of a reply and a long file besides; made for nothing, they
            // take half a millisecond, which no neighbour notices.
            host_calls: 2_500,
            host_call_bytes: 4 * MIB,
            replies: 1_000,
            reply_bytes: MIB,
            log_bytes: 64 * KIB,
            file_read_bytes: 256 * MIB,
            file_write_bytes: 64 * MIB,
            state_bytes: 256 * KIB,
            handles: 1_000,
            http_calls: 50,
            http_bytes: 8 * MIB,
            http_millis: 20_000,
            http_allow: Vec::new(),
            warm_instances: 32,
            concurrent_events: 64,
            queued_events: 256,
            concurrent_events_total: 128,
            component_bytes: 32 * MIB,
            compile_millis: 60_000,
            compile_memory_bytes: 2048 * MIB,
        }
    }
}

impl Limits {
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_millis)
    }

    pub fn host_call(&self) -> Duration {
        Duration::from_millis(self.host_call_millis)
    }
}
