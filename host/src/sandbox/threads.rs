//! The threads that guests run on, and whose turn it is.
//!
//! Everybody begins on a fast thread. A guest that has used up its [`SLICE`] goes on
//! on a slow one, where whoever has used least so far is next: an event that needs
//! a moment more is done soon, however many endless loops there are, and the
//! operating system lets everything else in this process go before slow threads.
//! So a guest that computes for ever delays others by a slice, once.
//!
//! Each fast thread has a seat with an engine of its own; an instance that was made
//! there is entered from there, until it becomes slow.

use super::meter::{Meter, Metered};
use async_task::{Builder, Runnable, Task};
use std::{
    cell::Cell,
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    future::Future,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Duration,
};
use tokio::runtime::Handle;

/// What an event may use on a fast thread: dozens of times what a small guest
/// needs, and little enough for a neighbour to wait.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// No seat yet: whichever thread is free.
const ANYWHERE: usize = usize::MAX;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// The seat that work on this thread belongs to.
pub(super) fn seat() -> usize {
    SEAT.get()
}

pub(super) struct Threads(Arc<Shared>);

/// Where an event's first turn may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Anywhere,
    Seat(usize),
    /// Behind everybody who is in a hurry.
    Slow,
}

/// What is known of a piece of work.
struct Known {
    meter: Arc<Meter>,
    seat: AtomicUsize,
    slow: bool,
}

type Turn = Runnable<Known>;

struct Shared {
    stopping: AtomicBool,
    /// What may begin on any fast thread.
    new: Mutex<VecDeque<Turn>>,
    seats: Vec<Seat>,
    slow: Mutex<BinaryHeap<Patient>>,
    slow_due: Condvar,
    turns: AtomicU64,
}

struct Seat {
    queue: Mutex<VecDeque<Turn>>,
    idle: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Ordered by what it has used so far, least first; then by when it came.
struct Patient(Reverse<(Duration, u64)>, Turn);

impl Threads {
    /// `count` fast and as many slow threads. Work runs in the context of `runtime`,
    /// whose clock and sockets it uses.
    pub(super) fn start(count: usize, runtime: &Handle) -> std::io::Result<Self> {
        let seat = || Seat {
            queue: Mutex::default(),
            idle: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            new: Mutex::default(),
            seats: (0..count).map(|_| seat()).collect(),
            slow: Mutex::default(),
            slow_due: Condvar::new(),
            turns: AtomicU64::new(0),
        });
        for number in 0..count {
            for fast in [true, false] {
                let (shared, runtime) = (Arc::clone(&shared), runtime.clone());
                let name = if fast { "guest" } else { "slow-guest" };
                std::thread::Builder::new().name(name.into()).spawn(move || {
                    let _context = runtime.enter();
                    SEAT.set(number);
                    if fast { shared.run_fast(number) } else { shared.run_slow() }
                })?;
            }
        }
        Ok(Self(shared))
    }

    pub(super) fn seats(&self) -> usize {
        self.0.seats.len()
    }

    /// Begins the work. Dropping the task drops the work, on its own thread. A panic
    /// of the work is the panic of whoever waits for it.
    pub(super) fn spawn<F>(
        &self,
        begin: Begin,
        meter: Arc<Meter>,
        work: F,
    ) -> Task<F::Output, impl Sized + use<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let seat = match begin {
            Begin::Seat(seat) => seat,
            Begin::Anywhere | Begin::Slow => ANYWHERE,
        };
        let known = Known {
            meter: Arc::clone(&meter),
            seat: AtomicUsize::new(seat),
            slow: begin == Begin::Slow,
        };
        let work = Metered { meter, work: Box::pin(work) };
        let shared = Arc::clone(&self.0);
        let schedule = move |turn| shared.schedule(turn);
        let builder = Builder::new().propagate_panic(true).metadata(known);
        let (turn, task) = builder.spawn(move |_| work, schedule);
        turn.schedule();
        task
    }
}

impl Drop for Threads {
    /// A thread may be inside a guest; nobody waits for it.
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        for seat in &self.0.seats {
            seat.wake();
        }
        self.0.slow_due.notify_all();
    }
}

impl Shared {
    fn schedule(&self, turn: Turn) {
        let known = turn.metadata();
        let spent = known.meter.spent();
        if known.slow || spent >= SLICE {
            let number = self.turns.fetch_add(1, Ordering::Relaxed);
            lock(&self.slow).push(Patient(Reverse((spent, number)), turn));
            self.slow_due.notify_one();
            return;
        }
        match self.seats.get(known.seat.load(Ordering::Relaxed)) {
            Some(seat) => {
                lock(&seat.queue).push_back(turn);
                seat.wake();
            }
            None => {
                lock(&self.new).push_back(turn);
                // One that is free; if none is, the next to become free looks here.
                let _ = self.seats.iter().any(Seat::wake);
            }
        }
    }

    fn run_fast(&self, number: usize) {
        let seat = &self.seats[number];
        let _ = seat.thread.set(std::thread::current());
        while !self.stopping.load(Ordering::SeqCst) {
            if let Some(turn) = self.next(seat) {
                let home = &turn.metadata().seat;
                let _ =
                    home.compare_exchange(ANYWHERE, number, Ordering::Relaxed, Ordering::Relaxed);
                run(turn);
                continue;
            }
            seat.idle.store(true, Ordering::SeqCst);
            // Whoever came before the flag was up did not wake this thread.
            if lock(&seat.queue).is_empty() && lock(&self.new).is_empty() {
                std::thread::park();
            }
            seat.idle.store(false, Ordering::SeqCst);
        }
    }

    /// What was begun here goes before what is new.
    fn next(&self, seat: &Seat) -> Option<Turn> {
        let begun = lock(&seat.queue).pop_front();
        begun.or_else(|| lock(&self.new).pop_front())
    }

    fn run_slow(&self) {
        // As low as it goes: whatever else there is to do in this process is first.
        if let Err(error) = rustix::process::nice(19) {
            tracing::warn!(%error, "slow guests run at normal priority");
        }
        let mut waiting = lock(&self.slow);
        while !self.stopping.load(Ordering::SeqCst) {
            match waiting.pop() {
                Some(Patient(_, turn)) => {
                    drop(waiting);
                    run(turn);
                    waiting = lock(&self.slow);
                }
                None => {
                    let woken = self.slow_due.wait(waiting);
                    waiting = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// A panic of the work is caught by its task; one of a waker ends here.
fn run(turn: Turn) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn.run())).is_err() {
        tracing::error!("a guest's thread caught a panic");
    }
}

impl Seat {
    /// Whether it was idle and is not any more.
    fn wake(&self) -> bool {
        let woken = self.idle.swap(false, Ordering::SeqCst);
        if woken && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        woken
    }
}

/// Nothing here panics with the lock held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Patient {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Patient {}

impl PartialOrd for Patient {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Patient {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
