//! Whose turn it is among those who compute for long: agents have equal shares, and of
//! an agent's events the one that has used least goes first.
//!
//! Start-time fair queueing: each turn goes to the agent that has used least, and who
//! comes anew begins where the others are, without credit for having been away.

use crate::id::AgentId;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeSet, BinaryHeap, HashMap},
    time::Duration,
};

/// What belongs to no agent is one more agent here.
type Who = Option<AgentId>;

pub(super) struct Shares<T> {
    /// Those with something waiting.
    agents: HashMap<Who, Account<T>>,
    /// The same, whoever has used least first.
    order: BTreeSet<(Duration, Who)>,
    /// What the agent had used whose turn came last.
    level: Duration,
    came: u64,
}

struct Account<T> {
    used: Duration,
    waiting: BinaryHeap<Waiting<T>>,
}

/// Ordered by what the event has used, least first; then by when it came.
struct Waiting<T>(Reverse<(Duration, u64)>, T);

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self { agents: HashMap::new(), order: BTreeSet::new(), level: Duration::ZERO, came: 0 }
    }
}

impl<T> Shares<T> {
    /// `what` has used `spent` in all, `more` of it since it was here last.
    pub(super) fn push(&mut self, who: Who, (spent, more): (Duration, Duration), what: T) {
        let new = || Account { used: self.level, waiting: BinaryHeap::new() };
        let account = self.agents.entry(who).or_insert_with(new);
        self.order.remove(&(account.used, who));
        account.used += more;
        self.order.insert((account.used, who));
        self.came += 1;
        account.waiting.push(Waiting(Reverse((spent, self.came)), what));
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (used, who) = self.order.pop_first()?;
        self.level = used;
        let account = self.agents.get_mut(&who)?;
        let next = account.waiting.pop();
        if account.waiting.is_empty() {
            self.agents.remove(&who);
        } else {
            self.order.insert((used, who));
        }
        next.map(|Waiting(_, what)| what)
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const TURN: Duration = Duration::from_millis(1);

    const fn agent(n: u128) -> AgentId {
        AgentId(Uuid::from_u128(n))
    }

    /// Gives so many turns to events that never end; how many each agent got.
    fn turns(shares: &mut Shares<(Who, Duration)>, count: usize) -> HashMap<Who, usize> {
        let mut got = HashMap::new();
        for _ in 0..count {
            let (who, spent) = shares.pop().expect("they never end");
            *got.entry(who).or_default() += 1;
            shares.push(who, (spent + TURN, TURN), (who, spent + TURN));
        }
        got
    }

    #[test]
    fn eight_loops_of_one_agent_get_as_much_as_one_of_another() {
        let mut shares = Shares::default();
        for _ in 0..8 {
            shares.push(Some(agent(1)), (TURN, TURN), (Some(agent(1)), TURN));
        }
        shares.push(Some(agent(2)), (TURN, TURN), (Some(agent(2)), TURN));
        let got = turns(&mut shares, 100);
        assert!(got[&Some(agent(1))].abs_diff(got[&Some(agent(2))]) <= 8, "{got:?}");
        // Who comes late does not have the past made up for.
        shares.push(Some(agent(3)), (TURN, TURN), (Some(agent(3)), TURN));
        let got = turns(&mut shares, 99);
        assert!(got.values().all(|turns| (30..=36).contains(turns)), "{got:?}");
    }

    #[test]
    fn of_an_agents_events_the_one_that_has_used_least_goes_first() {
        let mut shares = Shares::default();
        for (spent, name) in [(5, "long"), (1, "short"), (3, "first"), (3, "second")] {
            shares.push(Some(agent(1)), (spent * TURN, TURN), name);
        }
        let all: Vec<_> = std::iter::from_fn(|| shares.pop()).collect();
        assert_eq!(all, ["short", "first", "second", "long"]);
        assert!(shares.agents.is_empty() && shares.order.is_empty());
    }
}
