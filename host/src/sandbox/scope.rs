//! What one event's guest may reach.
//!
//! The sandbox knows no database and no routes: whoever runs a component hands it
//! a [`Scope`], already narrowed to one session, and the imports of the world
//! speak to nothing else. Two things stand behind the trait: a session's event
//! (`work::scope`) and [`Nothing`], for the trial of an upload.

use super::site::Site;
use crate::{id::EventId, net::Out, objects::Upload, timestamp::Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;

pub type State = BTreeMap<String, Vec<u8>>;

/// A message of the session.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub author: Author,
    pub content: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    Client,
    Agent,
    Platform,
}

/// A file of the session, by the name the guest sees.
#[derive(Clone, Debug)]
pub struct File {
    pub id: String,
    pub path: String,
    pub size: u64,
    pub media_type: Option<String>,
    pub modified_at: Timestamp,
    pub writable: bool,
    /// Where the bytes are among the objects; empty when they are elsewhere. Not for
    /// the guest.
    pub storage_path: String,
}

/// A file that is being written, not yet visible to anyone.
pub struct Draft {
    pub path: String,
    pub media_type: Option<String>,
    pub upload: Upload,
    /// How many bytes there is room for.
    pub room: u64,
}

/// A secret's value, and where the host may send it.
pub struct Secret {
    pub value: String,
    /// None: the guest may have the value. Some: only these sites get it, from the
    /// host, and the guest never does.
    pub sites: Vec<Site>,
}

/// Why the host did not do it. Each import turns these into its own WIT error.
#[derive(Debug)]
pub enum Denied {
    Ended,
    NotFound,
    NoFolder,
    ReadOnly,
    InvalidPath,
    InvalidCursor,
    QuotaExceeded(u64),
    /// The lane was taken over by another worker: this run must stop.
    Superseded,
    /// The text is for the guest; the cause is already in the operator's log.
    Unavailable(String),
}

pub type Answer<T> = Result<T, Denied>;

#[async_trait]
pub trait Scope: Send + Sync + 'static {
    /// Stores the `ordinal`-th reply to this event and returns its id; the same
    /// ordinal again returns the first one's id and stores nothing.
    async fn reply(&self, ordinal: u64, id: EventId, content: String) -> Answer<EventId>;

    fn new_reply_id(&self) -> EventId;

    /// Shows a piece of a reply that is being written; `offset` counts UTF-16 units.
    /// Not stored.
    fn delta(&self, id: EventId, offset: u64, piece: &str);

    /// Tells the client that the reply will not be finished.
    async fn abandoned(&self, id: EventId) -> Answer<()>;

    fn typing(&self);

    /// Messages after `after` (a sequence number), oldest first, up to the one
    /// being handled; with the number to go on from.
    async fn history(&self, after: i64, limit: u32) -> Answer<(Vec<Message>, Option<i64>)>;

    /// All files the session may see, ordered by path.
    async fn files(&self) -> Answer<Vec<File>>;
    async fn read(&self, file: &File, offset: u64, max: u64) -> Answer<Bytes>;
    async fn create(&self, path: &str, media_type: Option<String>) -> Answer<Draft>;
    async fn publish(&self, draft: Draft) -> Answer<File>;
    async fn remove(&self, id: &str) -> Answer<()>;

    async fn state(&self) -> Answer<State>;
    async fn secret(&self, name: &str) -> Answer<Option<Secret>>;
    async fn config(&self) -> Answer<BTreeMap<String, String>>;

    /// The way to other servers; none when there is no way.
    fn out(&self) -> Option<Out>;
}

/// A scope in which there is nothing, and nobody who hears what is said.
pub struct Nothing;

#[async_trait]
impl Scope for Nothing {
    async fn reply(&self, _: u64, id: EventId, _: String) -> Answer<EventId> {
        Ok(id)
    }
    fn new_reply_id(&self) -> EventId {
        EventId(uuid::Uuid::nil())
    }
    fn delta(&self, _: EventId, _: u64, _: &str) {}
    async fn abandoned(&self, _: EventId) -> Answer<()> {
        Ok(())
    }
    fn typing(&self) {}
    async fn history(&self, _: i64, _: u32) -> Answer<(Vec<Message>, Option<i64>)> {
        Ok((Vec::new(), None))
    }
    async fn files(&self) -> Answer<Vec<File>> {
        Ok(Vec::new())
    }
    async fn read(&self, _: &File, _: u64, _: u64) -> Answer<Bytes> {
        Err(Denied::NotFound)
    }
    async fn create(&self, _: &str, _: Option<String>) -> Answer<Draft> {
        Err(Denied::NoFolder)
    }
    async fn publish(&self, _: Draft) -> Answer<File> {
        Err(Denied::NoFolder)
    }
    async fn remove(&self, _: &str) -> Answer<()> {
        Err(Denied::NotFound)
    }
    async fn state(&self) -> Answer<State> {
        Ok(State::new())
    }
    async fn secret(&self, _: &str) -> Answer<Option<Secret>> {
        Ok(None)
    }
    fn out(&self) -> Option<Out> {
        None
    }
    async fn config(&self) -> Answer<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => f.write_str("the session is over"),
            Self::NotFound => f.write_str("not found"),
            Self::NoFolder => f.write_str("the session has no folder"),
            Self::ReadOnly => f.write_str("read only"),
            Self::InvalidPath => f.write_str("invalid path"),
            Self::InvalidCursor => f.write_str("invalid cursor"),
            Self::QuotaExceeded(limit) => write!(f, "the limit is {limit} bytes"),
            Self::Superseded => f.write_str("another worker drives this session"),
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}
