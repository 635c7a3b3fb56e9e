//! May this event go to its webhook now? Not when its builder must enable it first, not
//! while its breaker is open, and not before there is a place among those on their way.

use super::Driver;
use crate::{
    catalog::endpoints::{self, Gate},
    delivery::queue::Place,
    error::Result,
    sessions::lane::{Due, Target},
    timestamp::Timestamp,
};
use std::time::Duration;

/// What waits for a disabled webhook looks again so often. Enabling it brings everything
/// forward; this is for what was being put off in that very moment.
const LOOK: Duration = Duration::from_mins(10);

/// Those that wait for a breaker do not all come back at once.
const SPREAD_MILLIS: u64 = 2_000;

/// How long an event waits when the line for its webhook is full.
const FULL: Duration = Duration::from_secs(1);

pub(super) enum Passage {
    Free {
        place: Option<Place>,
        /// It is sent to see whether the webhook is back.
        probe: bool,
    },
    /// Not before that time.
    Held(Timestamp),
}

impl Driver {
    /// Waits in line where there is one. What is known of the webhook may be newer
    /// afterwards.
    pub(super) async fn passage(&self, target: &mut Target, due: &Due) -> Result<Passage> {
        if target.delivery != "webhook" || self.socket(target, due).is_some() {
            return Ok(Passage::Free { place: None, probe: false });
        }
        if let Some(until) = self.held(target) {
            return Ok(Passage::Held(until));
        }
        let host = &self.host;
        let place = tokio::select! {
            place = host.queues.enter(target.agent_id) => place,
            () = host.stopping.cancelled() => return Ok(Passage::Held(host.clock.now())),
        };
        let Some(place) = place else { return Ok(Passage::Held(host.clock.now() + FULL)) };
        if place.waited {
            *target = self.target().await?;
            if let Some(until) = self.held(target) {
                return Ok(Passage::Held(until));
            }
        }
        let mut probe = false;
        if let Gate::Probe(opens) = self.gate(target) {
            let mut tx = host.db.write().await?;
            probe = endpoints::probe(&mut tx, &host.clock, target.agent_id, opens).await?;
            tx.commit().await?;
            if !probe {
                // Somebody else sees, or it was closed meanwhile.
                return Ok(Passage::Held(host.clock.now() + self.spread()));
            }
        }
        Ok(Passage::Free { place: Some(place), probe })
    }

    fn gate(&self, target: &Target) -> Gate {
        endpoints::gate(
            target.webhook.disabled_at,
            target.webhook.held_until,
            self.host.clock.now(),
        )
    }

    fn held(&self, target: &Target) -> Option<Timestamp> {
        match self.gate(target) {
            Gate::Open | Gate::Probe(_) => None,
            Gate::HeldUntil(until) => Some(until + self.spread()),
            Gate::Disabled => Some(self.host.clock.now() + LOOK),
        }
    }

    fn spread(&self) -> Duration {
        let dice = u64::from(u16::from_le_bytes(self.host.clock.random()));
        Duration::from_millis(1 + dice % SPREAD_MILLIS)
    }
}
