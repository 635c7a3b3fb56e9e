//! "Look whether you shall break off": wakes the driver of a session's lane, if it is in
//! this process. One elsewhere finds out when it renews its claim.

use crate::id::SessionId;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Breaks(Arc<DashMap<SessionId, Arc<Notify>>>);

/// A driver that looks out.
pub struct Watch {
    breaks: Breaks,
    session: SessionId,
    own: Arc<Notify>,
}

impl Breaks {
    /// Starts to listen, in place of the driver before.
    pub fn listen(&self, session: SessionId) -> Watch {
        let own = Arc::new(Notify::new());
        self.0.insert(session, Arc::clone(&own));
        Watch { breaks: self.clone(), session, own }
    }

    pub fn tell(&self, session: SessionId) {
        if let Some(driver) = self.0.get(&session) {
            driver.notify_one();
        }
    }
}

impl Watch {
    /// Also ready for what was said before it was polled.
    pub async fn told(&self) {
        self.own.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.breaks.0.remove_if(&self.session, |_, other| Arc::ptr_eq(other, &self.own));
    }
}
