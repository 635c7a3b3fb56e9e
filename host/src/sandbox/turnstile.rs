//! Who may run: places for events, in all and of each agent.
//!
//! An event takes a place before anything is set up for it. When there is none, it
//! waits its turn: agents take turns, and within an agent whoever came first. So
//! many events of one agent may wait and no more; the next one is sent back
//! ([`Full`]) to where it is safe to wait, which is the database.

use super::limits::Limits;
use crate::id::AgentId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

#[derive(Clone, Default)]
pub(super) struct Turnstile(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    running: u64,
    /// As the last event's limits had it.
    most: u64,
    agents: HashMap<AgentId, Queue>,
    /// Agents with someone waiting, in the order of their turns.
    turns: VecDeque<AgentId>,
}

#[derive(Default)]
struct Queue {
    running: u64,
    most: u64,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place, given back when dropped.
pub(super) struct Place {
    turnstile: Turnstile,
    agent: AgentId,
}

/// As many events of this agent wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How an agent's events stand in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub running: u64,
    pub waiting: u64,
}

impl Turnstile {
    /// A place, and how long it was waited for.
    pub(super) async fn enter(
        &self,
        agent: AgentId,
        limits: &Limits,
    ) -> Result<(Place, Duration), Full> {
        let waiting = {
            let mut places = self.lock();
            places.most = limits.concurrent_events_total;
            let free = places.running < places.most;
            let queue = places.agents.entry(agent).or_default();
            queue.most = limits.concurrent_events;
            if free && queue.running < queue.most && queue.waiting.is_empty() {
                queue.running += 1;
                places.running += 1;
                return Ok((Place { turnstile: self.clone(), agent }, Duration::ZERO));
            }
            queue.waiting.retain(|sender| !sender.is_closed());
            if queue.waiting.len() as u64 >= limits.queued_events {
                places.forget_if_idle(agent);
                return Err(Full);
            }
            let (sender, receiver) = oneshot::channel();
            if queue.waiting.is_empty() {
                places.turns.push_back(agent);
            }
            places.agents.entry(agent).or_default().waiting.push_back(sender);
            receiver
        };
        let queued = Instant::now();
        // Limits may just have been raised.
        self.grant();
        // The sender is only dropped with a place in it, which is then taken back.
        let place = waiting.await.map_err(|_| Full)?;
        Ok((place, queued.elapsed()))
    }

    pub(super) fn standings(&self) -> Vec<(AgentId, Standing)> {
        let places = self.lock();
        places.agents.iter().map(|(agent, queue)| (*agent, queue.standing())).collect()
    }

    pub(super) fn running(&self) -> u64 {
        self.lock().running
    }

    pub(super) fn in_all(&self) -> Standing {
        let places = self.lock();
        let waiting = places.agents.values().map(|queue| queue.waiting.len() as u64).sum();
        Standing { running: places.running, waiting }
    }

    /// Gives away what is free, one agent after the other.
    fn grant(&self) {
        loop {
            let Some((sender, agent)) = self.lock().next() else { return };
            // One who no longer waits gives it back by dropping it.
            drop(sender.send(Place { turnstile: self.clone(), agent }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// The next who may run, already counted as running.
    fn next(&mut self) -> Option<(oneshot::Sender<Place>, AgentId)> {
        for _ in 0..self.turns.len() {
            if self.running >= self.most {
                return None;
            }
            let agent = self.turns.pop_front()?;
            let Some(queue) = self.agents.get_mut(&agent) else { continue };
            queue.waiting.retain(|sender| !sender.is_closed());
            let sender = if queue.running < queue.most { queue.waiting.pop_front() } else { None };
            if !queue.waiting.is_empty() {
                self.turns.push_back(agent);
            }
            if let Some(sender) = sender {
                queue.running += 1;
                self.running += 1;
                return Some((sender, agent));
            }
            self.forget_if_idle(agent);
        }
        None
    }

    fn forget_if_idle(&mut self, agent: AgentId) {
        if self.agents.get(&agent).is_some_and(|queue| queue.standing() == Standing::default()) {
            self.agents.remove(&agent);
        }
    }
}

impl Queue {
    fn standing(&self) -> Standing {
        Standing { running: self.running, waiting: self.waiting.len() as u64 }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut places = self.turnstile.lock();
            places.running -= 1;
            if let Some(queue) = places.agents.get_mut(&self.agent) {
                queue.running -= 1;
            }
            places.forget_if_idle(self.agent);
            if places.turns.is_empty() {
                return;
            }
        }
        self.turnstile.grant();
    }
}
