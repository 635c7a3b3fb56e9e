//! Where the socket of a session's agent is: one row for the newest one, written by the
//! process that has it, and left standing when it is closed.
//!
//! The row tells the other processes to leave the session's messages to that one. It is
//! believed for as long as something was heard through the socket lately, so a process
//! that dies takes nothing with it for long.

use super::lane::{self, NodeKey};
use crate::{
    error::Result,
    id::{SessionId, SocketId},
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;

/// How often every socket is pinged, and at most how often its row is written. An agent
/// misses three of them before it is given up; each costs its machine a few bytes.
pub const BEAT: Duration = Duration::from_secs(20);

/// After so long without a frame or a pong, nobody is there any more: the published SDK
/// beats every 30 s by itself, and may lose one.
pub const SILENCE: Duration = Duration::from_mins(1);

/// How an agent says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Online,
    /// Something behind it does not work.
    Degraded,
}

/// What became of a socket that wants to be the session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    Here,
    /// A newer one of the same process was faster.
    Superseded,
    Over,
}

macro_rules! stale {
    () => {
        "SELECT s.id FROM sockets o JOIN sessions s ON s.id = o.session_id
         WHERE o.status = 'offline' AND o.heard_at < $1 AND s.status = 'active'
           AND COALESCE((SELECT a.created_at FROM attempts a
                         WHERE a.session_id = s.id AND a.outcome = 'delivered'
                         ORDER BY a.id DESC LIMIT 1), o.heard_at) < $1"
    };
}

/// Makes this the session's socket. What waits for the agent is due now: it waited for
/// somebody to come.
pub async fn attach(
    tx: &mut Tx,
    session: SessionId,
    id: SocketId,
    node: NodeKey,
    now: Timestamp,
) -> Result<Attached> {
    // Whoever ends the session comes before this or after it.
    if !lane::hurry(tx, session, now).await? {
        return Ok(Attached::Over);
    }
    let made = tx.query(
        "INSERT INTO sockets (session_id, id, node, connected_at, heard_at, status)
         VALUES ($1, $2, $3, $4, $4, 'online')
         ON CONFLICT (session_id) DO UPDATE SET id = excluded.id, node = excluded.node,
             connected_at = excluded.connected_at, heard_at = excluded.heard_at,
             status = excluded.status
         WHERE sockets.node <> excluded.node OR sockets.id <= excluded.id",
    );
    let made = made.bind(session).bind(id).bind(node.0.to_vec()).bind(now).run().await?;
    Ok(if made == 1 { Attached::Here } else { Attached::Superseded })
}

/// It was heard; false when it is not the session's socket, or not any more.
pub async fn heard(tx: &mut Tx, session: SessionId, id: SocketId, at: Timestamp) -> Result<bool> {
    let sql = "UPDATE sockets SET heard_at = $3
               WHERE session_id = $1 AND id = $2 AND status <> 'offline'";
    Ok(tx.query(sql).bind(session).bind(id).bind(at).run().await? == 1)
}

/// How its agent is.
pub async fn set_status(
    tx: &mut Tx,
    session: SessionId,
    id: SocketId,
    status: Status,
) -> Result<()> {
    let status = match status {
        Status::Online => "online",
        Status::Degraded => "degraded",
    };
    let sql = "UPDATE sockets SET status = $3 WHERE session_id = $1 AND id = $2";
    tx.query(sql).bind(session).bind(id).bind(status).run().await?;
    Ok(())
}

/// It is closed; false when another one had taken its place.
pub async fn detach(tx: &mut Tx, session: SessionId, id: SocketId) -> Result<bool> {
    let sql = "UPDATE sockets SET status = 'offline' WHERE session_id = $1 AND id = $2";
    Ok(tx.query(sql).bind(session).bind(id).run().await? == 1)
}

/// Its agent was heard of in another way, though its socket is closed. Written at most
/// once in a [`BEAT`].
pub async fn spoke(tx: &mut Tx, session: SessionId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE sockets SET heard_at = $2 WHERE session_id = $1 AND status = 'offline'";
    tx.query(sql).bind(session).bind(now).run().await?;
    Ok(())
}

/// Is its socket closed, and was nothing heard of the agent for longer than a [`BEAT`]?
pub async fn quiet(tx: &mut Tx, session: SessionId, now: Timestamp) -> Result<bool> {
    let sql = "SELECT session_id FROM sockets
               WHERE session_id = $1 AND status = 'offline' AND heard_at < $2";
    let found: Option<(SessionId,)> =
        tx.query(sql).bind(session).bind(now - BEAT).optional().await?;
    Ok(found.is_some())
}

/// Sessions whose agent had a socket, closed it, and has not been heard of in any way
/// since `until`: no call, and no webhook that took anything.
pub async fn stale(tx: &mut Tx, until: Timestamp, limit: i64) -> Result<Vec<SessionId>> {
    let sql = concat!(stale!(), " ORDER BY o.heard_at LIMIT $2");
    let found: Vec<(SessionId,)> = tx.query(sql).bind(until).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Is this one of those? No socket can be attached until the transaction ends.
pub async fn still_stale(tx: &mut Tx, id: SessionId, until: Timestamp) -> Result<bool> {
    tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(id).run().await?;
    let sql = concat!(stale!(), " AND s.id = $2");
    let found: Option<(SessionId,)> = tx.query(sql).bind(until).bind(id).optional().await?;
    Ok(found.is_some())
}

/// The session's open socket, wherever it is.
pub async fn holder(tx: &mut Tx, session: SessionId) -> Result<Option<SocketId>> {
    let sql = "SELECT id FROM sockets WHERE session_id = $1 AND status <> 'offline'";
    let found: Option<(SocketId,)> = tx.query(sql).bind(session).optional().await?;
    Ok(found.map(|(id,)| id))
}

/// The sockets that this node's dead predecessor had are closed. Those that came after
/// `started` are our own.
pub async fn release_all(tx: &mut Tx, node: NodeKey, started: Timestamp) -> Result<u64> {
    let sql = "UPDATE sockets SET status = 'offline'
               WHERE node = $1 AND connected_at < $2 AND status <> 'offline'";
    Ok(tx.query(sql).bind(node.0.to_vec()).bind(started).run().await?)
}

/// Sockets of which nothing was heard since `until` are closed: their process died. Says
/// whose they were.
pub async fn sweep(tx: &mut Tx, until: Timestamp) -> Result<Vec<SessionId>> {
    let sql = "UPDATE sockets SET status = 'offline'
               WHERE heard_at < $1 AND status <> 'offline' RETURNING session_id";
    let gone: Vec<(SessionId,)> = tx.query(sql).bind(until).all().await?;
    Ok(gone.into_iter().map(|(session,)| session).collect())
}

/// The session is over. Call it in the transaction that ends it.
pub(super) async fn forget(tx: &mut Tx, session: SessionId) -> Result<()> {
    tx.query("DELETE FROM sockets WHERE session_id = $1").bind(session).run().await?;
    Ok(())
}
