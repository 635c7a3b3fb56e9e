//! How an event reaches an agent: by a signed webhook, through the socket that it keeps
//! open, or by running a component.
//!
//! All are given the same [`Parcel`] and answer with the same [`Report`]; which of
//! them it was makes no difference to the lane that drives them. Neither sees the
//! database: what an agent says comes in through the session's `Scope` (component)
//! or the agent API (webhook, socket).

pub mod component;
pub mod exchange;
pub mod queue;
pub mod socket;
pub mod webhook;
pub mod window;

use crate::{
    id::{AgentId, EventId, SessionId},
    sandbox::{Message, Receipt, Scope},
    timestamp::Timestamp,
};
use async_trait::async_trait;
use exchange::Exchange;
use std::{sync::Arc, time::Duration};

/// One event on its way to one agent.
pub struct Parcel {
    pub agent: AgentId,
    pub session: SessionId,
    pub session_started: Timestamp,
    pub event: EventId,
    pub attempt: u32,
    /// Its builder has asked for it again.
    pub replayed: bool,
    pub what: What,
    pub scope: Arc<dyn Scope>,
}

#[derive(Clone, Debug)]
pub enum What {
    Started,
    Message(Message),
    /// With the reason, in the contract's words.
    Ended(String),
}

/// How a try went.
pub struct Report {
    pub verdict: Verdict,
    /// What a component's run cost.
    pub receipt: Option<Receipt>,
    /// What went over the wire to a webhook, or through a socket.
    pub exchange: Option<Exchange>,
    /// How long the agent asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl From<Verdict> for Report {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, receipt: None, exchange: None, retry_after: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// There was no place for it yet: it was not tried.
    Busy,
    /// The agent may take it later: time-out, 5xx, "not now".
    Later(Failure),
    /// It would go the same way again: a trap, "never".
    Never(Failure),
}

impl Verdict {
    /// In one word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Busy => "busy",
            Self::Later(failure) | Self::Never(failure) => failure.code,
        }
    }
}

/// Why the agent did not take it: `code` for programs, `reason` for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: &'static str,
    pub reason: String,
}

#[async_trait]
pub trait Delivery: Send + Sync {
    async fn deliver(&self, parcel: Parcel) -> Report;
}
