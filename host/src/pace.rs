//! How often one session's agent may call. Each process counts for itself.
//!
//! An agent that streams a reply token by token calls a hundred times a second and is
//! welcome; one that calls in a loop without end is told to slow down, and its socket is
//! read no faster.

use crate::id::SessionId;
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use std::num::NonZeroU32;

/// What may come at once, after a pause: a sixth of a minute's worth.
const AT_ONCE: u32 = 6;

pub struct Pace {
    calls: DefaultKeyedRateLimiter<SessionId>,
}

impl Pace {
    pub fn new(per_minute: NonZeroU32) -> Self {
        let at_once = NonZeroU32::new(per_minute.get() / AT_ONCE).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(at_once);
        Self { calls: DefaultKeyedRateLimiter::keyed(quota) }
    }

    /// Counts a call; too many: the seconds after which one is free again.
    pub fn check(&self, session: SessionId) -> Result<(), u32> {
        self.calls.check_key(&session).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
        })
    }

    /// Waits until one is free.
    pub async fn wait(&self, session: SessionId) {
        self.calls.until_key_ready(&session).await;
    }

    /// Forgets sessions that have been quiet for long enough.
    pub fn tidy(&self) {
        self.calls.retain_recent();
        self.calls.shrink_to_fit();
    }
}
