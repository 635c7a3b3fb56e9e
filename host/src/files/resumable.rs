//! Uploads that are sent piece by piece, and go on where they broke off.
//!
//! Their bytes count from the beginning. One writes at a time: whoever comes next asks him
//! to stop, and has the place when he has gone, or has not been heard of for a while.

use super::{
    Node, doomed, name, node_columns, tree,
    uploads::{self, Uploader},
    usage::{self, Quota},
};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{ClaimId, CompanyId, NodeId},
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;

/// How long an upload waits for more.
pub const LIFE: Duration = Duration::from_hours(24);

/// How long the place of a writer who says nothing stays his. Clients try again some ten
/// seconds long.
pub const LEASE: Duration = Duration::from_secs(5);

/// An upload as it stands.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Resumable {
    pub node_id: NodeId,
    pub company_id: CompanyId,
    pub object_key: String,
    pub length: i64,
    pub received: i64,
    pub metadata: String,
    pub multipart: Option<String>,
    pub tail_key: Option<String>,
    pub expires_at: Timestamp,
}

impl Resumable {
    pub fn length(&self) -> u64 {
        u64::try_from(self.length).unwrap_or(0)
    }

    pub fn received(&self) -> u64 {
        u64::try_from(self.received).unwrap_or(0)
    }
}

macro_rules! resumable {
    () => {
        "SELECT r.node_id, u.company_id, u.object_key, r.length, r.received, r.metadata,
             r.multipart, r.tail_key, u.expires_at
         FROM resumable_uploads r JOIN file_uploads u ON u.node_id = r.node_id"
    };
}

/// What is to be uploaded.
pub struct New<'a> {
    pub parent: Option<NodeId>,
    pub name: &'a str,
    pub mime_type: &'a str,
    pub length: u64,
    /// As the client sent it.
    pub metadata: &'a str,
}

/// Begins one. There is room for all of it from now on.
pub async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    quota: Quota,
    company: CompanyId,
    new: New<'_>,
) -> Result<Node> {
    let New { parent, name, mime_type, length, metadata } = new;
    let node = uploads::begin(tx, clock, company, Uploader::Client, parent, name).await?;
    let room = usage::room(tx, quota, company, None).await?;
    if length > room {
        return Err(usage::exceeded(length, room));
    }
    let size = i64::try_from(length).unwrap_or(i64::MAX);
    usage::count(tx, company, size, 0).await?;
    let key = uploads::object_key(clock, company, node.id);
    let sql = "UPDATE file_uploads SET object_key = $2, bytes = $3, expires_at = $4
               WHERE node_id = $1";
    let begun = tx.query(sql).bind(node.id).bind(key).bind(size).bind(clock.now() + LIFE);
    begun.run().await?;
    let sql =
        "INSERT INTO resumable_uploads (node_id, length, received, mime_type, metadata, wanted)
               VALUES ($1, $2, 0, $3, $4, FALSE)";
    tx.query(sql).bind(node.id).bind(size).bind(mime_type).bind(metadata).run().await?;
    Ok(node)
}

/// Is it one that is not completed?
pub async fn is(tx: &mut Tx, node: NodeId) -> Result<bool> {
    let sql = "SELECT 1 FROM resumable_uploads WHERE node_id = $1";
    Ok(tx.query(sql).bind(node).optional::<(i32,)>().await?.is_some())
}

/// Where what came after its last part is.
pub(super) async fn tail(tx: &mut Tx, node: NodeId) -> Result<Option<String>> {
    let sql = "SELECT tail_key FROM resumable_uploads WHERE node_id = $1";
    let found: Option<(Option<String>,)> = tx.query(sql).bind(node).optional().await?;
    Ok(found.and_then(|(key,)| key))
}

/// One of the company's that has not expired.
pub async fn find(
    tx: &mut Tx,
    company: CompanyId,
    node: NodeId,
    now: Timestamp,
) -> Result<Option<Resumable>> {
    let sql =
        concat!(resumable!(), " WHERE r.node_id = $1 AND u.company_id = $2 AND u.expires_at > $3");
    Ok(tx.query(sql).bind(node).bind(company).bind(now).optional().await?)
}

/// Takes the place of its writer, if it is free; otherwise asks for it.
pub async fn claim(tx: &mut Tx, node: NodeId, writer: ClaimId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE resumable_uploads SET writer = $2, writer_until = $3, wanted = FALSE
               WHERE node_id = $1 AND (writer_until IS NULL OR writer_until <= $4)";
    let claim = tx.query(sql).bind(node).bind(writer).bind(now + LEASE).bind(now);
    if claim.run().await? == 1 {
        return Ok(true);
    }
    let sql = "UPDATE resumable_uploads SET wanted = TRUE WHERE node_id = $1";
    tx.query(sql).bind(node).run().await?;
    Ok(false)
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    Alone,
    /// Somebody else asks for it.
    Wanted,
    /// Somebody else has it, or the upload is over.
    Lost,
}

/// Keeps the place for a while longer.
pub async fn stay(tx: &mut Tx, node: NodeId, writer: ClaimId, now: Timestamp) -> Result<Stay> {
    let sql = "UPDATE resumable_uploads SET writer_until = $3 WHERE node_id = $1 AND writer = $2
               RETURNING wanted";
    let stays = tx.query(sql).bind(node).bind(writer).bind(now + LEASE).optional().await?;
    Ok(match stays {
        Some((false,)) => Stay::Alone,
        Some((true,)) => Stay::Wanted,
        None => Stay::Lost,
    })
}

/// Gives the place up.
pub async fn leave(tx: &mut Tx, node: NodeId, writer: ClaimId) -> Result<()> {
    let sql = "UPDATE resumable_uploads SET writer = NULL, writer_until = NULL, wanted = FALSE
               WHERE node_id = $1 AND writer = $2";
    tx.query(sql).bind(node).bind(writer).run().await?;
    Ok(())
}

/// Gives up the places of a process that is gone: claims between these, last kept before
/// its successor started.
pub async fn leave_all(
    tx: &mut Tx,
    (first, last): (ClaimId, ClaimId),
    started: Timestamp,
) -> Result<()> {
    let sql = "UPDATE resumable_uploads SET writer = NULL, writer_until = NULL
               WHERE writer >= $1 AND writer <= $2 AND writer_until <= $3";
    tx.query(sql).bind(first).bind(last).bind(started + LEASE).run().await?;
    Ok(())
}

/// How far it has come.
pub struct Progress<'a> {
    pub received: u64,
    pub multipart: Option<&'a str>,
    /// Those that came since, and the number of the first.
    pub parts: &'a [String],
    pub first: usize,
    /// Where what came after them is; it was doomed before.
    pub tail: Option<&'a str>,
}

/// Writes down what is durable; false when the place was lost. Changes `upload` with it.
pub async fn progress(
    tx: &mut Tx,
    clock: &Clock,
    upload: &mut Resumable,
    writer: ClaimId,
    progress: &Progress<'_>,
) -> Result<bool> {
    let now = clock.now();
    let received = i64::try_from(progress.received).unwrap_or(i64::MAX);
    let sql = "UPDATE resumable_uploads SET received = $3, multipart = $4, tail_key = $5,
                   writer_until = $6
               WHERE node_id = $1 AND writer = $2";
    let written = tx.query(sql).bind(upload.node_id).bind(writer).bind(received);
    let written = written.bind(progress.multipart).bind(progress.tail).bind(now + LEASE);
    if written.run().await? != 1 {
        return Ok(false);
    }
    for (part, name) in (progress.first..).zip(progress.parts) {
        let sql = "INSERT INTO upload_parts (node_id, part, name) VALUES ($1, $2, $3)";
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        tx.query(sql).bind(upload.node_id).bind(part).bind(&**name).run().await?;
    }
    if let Some(old) = &upload.tail_key {
        doomed::doom(tx, old, now).await?;
    }
    if let Some(new) = progress.tail
        && !doomed::spare(tx, new).await?
    {
        return Ok(false);
    }
    let until = now + LIFE;
    let sql = "UPDATE file_uploads SET expires_at = $2 WHERE node_id = $1";
    tx.query(sql).bind(upload.node_id).bind(until).run().await?;
    doomed::keep_parts(tx, &upload.object_key, until).await?;
    upload.received = received;
    upload.multipart = progress.multipart.map(str::to_owned);
    upload.tail_key = progress.tail.map(str::to_owned);
    upload.expires_at = until;
    Ok(true)
}

/// What the bucket calls its parts.
pub async fn parts(tx: &mut Tx, node: NodeId) -> Result<Vec<String>> {
    let sql = "SELECT name FROM upload_parts WHERE node_id = $1 ORDER BY part";
    let found: Vec<(String,)> = tx.query(sql).bind(node).all().await?;
    Ok(found.into_iter().map(|(name,)| name).collect())
}

/// Some that have everything, and nobody at them: of whom the last words were lost.
pub async fn full(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(CompanyId, NodeId)>> {
    let sql = "SELECT u.company_id, r.node_id
               FROM resumable_uploads r JOIN file_uploads u ON u.node_id = r.node_id
               WHERE r.received = r.length AND (r.writer_until IS NULL OR r.writer_until <= $1)
               LIMIT $2";
    Ok(tx.query(sql).bind(now).bind(limit).all().await?)
}

/// Makes the file visible, under a name of its own when somebody else was quicker with
/// its: who has sent gigabytes is not told to send them again. In the trash, it is a file
/// in the trash. False when the place was lost.
pub async fn complete(
    tx: &mut Tx,
    clock: &Clock,
    upload: &Resumable,
    writer: ClaimId,
) -> Result<bool> {
    // Two of one name are completed one after the other.
    usage::alone(tx, upload.company_id).await?;
    let sql = "DELETE FROM resumable_uploads WHERE node_id = $1 AND writer = $2
               AND received = length RETURNING mime_type";
    let found = tx.query(sql).bind(upload.node_id).bind(writer).optional().await?;
    let Some((mime_type,)): Option<(String,)> = found else { return Ok(false) };
    let sql = "DELETE FROM file_uploads WHERE node_id = $1";
    tx.query(sql).bind(upload.node_id).run().await?;
    let (key, now) = (&upload.object_key, clock.now());
    doomed::put_together(tx, key, upload.multipart.as_deref(), now).await?;
    let sql = concat!("SELECT ", node_columns!("n"), " FROM nodes n WHERE n.id = $1");
    let node: Node = tx.query_locked(sql).bind(upload.node_id).one().await?;
    let name = match tree::free(tx, upload.company_id, node.parent_id, &node.name).await {
        Ok(()) => node.name,
        Err(error) if error.code == "name_taken" => name::second(&node.name, node.id),
        Err(error) => return Err(error),
    };
    let sql = "UPDATE nodes SET state = 'ready', name = $2, name_key = $3, file_size = $4,
                   mime_type = $5, object_key = $6, updated_at = $7 WHERE id = $1";
    let made = tx.query(sql).bind(node.id).bind(&*name).bind(super::key(&name));
    let made = made.bind(upload.length).bind(mime_type).bind(&*upload.object_key);
    made.bind(now).run().await?;
    Ok(true)
}

/// Gives it up, if the place is held.
pub async fn terminate(
    tx: &mut Tx,
    now: Timestamp,
    upload: &Resumable,
    writer: ClaimId,
) -> Result<()> {
    let sql = "SELECT 1 FROM resumable_uploads WHERE node_id = $1 AND writer = $2";
    let held = tx.query(sql).bind(upload.node_id).bind(writer).optional::<(i32,)>().await?;
    let (Some(_), Some(upload)) = (held, uploads::find(tx, upload.node_id).await?) else {
        return Err(lost());
    };
    uploads::give_up(tx, now, &upload).await
}

/// Another has taken the place meanwhile, or the upload is over.
pub fn lost() -> Error {
    let detail = "somebody else goes on with this upload; ask how far it is";
    Error::new(Kind::Locked, "being_written", detail)
}
