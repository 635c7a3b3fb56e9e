//! How many events may be on their way to one webhook at once, and in all.
//!
//! Whoever finds no place waits in line, in the order of coming; when the line is long
//! too, the event waits in the database. So a webhook that never answers holds up its own
//! events, and nobody else's.

use crate::id::AgentId;
use dashmap::DashMap;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// On their way to one webhook. What a small server answers at once.
const AT_ONCE: usize = 32;

/// Waiting in line for it.
const IN_LINE: usize = 256;

/// On their way in all: each is a connection, which is an open file, of which a process
/// often has 1024.
const IN_ALL: usize = 512;

/// Cheap to clone.
#[derive(Clone)]
pub struct Queues {
    lines: Arc<DashMap<AgentId, Arc<Line>>>,
    all: Arc<Semaphore>,
}

struct Line {
    at_once: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The right to send one event. Given back when dropped.
pub struct Place {
    // Dropped in this order: the line looks whether anybody needs it.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _line: Seat,
    /// There was none at first.
    pub waited: bool,
}

impl Default for Queues {
    fn default() -> Self {
        Self { lines: Arc::default(), all: Arc::new(Semaphore::new(IN_ALL)) }
    }
}

impl Queues {
    /// Waits for a place; none when too many wait already.
    pub async fn enter(&self, agent: AgentId) -> Option<Place> {
        let line = Arc::clone(&self.lines.entry(agent).or_insert_with(Line::new));
        let seat = Seat { queues: self.clone(), agent, line };
        let line = &seat.line;
        let free = Arc::clone(&line.at_once).try_acquire_owned();
        let waited = free.is_err();
        let own = match free {
            Ok(own) => own,
            Err(_) => {
                if line.waiting.fetch_add(1, Ordering::Relaxed) >= IN_LINE {
                    line.waiting.fetch_sub(1, Ordering::Relaxed);
                    return None;
                }
                let _waiting = Waiting(line);
                Arc::clone(&line.at_once).acquire_owned().await.ok()?
            }
        };
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _all: all, _own: own, _line: seat, waited })
    }
}

impl Line {
    fn new() -> Arc<Self> {
        Arc::new(Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) })
    }
}

/// Counts one who waits, also when he is dropped meanwhile.
struct Waiting<'a>(&'a Line);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody at a line; the last one takes the line away.
struct Seat {
    queues: Queues,
    agent: AgentId,
    line: Arc<Line>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Two: the map's and this one. Nobody gets another while the map is locked.
        let alone = |_: &AgentId, line: &Arc<Line>| Arc::strong_count(line) == 2;
        self.queues.lines.remove_if(&self.agent, alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn a_full_line_turns_away_and_holds_up_nobody_else() {
        let (queues, clock) = (Queues::default(), Clock::default());
        let (dead, other): (AgentId, AgentId) = (clock.id(), clock.id());
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(queues.enter(dead).await.expect("a place"));
        }
        let lines: Vec<_> = (0..IN_LINE)
            .map(|_| {
                let queues = queues.clone();
                tokio::spawn(async move { queues.enter(dead).await.map(|place| place.waited) })
            })
            .collect();
        while queues.lines.get(&dead).is_some_and(|l| l.waiting.load(Ordering::Relaxed) < IN_LINE) {
            tokio::task::yield_now().await;
        }
        assert!(queues.enter(dead).await.is_none(), "the line is full");
        assert!(queues.enter(other).await.is_some_and(|place| !place.waited));
        drop(places);
        for line in lines {
            assert_eq!(line.await.expect("no panic"), Some(true));
        }
        assert!(queues.lines.is_empty(), "nothing is left behind");
        assert_eq!(queues.all.available_permits(), IN_ALL);
    }
}
