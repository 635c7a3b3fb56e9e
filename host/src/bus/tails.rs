//! "Receipts were committed": wakes whoever follows them.
//!
//! It says so in this process only and does not say which. Whoever follows looks for
//! himself, also without being woken: another process may have written them.

use crate::id::UserId;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::{Notify, futures::Notified};

/// What one person may follow at once. Each looks at the database now and then.
const EACH: usize = 10;

/// What may be followed in all.
const ALL: usize = 1_000;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Tails {
    written: Arc<Notify>,
    open: Arc<DashMap<UserId, usize>>,
}

impl Tails {
    /// Call it after the commit. Costs nothing when nobody follows.
    pub fn written(&self) {
        self.written.notify_waiters();
    }

    /// Ready when something was written after this call, once it is enabled.
    pub fn news(&self) -> Notified<'_> {
        self.written.notified()
    }

    /// A place among those who follow; none when this person has enough of them, or
    /// everybody together.
    pub fn place(&self, user: UserId) -> Option<Place> {
        if self.open.iter().map(|open| *open).sum::<usize>() >= ALL {
            return None;
        }
        let mut open = self.open.entry(user).or_default();
        if *open >= EACH {
            return None;
        }
        *open += 1;
        Some(Place { open: Arc::clone(&self.open), user })
    }
}

/// Given back when dropped.
pub struct Place {
    open: Arc<DashMap<UserId, usize>>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut open) = self.open.get_mut(&self.user) {
            *open -= 1;
        }
        self.open.remove_if(&self.user, |_, open| *open == 0);
    }
}
