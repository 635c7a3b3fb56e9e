//! Where time, ids and randomness come from. Tests move the clock by hand.

use crate::timestamp::Timestamp;
use rand::RngCore;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// Cheap to clone; clones share the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How far this clock runs ahead of the machine's, in microseconds.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp::from_micros(self.machine().as_micros().saturating_add(ahead))
            .expect("the machine's clock is before the year 9999")
    }

    /// What the machine says, whatever tests have done to this clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn machine(&self) -> Timestamp {
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(machine.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(micros).expect("the machine's clock is before the year 9999")
    }

    /// Lets time pass at once. For tests.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.ahead.fetch_add(micros, Ordering::Relaxed);
    }

    /// A new name: UUIDv7, so that names sort by the time they were given.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    pub fn id<T: From<Uuid>>(&self) -> T {
        T::from(Uuid::now_v7())
    }

    /// Unguessable bytes from the operating system's generator.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }
}
