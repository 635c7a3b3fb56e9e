//! The tries of the last minute, by webhook: what tells a breaker to open.
//!
//! Each process counts for itself and forgets with its end; what follows from it (an
//! open breaker) is in the database and holds for all.

use crate::{id::AgentId, timestamp::Timestamp};
use dashmap::DashMap;
use std::time::Duration;

/// Convoy's share and number, over a minute instead of five: a client of a chat does
/// not wait for five.
const WINDOW: Duration = Duration::from_mins(1);
const TRIES: u32 = 10;
const FAILED_PERCENT: u32 = 70;

/// The window moves on in steps of ten seconds.
const STEPS: usize = 6;

#[derive(Default)]
pub struct Windows(DashMap<AgentId, Window>);

#[derive(Default)]
struct Window {
    /// Tries and failures of each step, and which step it is.
    steps: [Step; STEPS],
}

#[derive(Clone, Copy, Default)]
struct Step {
    number: u64,
    tries: u32,
    failures: u32,
}

impl Windows {
    /// Counts a try; true when so many have failed that the breaker should open.
    pub fn count(&self, agent: AgentId, failed: bool, now: Timestamp) -> bool {
        self.0.entry(agent).or_default().count(failed, number(now))
    }

    /// Begins anew: what failed before its builder mended it tells nothing.
    pub fn forget(&self, agent: AgentId) {
        self.0.remove(&agent);
    }

    /// Drops what is older than a window.
    pub fn tidy(&self, now: Timestamp) {
        let number = number(now);
        self.0.retain(|_, window| window.steps.iter().any(|step| step.fresh(number)));
    }
}

impl Window {
    fn count(&mut self, failed: bool, number: u64) -> bool {
        let step = &mut self.steps[(number % STEPS as u64) as usize];
        if step.number != number {
            *step = Step { number, tries: 0, failures: 0 };
        }
        step.tries += 1;
        step.failures += u32::from(failed);
        let fresh = self.steps.iter().filter(|step| step.fresh(number));
        let (tries, failures) = fresh
            .fold((0, 0), |(tries, failures), step| (tries + step.tries, failures + step.failures));
        failed && tries >= TRIES && failures * 100 >= tries * FAILED_PERCENT
    }
}

impl Step {
    fn fresh(&self, number: u64) -> bool {
        self.tries > 0 && self.number + STEPS as u64 > number
    }
}

fn number(now: Timestamp) -> u64 {
    u64::try_from(now.as_secs()).unwrap_or_default() / (WINDOW.as_secs() / STEPS as u64)
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn seven_of_ten_open_it_and_old_ones_do_not_count() {
        let mut window = Window::default();
        for n in 0..9 {
            assert!(!window.count(n >= 3, 100), "{n}");
        }
        assert!(window.count(true, 100), "seven of ten");

        let mut window = Window::default();
        for n in 0..20 {
            assert!(!window.count(n % 2 == 0, 100), "half of them");
        }

        let mut window = Window::default();
        for _ in 0..9 {
            assert!(!window.count(true, 100));
        }
        // A minute later they are forgotten, five steps later not.
        assert!(!window.count(true, 106));
        let mut window = Window::default();
        for _ in 0..9 {
            window.count(true, 100);
        }
        assert!(window.count(true, 105));
        assert!(!window.count(false, 105), "a success opens nothing");
    }
}
