//! The threads that guests run on, and whose turn it is.
//!
//! Everybody begins on a fast thread. A guest that has used up its [`SLICE`] goes on
//! on a slow one, where agents have equal shares, and whichever of their events has used
//! least so far is next: an event that needs a moment more is done soon, however many
//! endless loops there are. The operating system lets everything else in this process
//! go before slow threads. So a guest that computes for ever delays others by a slice,
//! once; and since agents take turns on the fast threads too, many guests of one agent
//! delay them by no more. What the host does for a slow guest it does on a fast thread
//! all the same: others wait for the locks it holds.
//!
//! Each fast thread has a seat with an engine of its own and so many slots for
//! instances; an instance that was made there is entered from there, until it
//! becomes slow.

mod known;
mod rotation;
mod shares;

pub(super) use known::{Known, current, yield_once};

use super::meter::Metered;
use async_task::{Builder, Runnable, Task};
use known::CURRENT;
use rotation::Rotation;
use shares::Shares;
use std::{
    cell::Cell,
    future::Future,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify};

/// What an event may use on a fast thread, give or take a tick: dozens of times what a
/// small guest needs, and little enough for a neighbour to wait.
const SLICE: Duration = Duration::from_millis(1);

/// How much lower slow threads stand than others: whoever wakes up goes before them,
/// and where every core is busy they still get a tenth of what the others get.
const LOW: i32 = 10;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// One core fewer than there are: however many guests compute, what wakes up finds a
/// core on which none of the slow ones is.
const fn slow_threads(cores: usize) -> usize {
    if cores > 1 { cores - 1 } else { 1 }
}

/// The seat that work on this thread belongs to.
pub(super) fn seat() -> usize {
    SEAT.get()
}

pub(super) struct Threads(Arc<Shared>);

/// Room for one instance in the engine of a seat; given back when dropped.
pub(super) struct Slot {
    pub(super) seat: usize,
    shared: Arc<Shared>,
}

type Turn = Runnable<Arc<Known>>;

struct Shared {
    stopping: AtomicBool,
    /// Slots of each seat.
    slots: usize,
    freed: Notify,
    /// What may go on on any fast thread.
    anywhere: Mutex<Rotation<Turn>>,
    seats: Vec<Seat>,
    slow: Mutex<Shares<Turn>>,
    slow_due: Condvar,
}

struct Seat {
    queue: Mutex<Rotation<Turn>>,
    taken: AtomicUsize,
    idle: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Threads {
    /// So many fast threads, one for each core, and the slow ones; each seat has so many slots. Work runs
    /// in the context of `runtime`, whose clock and sockets it uses.
    pub(super) fn start(count: usize, slots: usize, runtime: &Handle) -> std::io::Result<Self> {
        let seat = || Seat {
            queue: Mutex::default(),
            taken: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            slots,
            freed: Notify::new(),
            anywhere: Mutex::default(),
            seats: (0..count).map(|_| seat()).collect(),
            slow: Mutex::default(),
            slow_due: Condvar::new(),
        });
        let fast = (0..count).map(|number| (number, true));
        let slow = (0..slow_threads(count)).map(|number| (number, false));
        for (number, fast) in fast.chain(slow) {
            let (shared, runtime) = (Arc::clone(&shared), runtime.clone());
            let name = if fast { "guest" } else { "slow-guest" };
            std::thread::Builder::new().name(name.into()).spawn(move || {
                let _context = runtime.enter();
                SEAT.set(number);
                if fast { shared.run_fast(number) } else { shared.run_slow() }
            })?;
        }
        Ok(Self(shared))
    }

    /// Begins the work. Dropping the task drops the work, on its own thread. A panic
    /// of the work is the panic of whoever waits for it.
    pub(super) fn spawn<F>(&self, known: &Arc<Known>, work: F) -> Task<F::Output, Arc<Known>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let work = Metered { known: Arc::clone(known), work: Box::pin(work) };
        let shared = Arc::clone(&self.0);
        let schedule = move |turn| shared.schedule(turn);
        let builder = Builder::new().propagate_panic(true).metadata(Arc::clone(known));
        let (turn, task) = builder.spawn(move |_| work, schedule);
        turn.schedule();
        task
    }

    /// Room for an instance, on this thread's seat if it has any.
    pub(super) async fn slot(&self) -> Slot {
        loop {
            if let Some(slot) = self.0.take_slot() {
                return slot;
            }
            self.0.freed.notified().await;
        }
    }

    /// Slots that are taken.
    pub(super) fn instances(&self) -> usize {
        self.0.seats.iter().map(|seat| seat.taken.load(Ordering::SeqCst)).sum()
    }

    /// Lets go of something on a thread where that may take its time.
    pub(super) fn let_go(&self, what: impl Send + 'static) {
        self.spawn(&Known::patient(), async move { drop(what) }).detach();
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
        if known.is_slow() {
            let (who, used) = (known.agent, known.used());
            lock(&self.slow).push(who, used, turn);
            self.slow_due.notify_one();
            return;
        }
        match known.seat().and_then(|seat| self.seats.get(seat)) {
            Some(seat) => {
                lock(&seat.queue).push(known.agent, turn);
                seat.wake();
            }
            None => {
                lock(&self.anywhere).push(known.agent, turn);
                // Whoever is free; if nobody is, the next to become free looks here.
                let _ = self.seats.iter().any(Seat::wake);
            }
        }
    }

    fn take_slot(self: &Arc<Self>) -> Option<Slot> {
        let all = std::iter::once(seat()).chain(0..self.seats.len());
        let free = |taken| (taken < self.slots).then_some(taken + 1);
        let mut all = all.filter(|seat| {
            let taken = &self.seats[*seat].taken;
            taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free).is_ok()
        });
        all.next().map(|seat| Slot { seat, shared: Arc::clone(self) })
    }

    fn run_fast(&self, number: usize) {
        let seat = &self.seats[number];
        let _ = seat.thread.set(std::thread::current());
        while !self.stopping.load(Ordering::SeqCst) {
            if let Some(turn) = self.next(seat) {
                run(turn);
                continue;
            }
            seat.idle.store(true, Ordering::SeqCst);
            // Whoever came before the flag was up did not wake this thread.
            if lock(&seat.queue).is_empty() && lock(&self.anywhere).is_empty() {
                std::thread::park();
            }
            seat.idle.store(false, Ordering::SeqCst);
        }
    }

    /// What was begun here goes before what may go on anywhere.
    fn next(&self, seat: &Seat) -> Option<Turn> {
        let begun = lock(&seat.queue).pop();
        begun.or_else(|| lock(&self.anywhere).pop())
    }

    fn run_slow(&self) {
        if let Err(error) = rustix::process::nice(LOW) {
            tracing::warn!(%error, "slow guests run at normal priority");
        }
        let mut waiting = lock(&self.slow);
        while !self.stopping.load(Ordering::SeqCst) {
            match waiting.pop() {
                Some(turn) => {
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
    CURRENT.set(Some(Arc::clone(turn.metadata())));
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn.run())).is_err() {
        tracing::error!("a guest's thread caught a panic");
    }
    CURRENT.set(None);
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.seats[self.seat].taken.fetch_sub(1, Ordering::SeqCst);
        self.shared.freed.notify_one();
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
