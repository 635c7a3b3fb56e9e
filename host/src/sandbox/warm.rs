//! Instances that are kept between the events of one session.
//!
//! A language runtime takes longer to start than most answers take to give. Where
//! the builder wishes it, the instance that handled an event well waits here for the
//! next one of the same session, and of no other. It may go at any moment: for being
//! idle, for another agent's or another session's sake, or because it has missed an
//! event. What must last is in the state store.

use super::{run::Instance, threads::Slot};
use crate::{
    id::{AgentId, SessionId},
    timestamp::Timestamp,
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Nobody waits this long for an answer; who comes back later waits for a start.
const IDLE: Duration = Duration::from_mins(10);

/// Whose instance, and what it has seen.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    pub session: SessionId,
    /// The event's number in the session's log.
    pub seq: i64,
    /// The number of the last event that was handled well, if there was one. An
    /// instance that has handled another was elsewhere meanwhile.
    pub last: Option<i64>,
    pub now: Timestamp,
}

pub(super) struct Kept {
    pub(super) instance: Instance,
    /// Its place in the pool, given back when the instance is gone.
    pub(super) slot: Slot,
    pub(super) agent: AgentId,
    pub(super) sha256: String,
    /// Its memories, in bytes.
    pub(super) bytes: u64,
    pub(super) seq: i64,
    pub(super) since: Timestamp,
}

/// How many instances wait, and how much memory they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub instances: u64,
    pub bytes: u64,
}

pub(super) struct Warm {
    kept: Mutex<HashMap<SessionId, Kept>>,
    most_bytes: u64,
}

impl Warm {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self { kept: Mutex::default(), most_bytes }
    }

    /// The session's instance, if it is of this component and has missed nothing;
    /// otherwise what has to go.
    pub(super) fn take(&self, keep: &Keep, sha256: &str) -> Result<Option<Kept>, Box<Kept>> {
        let Some(kept) = self.lock().remove(&keep.session) else { return Ok(None) };
        if kept.sha256 == sha256 && Some(kept.seq) == keep.last {
            Ok(Some(kept))
        } else {
            Err(Box::new(kept))
        }
    }

    /// Keeps an instance, and returns those that have to go for it: at most
    /// `of_agent` of an agent stay, and all together hold so much memory.
    pub(super) fn put(&self, session: SessionId, kept: Kept, of_agent: u64) -> Vec<Kept> {
        let (agent, mut gone) = (kept.agent, Vec::new());
        let mut all = self.lock();
        gone.extend(all.insert(session, kept));
        while all.values().filter(|kept| kept.agent == agent).count() as u64 > of_agent {
            gone.extend(remove_oldest(&mut all, |kept| kept.agent == agent));
        }
        while all.values().map(|kept| kept.bytes).sum::<u64>() > self.most_bytes {
            gone.extend(remove_oldest(&mut all, |_| true));
        }
        gone
    }

    /// The one that has waited longest, which has to go.
    pub(super) fn give_way(&self) -> Option<Kept> {
        remove_oldest(&mut self.lock(), |_| true)
    }

    /// Those that have waited too long.
    pub(super) fn idle(&self, now: Timestamp) -> Vec<Kept> {
        let mut all = self.lock();
        all.extract_if(|_, kept| kept.since + IDLE <= now).map(|(_, kept)| kept).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    pub(super) fn waiting(&self) -> Waiting {
        let all = self.lock();
        let bytes = all.values().map(|kept| kept.bytes).sum();
        Waiting { instances: all.len() as u64, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_oldest(
    all: &mut HashMap<SessionId, Kept>,
    which: impl Fn(&Kept) -> bool,
) -> Option<Kept> {
    let found = all.iter().filter(|(_, kept)| which(kept));
    let session = found.min_by_key(|(_, kept)| kept.since).map(|(session, _)| *session)?;
    all.remove(&session)
}
