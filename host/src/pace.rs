//! How often one caller may do one thing. Each process counts for itself.
//!
//! A rate is a bucket (GCRA, in `governor`): as many at once as it holds, and one more
//! whenever a minute's share of it has passed.

use crate::id::SessionId;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use std::{hash::Hash, net::IpAddr, num::NonZeroU32};

/// What a session's agent may do at once, after a pause: a sixth of a minute's worth. One
/// that streams a reply token by token calls a hundred times a second and is welcome; one
/// that calls in a loop without end is told to slow down.
const AT_ONCE: u32 = 6;

/// How many links one mail address may be sent in a minute.
const LINKS: NonZeroU32 = NonZeroU32::new(3).expect("not zero");

/// The limits in force, per minute.
#[derive(Clone, Copy, Debug)]
pub struct PerMinute {
    pub agent_calls: NonZeroU32,
    pub messages: NonZeroU32,
    pub sign_ups: NonZeroU32,
    pub sign_ins: NonZeroU32,
    pub sign_ins_per_address: NonZeroU32,
}

pub struct Pace {
    /// Of a session's agent.
    pub calls: Rate<SessionId>,
    /// Of a session's clients.
    pub messages: Rate<SessionId>,
    pub sign_ups: Rate<IpAddr>,
    /// By mail address.
    pub sign_ins: Rate<String>,
    pub sign_ins_from: Rate<IpAddr>,
    /// By mail address.
    pub links: Rate<String>,
}

impl Pace {
    pub fn new(per_minute: PerMinute) -> Self {
        let calls = per_minute.agent_calls;
        let at_once = NonZeroU32::new(calls.get() / AT_ONCE).unwrap_or(NonZeroU32::MIN);
        Self {
            calls: Rate::new("calls", calls, at_once),
            messages: Rate::even("messages", per_minute.messages),
            sign_ups: Rate::even("sign-ups", per_minute.sign_ups),
            sign_ins: Rate::even("sign-ins", per_minute.sign_ins),
            sign_ins_from: Rate::even("sign-ins-from", per_minute.sign_ins_per_address),
            links: Rate::even("links", LINKS),
        }
    }

    /// Forgets those who have been quiet for long enough.
    pub fn tidy(&self) {
        self.calls.tidy();
        self.messages.tidy();
        self.sign_ups.tidy();
        self.sign_ins.tidy();
        self.sign_ins_from.tidy();
        self.links.tidy();
    }
}

/// How a caller stands with a rate.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub name: &'static str,
    pub per_minute: u32,
    /// What may still be done now.
    pub left: u32,
    /// Seconds until something more may be done than now.
    pub seconds: u32,
    /// This one was one too many.
    pub refused: bool,
}

pub struct Rate<K: Clone + Eq + Hash> {
    name: &'static str,
    per_minute: NonZeroU32,
    limiter: RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    /// A whole minute's worth may come at once.
    fn even(name: &'static str, per_minute: NonZeroU32) -> Self {
        Self::new(name, per_minute, per_minute)
    }

    fn new(name: &'static str, per_minute: NonZeroU32, at_once: NonZeroU32) -> Self {
        let quota = Quota::per_minute(per_minute).allow_burst(at_once);
        let limiter = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Self { name, per_minute, limiter }
    }

    /// Counts one.
    pub fn count(&self, key: &K) -> Standing {
        let standing = |left, seconds, refused| Standing {
            name: self.name,
            per_minute: self.per_minute.get(),
            left,
            seconds,
            refused,
        };
        match self.limiter.check_key(key) {
            Ok(now) => {
                let left = now.remaining_burst_capacity();
                standing(left, 60_u32.div_ceil(self.per_minute.get()), false)
            }
            Err(early) => {
                let wait = early.wait_time_from(DefaultClock::default().now());
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                standing(0, seconds, true)
            }
        }
    }

    /// Waits until one is free.
    pub async fn wait(&self, key: &K) {
        self.limiter.until_key_ready(key).await;
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}
