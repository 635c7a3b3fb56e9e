//! What an event costs the processor.
//!
//! Counted is the CPU time of the thread while it works for the event: guest code,
//! setting the instance up, what the host does for the guest without waiting, and a few
//! microseconds before (`Meter::reset`).
//! Waiting costs nothing, and neither does another thread's having the core.

use super::threads::Known;
use rustix::time::{ClockId, clock_gettime};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// Shared by the event, its budget and whoever decides who runs next.
#[derive(Default)]
pub(super) struct Meter {
    /// Nanoseconds, all turns that are over.
    spent: AtomicU64,
    /// The thread's clock when the present turn began.
    began: AtomicU64,
}

impl Meter {
    /// Begins anew with an event: what the host did since the turn began, or the event
    /// before ended, is a few microseconds and counted with it. Asking the clock once
    /// more would cost half of one.
    pub(super) fn reset(&self) {
        self.spent.store(0, Ordering::Relaxed);
    }

    /// All that the event has used, at its end.
    pub(super) fn end(&self) -> Duration {
        let now = thread_clock();
        let began = self.began.swap(now, Ordering::Relaxed);
        let took = now.saturating_sub(began);
        Duration::from_nanos(self.spent.fetch_add(took, Ordering::Relaxed) + took)
    }

    /// Without the present turn.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// With the present turn. Only right on the thread whose turn it is.
    pub(super) fn so_far(&self) -> Duration {
        let began = self.began.load(Ordering::Relaxed);
        self.spent() + Duration::from_nanos(thread_clock().saturating_sub(began))
    }
}

/// A future whose turns are counted.
pub(super) struct Metered<F> {
    pub(super) known: Arc<Known>,
    pub(super) work: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.known.meter.began.store(thread_clock(), Ordering::Relaxed);
        let polled = self.work.as_mut().poll(cx);
        // Not when this turn began but when what is counted did.
        let began = self.known.meter.began.load(Ordering::Relaxed);
        let took = thread_clock().saturating_sub(began);
        self.known.meter.spent.fetch_add(took, Ordering::Relaxed);
        polled
    }
}

/// The CPU time of this thread, in nanoseconds.
fn thread_clock() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
