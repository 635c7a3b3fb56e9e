//! "This user was told something": wakes whoever follows his notifications.
//!
//! Nobody has to say so when it happens, which may be in any transaction and in any
//! process: while somebody follows, this process looks once a second who was told
//! something of late (`work::inboxes`), and wakes those.

use crate::id::UserId;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What one person may follow at once: windows of a browser.
const EACH: usize = 20;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Inboxes {
    /// The newest number that is known, of those who are followed.
    followed: Arc<DashMap<UserId, watch::Sender<i64>>>,
}

impl Inboxes {
    /// Starts to listen; none when this person listens often enough. Do it before the
    /// first look.
    pub fn listen(&self, user: UserId) -> Option<Ear> {
        let newest = self.followed.entry(user).or_insert_with(|| watch::Sender::new(0));
        if newest.receiver_count() >= EACH {
            return None;
        }
        let place = Place { followed: Arc::clone(&self.followed), user };
        Some(Ear { newest: newest.subscribe(), _place: place })
    }

    pub fn nobody_listens(&self) -> bool {
        self.followed.is_empty()
    }

    /// The user's newest notification has this number.
    pub fn wake(&self, user: UserId, seq: i64) {
        if let Some(newest) = self.followed.get(&user) {
            newest.send_if_modified(|known| {
                let news = seq > *known;
                *known = seq.max(*known);
                news
            });
        }
    }
}

/// One reader's ear.
pub struct Ear {
    // Dropped in this order: the place looks whether anybody listens still.
    newest: watch::Receiver<i64>,
    _place: Place,
}

impl Ear {
    /// Ready when there is a newer one than at the last time.
    pub async fn news(&mut self) {
        // The sender lives as long as an ear does.
        let _ = self.newest.changed().await;
    }
}

struct Place {
    followed: Arc<DashMap<UserId, watch::Sender<i64>>>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.followed.remove_if(&self.user, |_, newest| newest.receiver_count() == 0);
    }
}
