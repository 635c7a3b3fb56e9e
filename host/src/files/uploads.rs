//! A file on its way into the library: begun, its bytes stored, completed.
//!
//! Until it is completed nobody but its uploader knows of it, and its bytes count. Every
//! time bytes come for it they are kept under a key of their own, so that two who send at
//! once do not mix, and an old URL can never change a file that is finished.

use super::{Node, agent, doomed, name, node_columns, resumable, usage};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, NodeId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;

/// How long an upload waits for its bytes and its completion.
pub const LIFE: Duration = Duration::from_hours(2);

/// Uploads of one company that are not completed. Each may hold as many bytes as a file.
const OPEN: i64 = 100;

/// Who uploads.
#[derive(Clone, Copy, Debug)]
pub enum Uploader {
    Client,
    /// The agent of this session, into its folders.
    Agent(SessionId),
}

impl Uploader {
    fn session(self) -> Option<SessionId> {
        match self {
            Self::Client => None,
            Self::Agent(session) => Some(session),
        }
    }
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Upload {
    pub node_id: NodeId,
    pub company_id: CompanyId,
    pub session_id: Option<SessionId>,
    pub object_key: Option<String>,
    pub bytes: Option<i64>,
    pub expires_at: Timestamp,
}

macro_rules! upload {
    () => {
        "SELECT node_id, company_id, session_id, object_key, bytes, expires_at FROM file_uploads"
    };
}
pub(super) use upload;

/// Where the bytes of one try to send a file are kept: two never mix.
pub fn object_key(clock: &Clock, company: CompanyId, node: NodeId) -> String {
    let attempt: NodeId = clock.id();
    format!("{company}/{node}.{attempt}")
}

/// Lets the bytes of an upload be sent to the store itself, under this key. It stays
/// doomed: what counts is a copy of it, which nobody outside can change.
pub async fn send_direct(tx: &mut Tx, clock: &Clock, node: NodeId, key: &str) -> Result<()> {
    doomed::writing(tx, clock, key).await?;
    let sql = "UPDATE file_uploads SET object_key = $2 WHERE node_id = $1";
    tx.query(sql).bind(node).bind(key).run().await?;
    Ok(())
}

/// Where the bytes of this uploader's upload were sent to, if that is the store itself and
/// they were not taken over yet.
pub async fn sent_direct(
    tx: &mut Tx,
    company: CompanyId,
    uploader: Uploader,
    node: NodeId,
) -> Result<Option<String>> {
    let sql = concat!(
        upload!(),
        " WHERE node_id = $1 AND company_id = $2 AND object_key IS NOT NULL AND bytes IS NULL"
    );
    let found: Option<Upload> = tx.query(sql).bind(node).bind(company).optional().await?;
    let found = found.filter(|upload| upload.session_id == uploader.session());
    Ok(found.and_then(|upload| upload.object_key))
}

/// Begins an upload of a file of this name. The node is nobody's to see until it is
/// completed.
pub async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    uploader: Uploader,
    parent: Option<NodeId>,
    name: &str,
) -> Result<Node> {
    let folder = match uploader {
        Uploader::Client => super::tree::folder(tx, company, parent).await?,
        Uploader::Agent(session) => Some(agent::folder_for(tx, session, parent).await?),
    };
    let parent = folder.as_ref().map(|folder| folder.id);
    super::tree::room_for_one_more(tx, company).await?;
    let sql = "SELECT COUNT(*) FROM file_uploads WHERE company_id = $1";
    let (open,): (i64,) = tx.query(sql).bind(company).one().await?;
    if open >= OPEN {
        let detail = format!("{OPEN} uploads are not completed; complete some, or let them expire");
        return Err(Error::new(Kind::TooMany(60), "too_many_uploads", detail));
    }
    if let Some(folder) = parent {
        super::tree::deep_enough(tx, folder, 1).await?;
    }
    super::tree::free(tx, company, parent, name).await?;
    let (id, now): (NodeId, _) = (clock.id(), clock.now());
    let sql = concat!(
        "INSERT INTO nodes (id, company_id, parent_id, type, name, name_key, state, storage_path,
             session_tag, created_at, updated_at)
         VALUES ($1, $2, $3, 'file', $4, $5, 'pending', $6, $7, $8, $8) RETURNING ",
        node_columns!("nodes")
    );
    let node = tx.query(sql).bind(id).bind(company).bind(parent).bind(name).bind(name::key(name));
    let node = node.bind(super::storage_path(company, id));
    let tag = folder.and_then(|folder| folder.session_tag);
    let node: Node = node.bind(tag).bind(now).one().await?;
    let sql = "INSERT INTO file_uploads (node_id, company_id, session_id, expires_at)
               VALUES ($1, $2, $3, $4)";
    let made = tx.query(sql).bind(id).bind(company).bind(uploader.session()).bind(now + LIFE);
    made.run().await?;
    usage::count(tx, company, 0, 1).await?;
    Ok(node)
}

/// The upload, if there is one that is not completed. Nobody else changes it until the
/// transaction ends.
pub async fn find(tx: &mut Tx, node: NodeId) -> Result<Option<Upload>> {
    let sql = concat!(upload!(), " WHERE node_id = $1");
    Ok(tx.query_locked(sql).bind(node).optional().await?)
}

/// Its bytes are in the store, under a key that was doomed before. What came before is
/// given up.
pub async fn stored(
    tx: &mut Tx,
    clock: &Clock,
    quota: usage::Quota,
    node: NodeId,
    key: &str,
    bytes: u64,
) -> Result<()> {
    let now = clock.now();
    let upload = find(tx, node).await?.filter(|upload| upload.expires_at > now);
    let upload = upload.ok_or_else(over)?;
    let before = upload.bytes.unwrap_or(0);
    let size = i64::try_from(bytes).unwrap_or(i64::MAX);
    // What it had makes room for what it has.
    usage::count(tx, upload.company_id, -before, 0).await?;
    let sql = "UPDATE file_uploads SET object_key = $2, bytes = $3 WHERE node_id = $1";
    tx.query(sql).bind(node).bind(key).bind(0_i64).run().await?;
    let room = usage::room(tx, quota, upload.company_id, upload.session_id).await?;
    if bytes > room {
        return Err(usage::exceeded(bytes, room));
    }
    usage::count(tx, upload.company_id, size, 0).await?;
    tx.query(sql).bind(node).bind(key).bind(size).run().await?;
    if !doomed::spare(tx, key).await? {
        return Err(over());
    }
    match upload.object_key {
        Some(old) => {
            // Sent to the store itself: whoever has the link may write it again for as long.
            let due = if upload.bytes.is_some() { now } else { upload.expires_at };
            doomed::doom(tx, &old, due).await
        }
        None => Ok(()),
    }
}

/// It is completed, or has expired.
pub fn over() -> Error {
    Error::new(Kind::Gone, "upload_over", "the upload is completed or has expired; begin another")
}

/// What the uploader says of the file.
pub struct Said<'a> {
    pub storage_path: Option<&'a str>,
    pub size: u64,
    pub mime_type: &'a str,
}

/// Is it an upload of this uploader that is not completed yet?
pub async fn waits(
    tx: &mut Tx,
    company: CompanyId,
    session: Option<SessionId>,
    node: NodeId,
) -> Result<bool> {
    let sql = "SELECT session_id FROM file_uploads WHERE node_id = $1 AND company_id = $2";
    let found = tx.query(sql).bind(node).bind(company);
    let found: Option<(Option<SessionId>,)> = found.optional().await?;
    Ok(found.is_some_and(|(uploader,)| session.is_none() || uploader == session))
}

/// It has no content yet that could be fetched.
pub fn unfinished() -> Error {
    Error::conflict("upload_unfinished", "the upload of this file is not completed")
}

/// Makes the file visible. Said again, it is the same file.
pub async fn complete(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    uploader: Uploader,
    id: NodeId,
    said: &Said<'_>,
) -> Result<Node> {
    // Two of one name are completed one after the other.
    usage::alone(tx, company).await?;
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.id = $1 AND n.company_id = $2 AND n.type = 'file'
              AND n.trashed_at IS NULL AND ($3 IS NULL OR n.session_tag = $3)"
    );
    let node = tx.query_locked(sql).bind(id).bind(company).bind(uploader.session());
    let node: Node = node.optional().await?.ok_or(Error::not_found("file"))?;
    let path = node.storage_path.as_deref().unwrap_or_default();
    if said.storage_path.is_some_and(|said| said != path) {
        return Err(Error::field("/storagePath", "is not the one of this upload"));
    }
    let size = i64::try_from(said.size).unwrap_or(i64::MAX);
    let Some(upload) = find(tx, id).await? else {
        let same =
            node.file_size == Some(size) && node.mime_type.as_deref() == Some(said.mime_type);
        let detail = "the upload was completed with another size or type";
        return if same { Ok(node) } else { Err(Error::conflict("already_completed", detail)) };
    };
    if upload.session_id != uploader.session() {
        return Err(Error::not_found("file"));
    }
    if resumable::is(tx, id).await? {
        // It is completed by itself when everything has come.
        return Err(unfinished());
    }
    let (Some(key), Some(bytes)) = (upload.object_key, upload.bytes) else {
        let detail = "no bytes have been sent to the upload's URL";
        return Err(Error::conflict("no_bytes", detail));
    };
    if bytes != size {
        return Err(mismatch(said.size, u64::try_from(bytes).unwrap_or(0)));
    }
    super::tree::free(tx, company, node.parent_id, &node.name).await?;
    tx.query("DELETE FROM file_uploads WHERE node_id = $1").bind(id).run().await?;
    let sql = concat!(
        "UPDATE nodes SET state = 'ready', file_size = $2, mime_type = $3, object_key = $4,
             updated_at = $5 WHERE id = $1 RETURNING ",
        node_columns!("nodes")
    );
    let made = tx.query(sql).bind(id).bind(size).bind(said.mime_type).bind(key).bind(clock.now());
    Ok(made.one().await?)
}

/// It does not have the size that it is said to have.
pub fn mismatch(said: u64, sent: u64) -> Error {
    let detail = format!("/fileSize: says {said} bytes, and {sent} were sent");
    let mut error = Error::new(Kind::Refused, "size_mismatch", detail);
    error.problems = Error::field("/fileSize", format!("{sent} bytes were sent")).problems;
    error
}

/// Gives up uploads that have expired; says how many.
pub async fn expire(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<usize> {
    let sql = concat!(upload!(), " WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2");
    let expired: Vec<Upload> = tx.query_skip_locked(sql).bind(now).bind(limit).all().await?;
    for upload in &expired {
        give_up(tx, now, upload).await?;
    }
    Ok(expired.len())
}

/// Gives up an upload of this company, expired or not; false when there was none.
pub(super) async fn give_up_one(tx: &mut Tx, now: Timestamp, company: CompanyId) -> Result<bool> {
    let sql = concat!(upload!(), " WHERE company_id = $1 LIMIT 1");
    let found: Option<Upload> = tx.query_locked(sql).bind(company).optional().await?;
    let Some(upload) = found else { return Ok(false) };
    give_up(tx, now, &upload).await?;
    Ok(true)
}

pub(super) async fn give_up(tx: &mut Tx, now: Timestamp, upload: &Upload) -> Result<()> {
    if let Some(key) = &upload.object_key {
        doomed::doom(tx, key, now).await?;
    }
    if let Some(key) = resumable::tail(tx, upload.node_id).await? {
        doomed::doom(tx, &key, now).await?;
    }
    let bytes = upload.bytes.unwrap_or(0);
    usage::count(tx, upload.company_id, -bytes, -1).await?;
    for sql in ["DELETE FROM file_uploads WHERE node_id = $1", "DELETE FROM nodes WHERE id = $1"] {
        tx.query(sql).bind(upload.node_id).run().await?;
    }
    Ok(())
}
