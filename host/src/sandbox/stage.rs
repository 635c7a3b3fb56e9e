//! Where events run: past the turnstile, on a slot of a seat, in an instance that is
//! fresh or was kept.

use super::{
    limits::Pool,
    ready::Component,
    receipt::Receipt,
    run::{self, Instance, Job},
    threads::{self, Known, Threads, seat},
    turnstile::{Full, Place, Turnstile},
    warm::{Keep, Kept, Warm},
};
use crate::id::AgentId;
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc};
use wasmtime::Engine;

pub(super) struct Stage {
    /// One for each seat.
    pub(super) engines: Arc<Vec<Engine>>,
    pub(super) turnstile: Turnstile,
    pub(super) threads: Threads,
    pub(super) warm: Warm,
    /// Slots for instances, of all seats together.
    slots: u64,
}

impl Stage {
    pub(super) fn new(engines: Arc<Vec<Engine>>, threads: Threads, pool: &Pool) -> Self {
        Self {
            engines,
            turnstile: Turnstile::default(),
            threads,
            warm: Warm::new(pool.warm_bytes),
            slots: pool.instances,
        }
    }

    /// Waits for a place and runs the event: here, when this is a guests' thread, else
    /// on one of those. When the caller is dropped, so is the guest.
    pub(super) async fn handle(
        self: &Arc<Self>,
        agent: AgentId,
        component: Arc<Component>,
        job: Job,
    ) -> Result<Receipt, Full> {
        let (place, waited) = self.turnstile.enter(agent, &job.limits).await?;
        let (limits, uploaded) = (Arc::clone(&job.limits), Arc::clone(&component));
        let here = threads::current();
        let known = here.clone().unwrap_or_else(|| Known::of(agent));
        let event = Arc::clone(self).perform(place, Arc::clone(&known), agent, component, job);
        let performed = match here {
            Some(_) => AssertUnwindSafe(pin!(event)).catch_unwind().await,
            None => AssertUnwindSafe(self.threads.spawn(&known, event)).catch_unwind().await,
        };
        let mut receipt = performed.unwrap_or_else(|_| run::lost(limits, &uploaded.sha256));
        receipt.queue_micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        Ok(receipt)
    }

    async fn perform(
        self: Arc<Self>,
        _place: Place,
        known: Arc<Known>,
        agent: AgentId,
        component: Arc<Component>,
        job: Job,
    ) -> Receipt {
        let (instance, slot) = match self.kept(&job, &component.sha256) {
            Some(kept) => (Some(kept.instance), kept.slot),
            None => (None, self.threads.slot().await),
        };
        let event = known.begin(slot.seat);
        if slot.seat != seat() {
            threads::yield_once().await;
        }
        let instance = instance.and_then(|kept| kept.renewed(&job, Arc::clone(&known)));
        if known.is_slow() {
            threads::yield_once().await;
        }
        let engine = &self.engines[slot.seat];
        let fresh = || Instance::fresh(engine, &job, Arc::clone(&known));
        let instance = instance.unwrap_or_else(fresh);
        let (keep, most) = (job.keep, job.limits.warm_instances);
        let pre = &component.pres[slot.seat];
        let (receipt, instance) = run::run(instance, pre, &component.sha256, job).await;
        if let (Some(keep), Some(instance)) = (keep, instance) {
            let (sha256, bytes) = (component.sha256.clone(), instance.bytes());
            let Keep { session, seq, now: since, .. } = keep;
            let kept = Kept { instance, slot, agent, sha256, bytes, seq, since };
            for gone in self.warm.put(session, kept, most) {
                self.threads.let_go(gone);
            }
        }
        let behind = known.is_slow();
        drop(event);
        if behind {
            // What follows is not the guest's, and others may wait for it.
            threads::yield_once().await;
        }
        receipt
    }

    /// The session's kept instance, if it is good for this event. Where there would
    /// be no slot for a fresh one, the one that has waited longest goes.
    fn kept(&self, job: &Job, sha256: &str) -> Option<Kept> {
        let kept = job.keep.as_ref().map_or(Ok(None), |keep| self.warm.take(keep, sha256));
        let found = kept.unwrap_or_else(|misfit| {
            self.threads.let_go(misfit);
            None
        });
        if found.is_none() && self.turnstile.running() + self.warm.count() > self.slots {
            self.threads.let_go(self.warm.give_way());
        }
        found
    }
}
