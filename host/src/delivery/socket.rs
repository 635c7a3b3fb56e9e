//! Delivery through the socket that an agent keeps open: a frame, and a ping behind it.
//!
//! The published SDK gives every frame to its handler, so nothing but messages may be
//! sent, and it acknowledges none. Its WebSocket library answers pings by itself, in
//! order: a pong proves that the frame before the ping has arrived. What is not proven
//! goes another way, later.

use super::{Delivery, Failure, Parcel, Report, Verdict, exchange::Exchange, webhook};
use crate::{
    id::{SessionId, SocketId},
    sandbox::Message,
    timestamp::Timestamp,
};
use async_trait::async_trait;
use dashmap::{DashMap, mapref::entry::Entry};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};
use tokio::sync::{mpsc, oneshot, watch};

/// What may wait to be written to one socket: a message, for a lane has one at a time,
/// and a ping or two.
const ORDERS: usize = 4;

/// How the URL of a try through a socket begins.
const SCHEME: &str = "ws:";

/// The sockets of this process: at most one of each session. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sockets(Arc<DashMap<SessionId, Line>>);

/// The platform's end of a socket. Cheap to clone.
#[derive(Clone)]
pub struct Line {
    pub id: SocketId,
    orders: mpsc::Sender<Order>,
    parting: watch::Sender<Option<Parting>>,
    heard: Arc<AtomicI64>,
}

/// What is to be written.
pub enum Order {
    /// A frame; it has arrived when `arrived` is told so, and has not when that is
    /// dropped.
    Tell {
        frame: String,
        arrived: oneshot::Sender<()>,
    },
    Ping,
}

/// Why the platform closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The agent has opened another one.
    Replaced,
    /// The session has ended.
    Over,
    /// Nothing was heard for too long.
    Stale,
    /// The process is stopping; another one, or its successor, is there at once.
    Restart,
}

/// The end at which a line's orders come out.
pub struct Orders {
    orders: mpsc::Receiver<Order>,
    parting: watch::Receiver<Option<Parting>>,
}

impl Sockets {
    /// The session's newest socket, unless a newer one is there: ids say which is. The
    /// one before it is closed.
    pub fn open(&self, session: SessionId, id: SocketId, now: Timestamp) -> Option<(Line, Orders)> {
        let (sender, orders) = mpsc::channel(ORDERS);
        let (parting, parted) = watch::channel(None);
        let heard = Arc::new(AtomicI64::new(now.as_micros()));
        let line = Line { id, orders: sender, parting, heard };
        match self.0.entry(session) {
            Entry::Occupied(other) if other.get().id > id => return None,
            Entry::Occupied(mut other) => {
                other.insert(line.clone()).close(Parting::Replaced);
            }
            Entry::Vacant(place) => {
                place.insert(line.clone());
            }
        }
        Some((line, Orders { orders, parting: parted }))
    }

    /// The session's socket, if this process has it and is not about to close it.
    pub fn of(&self, session: SessionId) -> Option<Line> {
        self.0.get(&session).filter(|line| line.parting.borrow().is_none()).map(|line| line.clone())
    }

    pub fn all(&self) -> Vec<(SessionId, Line)> {
        let mut all: Vec<_> = self.0.iter().map(|each| (*each.key(), each.clone())).collect();
        all.sort_by_key(|(session, _)| *session);
        all
    }

    /// The session is over.
    pub fn over(&self, session: SessionId) {
        if let Some(line) = self.of(session) {
            line.close(Parting::Over);
        }
    }

    /// It is closed, and nobody finds it here any more.
    pub fn remove(&self, session: SessionId, id: SocketId) {
        self.0.remove_if(&session, |_, line| line.id == id);
    }
}

impl Line {
    /// Asks for a pong. One that waits already will do.
    pub fn ping(&self) {
        let _ = self.orders.try_send(Order::Ping);
    }

    /// Closes the socket; the first reason counts.
    pub fn close(&self, why: Parting) {
        self.parting.send_if_modified(|parting| {
            let first = parting.is_none();
            parting.get_or_insert(why);
            first
        });
    }

    pub fn hear(&self, now: Timestamp) {
        self.heard.store(now.as_micros(), Ordering::Relaxed);
    }

    /// When a frame or a pong came last.
    pub fn heard(&self) -> Timestamp {
        let micros = self.heard.load(Ordering::Relaxed);
        Timestamp::from_micros(micros).expect("it was a timestamp")
    }

    /// Sends a frame; ready when it has arrived, false when it never will.
    async fn tell(&self, frame: String) -> bool {
        let (arrived, heard) = oneshot::channel();
        let told = self.orders.send(Order::Tell { frame, arrived }).await;
        told.is_ok() && heard.await.is_ok()
    }
}

impl Orders {
    /// The next one. A socket that is to be closed has none.
    pub async fn next(&mut self) -> Result<Order, Parting> {
        tokio::select! {
            biased;
            why = async { self.parting.wait_for(Option::is_some).await.ok().and_then(|why| *why) } => {
                Err(why.unwrap_or(Parting::Stale))
            }
            order = self.orders.recv() => order.ok_or(Parting::Stale),
        }
    }
}

/// A client's message on its way through the session's socket. What else a lane carries
/// goes by webhook.
pub struct ToSocket {
    pub line: Line,
    pub message: Message,
}

#[async_trait]
impl Delivery for ToSocket {
    async fn deliver(&self, parcel: Parcel) -> Report {
        let (begun, frame) = (Instant::now(), frame(&self.message));
        let mut told = Exchange {
            url: format!("{SCHEME}{}", parcel.session),
            request_body: frame.clone(),
            ..Exchange::default()
        };
        let failure = match tokio::time::timeout(webhook::EXCHANGE, self.line.tell(frame)).await {
            Ok(true) => None,
            Ok(false) => Some(("socket_closed", "the agent's socket was closed".to_owned())),
            Err(_) => {
                // The retry goes elsewhere.
                self.line.close(Parting::Stale);
                let limit = webhook::EXCHANGE;
                Some(("timeout", format!("the agent's socket did not answer within {limit:?}")))
            }
        };
        told.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let verdict = match failure {
            None => Verdict::Delivered,
            Some((code, reason)) => {
                (told.error, told.detail) = (Some(code), Some(reason.clone()));
                Verdict::Later(Failure { code, reason })
            }
        };
        Report { exchange: Some(told), ..Report::from(verdict) }
    }
}

impl Report {
    /// It says nothing of the agent's webhook.
    pub fn by_socket(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.url.starts_with(SCHEME))
    }

    /// It went through a socket that did not prove to have taken it. The agent has not
    /// refused anything, so it is tried again whatever the policy is.
    pub fn socket_broke(&self) -> bool {
        matches!(self.verdict, Verdict::Later(_)) && self.by_socket()
    }
}

/// The only frame there is: what the published SDK takes for a client's message.
fn frame(message: &Message) -> String {
    json!({
        "type": "message",
        "from": "client",
        "id": message.id,
        "content": message.content,
        "createdAt": message.created_at,
    })
    .to_string()
}
