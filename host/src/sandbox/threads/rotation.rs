//! A queue in which agents take turns: whoever has eight things to do waits for the
//! others seven times.

use crate::id::AgentId;
use std::collections::{HashMap, VecDeque};

/// What belongs to no agent is one more agent here.
pub(super) struct Rotation<T> {
    queues: HashMap<Option<AgentId>, VecDeque<T>>,
    /// Those with something in the queue, in the order of their turns.
    turns: VecDeque<Option<AgentId>>,
}

impl<T> Default for Rotation<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Rotation<T> {
    pub(super) fn push(&mut self, agent: Option<AgentId>, what: T) {
        let queue = self.queues.entry(agent).or_default();
        if queue.is_empty() {
            self.turns.push_back(agent);
        }
        queue.push_back(what);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let agent = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&agent)?;
        let what = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&agent);
        } else {
            self.turns.push_back(agent);
        }
        what
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn agents_take_turns() {
        let mut rotation = Rotation::default();
        let agent = |n| Some(AgentId(Uuid::from_u128(n)));
        for (who, what) in [(agent(1), "a"), (agent(1), "b"), (agent(1), "c"), (None, "x")] {
            rotation.push(who, what);
        }
        assert_eq!([rotation.pop(), rotation.pop()], [Some("a"), Some("x")]);
        rotation.push(agent(2), "m");
        rotation.push(None, "y");
        let left: Vec<_> = std::iter::from_fn(|| rotation.pop()).collect();
        assert_eq!(left, ["b", "m", "y", "c"]);
        assert!(rotation.is_empty() && rotation.queues.is_empty());
    }
}
