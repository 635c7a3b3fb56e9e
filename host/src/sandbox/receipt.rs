//! What one event cost and how it went: for the builder, the operator and tests.

use super::{
    egress::{self, HttpCall},
    limits::Limits,
    scope::State,
};
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};

/// The longest explanation and the longest frame of a backtrace, in bytes.
pub(super) const EXPLANATION: usize = 2_000;
pub(super) const FRAME: usize = 300;

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventOutcome)]
pub enum Outcome {
    Ok,
    /// The guest asks to be given the event again later.
    Retry,
    /// The guest says that trying again would fail again.
    Refused,
    /// The guest crashed.
    Trap,
    /// Too much time in guest code.
    Cpu,
    /// Too much time in all.
    Wall,
    Memory,
    /// Another limit was used up; `explanation` names it.
    Budget,
    /// The platform failed, not the guest.
    HostError,
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Retry,
        Self::Refused,
        Self::Trap,
        Self::Cpu,
        Self::Wall,
        Self::Memory,
        Self::Budget,
        Self::HostError,
    ];

    /// Is it the component that failed? One that declines an event, or asks for
    /// another try, has not.
    pub fn at_fault(self) -> bool {
        matches!(self, Self::Trap | Self::Cpu | Self::Wall | Self::Memory | Self::Budget)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Trap => "trap",
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Memory => "memory",
            Self::Budget => "budget",
            Self::HostError => "host_error",
        }
    }
}

/// One entry of the guest's log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, serde::Deserialize)]
pub struct LogEntry {
    /// `trace`, `debug`, `info`, `warn`, `error`.
    pub level: String,
    pub message: String,
    /// What the guest gave along with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// How an event went and what it took.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub outcome: Outcome,
    /// One sentence: what happened and what to change.
    pub explanation: String,
    /// SHA-256 of the component as it was uploaded.
    pub sha256: String,
    /// Handled by an instance that was kept from an earlier event of the session.
    pub warm: bool,
    /// Until there was a place for it.
    pub queue_micros: u64,
    pub instantiate_micros: u64,
    /// In guest code.
    pub cpu_micros: u64,
    /// From being instantiated to the end.
    pub run_micros: u64,
    pub wall_micros: u64,
    pub peak_memory_bytes: u64,
    /// How often each import was called.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// Replies and pieces of replies.
    pub replies: u64,
    /// Read from files and from outbound HTTP.
    pub bytes_in: u64,
    /// Replied, written to files and sent by outbound HTTP.
    pub bytes_out: u64,
    /// Outbound requests in their order, the first hundred.
    pub http: Vec<HttpCall>,
    /// What is left of each limit, in percent.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub headroom: Headroom,
    /// What kind of crash it was, when it was one: `unreachable`, `stack_overflow`, … It is
    /// shown together with the backtrace, as `trap`.
    #[schema(ignore)]
    pub trap_class: Option<&'static str>,
    /// Frames of a crash, the innermost first.
    pub backtrace: Vec<String>,
    #[serde(skip)]
    pub log: Vec<LogEntry>,
    /// The state as the guest left it, if it changed; to be committed with the
    /// event, and only when the outcome is `ok`.
    #[serde(skip)]
    pub state: Option<State>,
}

/// What is left of each limit, in percent.
#[derive(Clone, Debug)]
pub struct Headroom([(&'static str, u64); 12]);

impl Headroom {
    /// The limit of which least is left, and how much.
    pub(super) fn least(&self) -> (&'static str, u64) {
        let [first, others @ ..] = &self.0;
        others.iter().fold(*first, |least, next| if next.1 < least.1 { *next } else { least })
    }
}

impl Serialize for Headroom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

/// What was counted while the guest ran.
#[derive(Default)]
pub(super) struct Used {
    pub(super) host_calls: BTreeMap<&'static str, u64>,
    pub(super) total_calls: u64,
    pub(super) replies: u64,
    pub(super) reply_bytes: u64,
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
    pub(super) log_bytes: u64,
}

impl Used {
    pub(super) fn headroom(
        &self,
        limits: &Limits,
        peak_memory: u64,
        cpu: Duration,
        wall: Duration,
        http: &egress::Used,
    ) -> Headroom {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let all = [
            ("memoryBytes", peak_memory, limits.memory_bytes),
            ("cpuMillis", millis(cpu), limits.cpu_millis),
            ("wallMillis", millis(wall), limits.wall_millis),
            ("hostCalls", self.total_calls, limits.host_calls),
            ("replies", self.replies, limits.replies),
            ("replyBytes", self.reply_bytes, limits.reply_bytes),
            ("logBytes", self.log_bytes, limits.log_bytes),
            ("fileReadBytes", self.read_bytes, limits.file_read_bytes),
            ("fileWriteBytes", self.write_bytes, limits.file_write_bytes),
            ("httpCalls", http.count, limits.http_calls),
            ("httpBytes", http.bytes_out + http.bytes_in, limits.http_bytes),
            ("httpMillis", millis(http.waited), limits.http_millis),
        ];
        Headroom(all.map(|(name, used, limit)| {
            // What was not used, be it that it may not be, is not running out.
            if used == 0 {
                return (name, 100);
            }
            let left = limit.saturating_sub(used);
            (name, left.saturating_mul(100).checked_div(limit).unwrap_or(0))
        }))
    }
}

/// As much of a guest's text as there is room for, without control characters: a
/// log line must not be able to draw on an operator's terminal, and PostgreSQL
/// stores no NUL.
pub(super) fn plain(text: &str, room: &mut usize) -> String {
    let mut kept = String::with_capacity(text.len().min(*room));
    for c in text.chars() {
        let c = if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
        let Some(left) = room.checked_sub(c.len_utf8()) else { break };
        *room = left;
        kept.push(c);
    }
    kept
}
