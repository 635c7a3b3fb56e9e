//! What the threads know of a piece of work: what it has used, where it belongs, and
//! whether it must wait for others.

use super::SLICE;
use crate::{id::AgentId, sandbox::meter::Meter};
use std::{
    cell::RefCell,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

/// No seat: whichever thread is free.
const ANYWHERE: usize = usize::MAX;

thread_local! {
    pub(super) static CURRENT: RefCell<Option<Arc<Known>>> = const { RefCell::new(None) };
}

/// The work whose turn it is on this thread; none on threads that are not guests'.
pub(in crate::sandbox) fn current() -> Option<Arc<Known>> {
    CURRENT.with_borrow(Clone::clone)
}

pub(in crate::sandbox) struct Known {
    pub(in crate::sandbox) meter: Meter,
    /// Whose turn it is taken to be.
    pub(super) agent: Option<AgentId>,
    seat: AtomicUsize,
    /// What its agent was charged for so far, in nanoseconds.
    charged: AtomicU64,
    /// It has used up its slice.
    tired: AtomicBool,
    /// The host is at work for it.
    hosted: AtomicBool,
    /// Nobody waits for it: it is slow from the start.
    patient: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            meter: Meter::default(),
            agent: None,
            seat: AtomicUsize::new(ANYWHERE),
            charged: AtomicU64::new(0),
            tired: AtomicBool::new(false),
            hosted: AtomicBool::new(false),
            patient: false,
        }
    }
}

impl Known {
    pub(in crate::sandbox) fn of(agent: AgentId) -> Arc<Self> {
        Arc::new(Self { agent: Some(agent), ..Self::default() })
    }

    pub(in crate::sandbox) fn patient() -> Arc<Self> {
        Arc::new(Self { patient: true, ..Self::default() })
    }

    /// An event begins, at that seat; it is over when what is returned is dropped.
    pub(in crate::sandbox) fn begin(self: &Arc<Self>, seat: usize) -> Event {
        self.meter.reset();
        self.charged.store(0, Ordering::Relaxed);
        self.seat.store(seat, Ordering::Relaxed);
        Event(Arc::clone(self))
    }

    /// For every tick of guest code.
    pub(in crate::sandbox) fn tick(&self) {
        if self.meter.so_far() >= SLICE {
            self.tire();
        }
    }

    /// What follows is nothing for a fast thread. Whether that is news.
    pub(in crate::sandbox) fn tire(&self) -> bool {
        !self.tired.swap(true, Ordering::Relaxed)
    }

    /// The host begins, or has ended, to work for the guest.
    pub(in crate::sandbox) fn host(&self, works: bool) {
        self.hosted.store(works, Ordering::Relaxed);
    }

    pub(in crate::sandbox) fn is_slow(&self) -> bool {
        self.patient || (self.tired.load(Ordering::Relaxed) && !self.hosted.load(Ordering::Relaxed))
    }

    /// What it has used, and what of that since the last time this was asked.
    pub(super) fn used(&self) -> (Duration, Duration) {
        let spent = self.meter.spent();
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        let before = self.charged.swap(nanos, Ordering::Relaxed);
        (spent, spent.saturating_sub(Duration::from_nanos(before)))
    }

    pub(super) fn seat(&self) -> Option<usize> {
        Some(self.seat.load(Ordering::Relaxed)).filter(|seat| *seat != ANYWHERE)
    }
}

/// An event under way.
pub(in crate::sandbox) struct Event(Arc<Known>);

impl Drop for Event {
    fn drop(&mut self) {
        self.0.seat.store(ANYWHERE, Ordering::Relaxed);
        self.0.tired.store(false, Ordering::Relaxed);
        self.0.hosted.store(false, Ordering::Relaxed);
    }
}

/// Lets others have a turn, and goes on where the work now belongs.
pub(in crate::sandbox) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
