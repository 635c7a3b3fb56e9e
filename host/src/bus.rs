//! "Session X has news": wakes whoever reads a session's log.
//!
//! The log is the truth. A signal that is lost costs a reader nothing but time
//! (it looks again on every heartbeat), and nothing is announced before it is
//! committed. A signal may carry the committed entry, to spare the reader a look;
//! and pieces of a reply that is being written, which are in no log at all.
//!
//! Within a process, readers are woken directly. On PostgreSQL the other processes
//! get a hint, bundled and outside any transaction: `NOTIFY` inside would
//! serialise all commits.

mod breaks;
mod hints;
mod inboxes;
mod streams;
mod tails;

pub use breaks::{Breaks, Watch};
pub use hints::across_processes;
pub use inboxes::{Ear, Inboxes};
pub use streams::{Stream, Streams};
pub use tails::{Place as TailPlace, Tails};

use crate::id::{EventId, SessionId};
use dashmap::DashMap;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{broadcast, mpsc};

/// Signals a reader may be behind before it is told to look at the log instead.
pub const BACKLOG: usize = 64;

/// Sessions whose news other processes have not been told of yet; beyond it a
/// hint is dropped, and they find out by looking.
const HINTS: usize = 4096;

#[derive(Clone, Debug)]
pub enum Signal {
    /// Look at the log.
    News,
    /// Look how the agent is.
    Presence,
    /// This was committed to the log: its number, and the line for the stream.
    Entry { seq: i64, line: Arc<str> },
    /// Not in the log: the line for the stream.
    Passing(Arc<str>),
    /// A piece of a reply that is being written, from `offset` to `end`, which count
    /// UTF-16 units.
    Piece { id: EventId, offset: u64, end: u64, line: Arc<str> },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    channels: Arc<DashMap<SessionId, Channel>>,
    hints: mpsc::Sender<SessionId>,
}

struct Channel {
    signals: broadcast::Sender<Signal>,
    writing: Writing,
}

/// Replies being written, by message id: the text so far.
type Writing = Arc<Mutex<BTreeMap<EventId, String>>>;

impl Bus {
    /// The bus, and where the hints for other processes come out.
    pub fn new() -> (Self, mpsc::Receiver<SessionId>) {
        let (hints, out) = mpsc::channel(HINTS);
        (Self { channels: Arc::default(), hints }, out)
    }

    /// Tells readers here and elsewhere. Call it after the commit.
    pub fn announce(&self, session: SessionId, signal: Signal) {
        self.wake(session, signal);
        // Full: they will find out by looking.
        let _ = self.hints.try_send(session);
    }

    /// Tells readers in this process.
    pub fn wake(&self, session: SessionId, signal: Signal) {
        if let Some(channel) = self.channels.get(&session) {
            // An error means that nobody listens.
            let _ = channel.signals.send(signal);
        }
    }

    /// Wakes every reader: hints may have been missed.
    pub fn wake_all(&self) {
        for channel in self.channels.iter() {
            let _ = channel.signals.send(Signal::News);
        }
    }

    /// Starts to listen. Do it before the first look at the log.
    pub fn listen(&self, session: SessionId) -> Listener {
        let channel = self.channels.entry(session).or_insert_with(Channel::new);
        Listener {
            signals: channel.signals.subscribe(),
            writing: Arc::clone(&channel.writing),
            place: Place { channels: Arc::clone(&self.channels), session },
        }
    }

    /// Adds a piece to a reply that is being written. `before` is what it goes on from,
    /// which another process may have been told; none when all of it comes through here,
    /// and in order.
    pub fn write(
        &self,
        session: SessionId,
        id: EventId,
        before: Option<&str>,
        piece: &str,
        (offset, line): (u64, Arc<str>),
    ) {
        let channel = self.channels.entry(session).or_insert_with(Channel::new);
        let mut writing = lock(&channel.writing);
        let text = writing.entry(id).or_default();
        match before {
            // Pieces that were taken at the same time may be told in another order: what
            // is shown is what was stored.
            Some(before) if text.len() < before.len() + piece.len() => {
                *text = format!("{before}{piece}");
            }
            Some(_) => {}
            None => text.push_str(piece),
        }
        // Under the lock, so that whoever has a snapshot hears every later piece.
        let end = offset + piece.encode_utf16().count() as u64;
        let _ = channel.signals.send(Signal::Piece { id, offset, end, line });
    }

    /// The reply is finished, or never will be.
    pub fn written(&self, session: SessionId, id: EventId) {
        if let Some(channel) = self.channels.get(&session) {
            lock(&channel.writing).remove(&id);
        }
        self.channels.remove_if(&session, |_, channel| channel.idle(0));
    }

    /// What is being written here, as far as it has come.
    pub fn unfinished(&self, session: SessionId) -> Vec<(EventId, String)> {
        let Some(channel) = self.channels.get(&session) else { return Vec::new() };
        lock(&channel.writing).iter().map(|(id, text)| (*id, text.clone())).collect()
    }

    /// The session is over, and with it whatever was being written.
    pub fn over(&self, session: SessionId) {
        if let Some(channel) = self.channels.get(&session) {
            lock(&channel.writing).clear();
        }
        self.channels.remove_if(&session, |_, channel| channel.idle(0));
    }
}

impl Channel {
    fn new() -> Self {
        Self { signals: broadcast::Sender::new(BACKLOG), writing: Writing::default() }
    }

    fn idle(&self, listeners: usize) -> bool {
        self.signals.receiver_count() <= listeners && lock(&self.writing).is_empty()
    }
}

/// One reader's ear.
pub struct Listener {
    // Dropped in this order: the place looks whether anybody listens still.
    signals: broadcast::Receiver<Signal>,
    writing: Writing,
    place: Place,
}

impl Listener {
    /// Waits for the next signal. One who is too far behind is told to look at
    /// the log.
    pub async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Ok(signal) => signal,
            Err(broadcast::error::RecvError::Lagged(_)) => Signal::News,
            // The sender lives as long as a listener does.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Replies that are being written now. Pieces of them may be heard again.
    pub fn writing(&self) -> Vec<(EventId, String)> {
        lock(&self.writing).iter().map(|(id, text)| (*id, text.clone())).collect()
    }

    pub fn session(&self) -> SessionId {
        self.place.session
    }
}

struct Place {
    channels: Arc<DashMap<SessionId, Channel>>,
    session: SessionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.channels.remove_if(&self.session, |_, channel| channel.idle(0));
    }
}

fn lock(writing: &Writing) -> std::sync::MutexGuard<'_, BTreeMap<EventId, String>> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}
