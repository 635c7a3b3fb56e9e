//! What a component may reach of the session whose event it handles.

use super::lane;
use crate::catalog::settings;
use crate::{
    bus::Signal,
    error::Error,
    files::{self, NewFile, agent::Published, doomed, usage},
    host::Host,
    id::{AgentId, ClaimId, CompanyId, EventId, NodeId, SessionId},
    net::Out,
    sandbox::{Answer, Denied, Draft, File, Message, Scope, Secret, Site, State},
    sessions::{
        lines, log,
        log::New,
        memory,
        replies::{self, Replied, ReplyKey, Speaker},
        shared::{self, Document},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeMap;

/// The name under which a component finds its session's token.
const TOKEN: &str = "aiybiz.agent-auth-token";

/// Replies of one event that are written as they come. Those after them pass one by
/// one, all sessions' together: however many guests talk without end, nobody waits for
/// more than one of them at the database.
const AT_ONCE: u64 = 5;

/// One event of one session, for the driver that holds the claim.
pub(super) struct Live {
    pub(super) host: Host,
    pub(super) session: SessionId,
    pub(super) company: CompanyId,
    pub(super) agent: AgentId,
    pub(super) claim: ClaimId,
    pub(super) event: EventId,
    pub(super) seq: i64,
    pub(super) first_try: bool,
}

#[async_trait]
impl Scope for Live {
    async fn reply(&self, ordinal: u64, id: EventId, content: String) -> Answer<EventId> {
        let key =
            ReplyKey { text: format!("{}:{ordinal}", self.event), maybe_used: !self.first_try };
        let replied = async {
            let _turn = match ordinal {
                0..AT_ONCE => None,
                _ => Some(self.host.torrent.acquire().await.map_err(Error::internal)?),
            };
            let mut tx = self.host.db.write().await?;
            let (clock, speaker) = (&self.host.clock, Speaker::Lane(self.claim));
            let replied =
                replies::reply(&mut tx, clock, self.session, speaker, id, &content, Some(key));
            let replied = replied.await?;
            tx.commit().await?;
            Ok(replied)
        };
        let answer = match replied.await.map_err(unavailable)? {
            Replied::Now(entry) => {
                lane::announce(&self.host, &entry);
                Ok(entry.id)
            }
            Replied::Before(entry) => Ok(entry.id),
            Replied::Ended => Err(Denied::Ended),
            Replied::Superseded => Err(Denied::Superseded),
        };
        self.host.bus.written(self.session, id);
        answer
    }

    fn new_reply_id(&self) -> EventId {
        self.host.clock.id()
    }

    fn delta(&self, id: EventId, offset: u64, piece: &str) {
        let line = lines::delta(id, offset, piece);
        self.host.bus.write(self.session, id, None, piece, (offset, line));
    }

    async fn abandoned(&self, id: EventId) -> Answer<()> {
        self.host.bus.written(self.session, id);
        let body = json!({
            "messageId": id, "eventId": self.event,
            "code": "reply_abandoned", "reason": "the agent did not finish its reply",
        });
        let noted = async {
            let mut tx = self.host.db.write().await?;
            let (clock, speaker) = (&self.host.clock, Speaker::Lane(self.claim));
            let new = New::of("message_failed", body);
            let entry = replies::note(&mut tx, clock, self.session, speaker, new).await?;
            tx.commit().await?;
            Ok(entry)
        };
        if let Some(entry) = noted.await.map_err(unavailable)? {
            lane::announce(&self.host, &entry);
        }
        Ok(())
    }

    fn typing(&self) {
        self.host.bus.wake(self.session, Signal::Passing(lines::typing()));
    }

    async fn history(&self, after: i64, limit: u32) -> Answer<(Vec<Message>, Option<i64>)> {
        let limit = i64::from(limit);
        let page = async {
            let mut tx = self.host.db.read().await?;
            log::messages(&mut tx, self.session, after, self.seq, limit).await
        };
        let page = page.await.map_err(unavailable)?;
        let next = page.entries.last().filter(|_| page.more).map(|entry| entry.seq);
        Ok((page.entries.iter().map(lane::message).collect(), next))
    }

    async fn files(&self) -> Answer<Vec<File>> {
        let seen = async {
            let mut tx = self.host.db.read().await?;
            let files = files::agent::files(&mut tx, self.session).await?;
            Ok((files, shared::documents(&mut tx, self.session).await?))
        };
        let (files, documents) = seen.await.map_err(unavailable)?;
        let files = files.into_iter().map(|seen| file(seen.path, seen.node, seen.writable));
        let mut all: BTreeMap<_, _> = files.map(|file| (file.path.clone(), file)).collect();
        for document in documents {
            let mut path = format!("{}/{}", files::agent::SHARED, document.name);
            if all.contains_key(&path) {
                path = files::agent::apart(&path, document.id);
            }
            all.insert(path.clone(), self::document(path, document));
        }
        Ok(all.into_values().collect())
    }

    async fn read(&self, file: &File, offset: u64, max: u64) -> Answer<Bytes> {
        if !file.storage_path.is_empty() {
            let read = self.host.objects.range(&file.storage_path, offset, max);
            return read.await.map_err(unavailable);
        }
        let id = file.id.parse().map_err(|_| Denied::NotFound)?;
        let found = async {
            let mut tx = self.host.db.look().await?;
            shared::document(&mut tx, &self.host.key, self.session, id).await
        };
        let content = Bytes::from(found.await.map_err(unavailable)?.ok_or(Denied::NotFound)?);
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(content.len());
        Ok(content.slice(at(offset)..at(offset.saturating_add(max))))
    }

    async fn create(&self, path: &str, media_type: Option<String>) -> Answer<Draft> {
        let names = files::agent::parse_path(path).ok_or(Denied::InvalidPath)?;
        let id: NodeId = self.host.clock.id();
        let key = files::storage_path(self.company, id);
        let room = async {
            let mut tx = self.host.db.write().await?;
            if files::agent::own_folder(&mut tx, self.session).await?.is_none() {
                return Ok(None);
            }
            let (quota, session) = (self.host.config.quota, Some(self.session));
            let room = usage::room(&mut tx, quota, self.company, session).await?;
            // What is to be replaced makes room for it.
            let old = files::agent::replaced(&mut tx, self.session, &names).await?;
            let old = old.and_then(|old| u64::try_from(old.file_size?).ok()).unwrap_or(0);
            let room = (room + old).min(quota.file);
            doomed::writing(&mut tx, &self.host.clock, &key).await?;
            tx.commit().await?;
            Ok(Some(room))
        };
        let room = room.await.map_err(unavailable)?.ok_or(Denied::NoFolder)?;
        let upload = self.host.objects.upload(&key).map_err(unavailable)?;
        Ok(Draft { path: path.to_owned(), media_type, upload, room })
    }

    async fn publish(&self, draft: Draft) -> Answer<File> {
        let Draft { path, media_type, upload, room: _ } = draft;
        let names = files::agent::parse_path(&path).ok_or(Denied::InvalidPath)?;
        let (key, size) = (upload.key().to_owned(), upload.size());
        let id = key.rsplit('/').next().and_then(|id| id.parse::<NodeId>().ok());
        let id = id.ok_or_else(|| Denied::Unavailable("a damaged key".into()))?;
        upload.finish().await.map_err(unavailable)?;
        let file = NewFile { storage_path: key.clone(), mime_type: media_type, size };
        let published = async {
            let mut tx = self.host.db.write().await?;
            let (clock, quota) = (&self.host.clock, self.host.config.quota);
            let place = (self.session, self.company);
            let published =
                files::agent::publish(&mut tx, clock, quota, place, &names, id, file).await?;
            if let Published::Now(_) = published {
                doomed::spare(&mut tx, &key).await?;
                tx.commit().await?;
            }
            Ok(published)
        };
        // Unless it was published it is doomed, and goes in its time.
        match published.await.map_err(unavailable)? {
            Published::Now(file) => Ok(self::file(path, *file, true)),
            Published::NoFolder => Err(Denied::NoFolder),
            Published::NoRoom(room) => Err(Denied::QuotaExceeded(room)),
            Published::InTheWay => Err(Denied::InvalidPath),
        }
    }

    async fn remove(&self, id: &str) -> Answer<()> {
        let found = self.files().await?.into_iter().find(|file| file.id == id);
        let file = found.ok_or(Denied::NotFound)?;
        if !file.writable {
            return Err(Denied::ReadOnly);
        }
        let node: NodeId = file.id.parse().map_err(|_| Denied::NotFound)?;
        let removed = async {
            let mut tx = self.host.db.write().await?;
            if let Some(node) = files::agent::seen(&mut tx, self.session, node).await? {
                files::delete(&mut tx, &self.host.clock, &node).await?;
            }
            Ok(tx.commit().await?)
        };
        removed.await.map_err(unavailable)
    }

    async fn state(&self) -> Answer<State> {
        let loaded = async {
            let mut tx = self.host.db.read().await?;
            memory::load(&mut tx, self.session).await
        };
        loaded.await.map_err(unavailable)
    }

    async fn secret(&self, name: &str) -> Answer<Option<Secret>> {
        if name == TOKEN {
            let value = self.host.agent_token(self.session);
            return Ok(Some(Secret { value, sites: Vec::new() }));
        }
        let found = async {
            let mut tx = self.host.db.read().await?;
            // The builder's first: no client can put something else in the place of
            // what the agent's author relies on.
            let key = &self.host.key;
            match settings::secret(&mut tx, key, self.agent, name).await? {
                Some(own) => Ok(Some(own)),
                None => {
                    let shared = shared::secret(&mut tx, key, self.session, name).await?;
                    Ok(shared.map(|value| (value, Vec::new())))
                }
            }
        };
        let Some((value, sites)) = found.await.map_err(unavailable)? else { return Ok(None) };
        let sites: Result<Vec<_>, _> = sites.iter().map(|site| Site::parse(site)).collect();
        // They were read before they were kept.
        let sites = sites.map_err(|why| unavailable(Error::internal(anyhow::anyhow!(why))))?;
        Ok(Some(Secret { value, sites }))
    }

    fn out(&self) -> Option<Out> {
        Some(self.host.out.clone())
    }

    async fn config(&self) -> Answer<BTreeMap<String, String>> {
        let found = async {
            let mut tx = self.host.db.read().await?;
            settings::config(&mut tx, &self.host.key, self.agent).await
        };
        found.await.map_err(unavailable)
    }
}

fn file(path: String, node: files::Node, writable: bool) -> File {
    File {
        id: node.id.to_string(),
        path,
        size: node.file_size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        media_type: node.mime_type.clone(),
        modified_at: node.updated_at,
        writable,
        storage_path: node.key().unwrap_or_default().to_owned(),
    }
}

/// A document lies in the database, not among the objects.
fn document(path: String, document: Document) -> File {
    File {
        id: document.id.to_string(),
        path,
        size: u64::try_from(document.size_bytes).unwrap_or(0),
        media_type: Some("text/plain".into()),
        modified_at: document.created_at,
        writable: false,
        storage_path: String::new(),
    }
}

/// The operator reads the cause, the guest a sentence.
fn unavailable(error: Error) -> Denied {
    tracing::error!(%error, "a component's call could not be answered");
    Denied::Unavailable("the platform could not do this now".into())
}
