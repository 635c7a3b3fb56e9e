//! Taking a template away for good.
//!
//! Its row stays, since sessions refer to it; nobody sees it any more, and no session
//! begins. Those that run are ended by `work::withdrawn`, a few at a time; when the last
//! event of the last of them is concluded, what the builder had stored with the template
//! is deleted: it is [`empty`]. The row itself says how far it has come, so whoever dies
//! on the way has a successor.

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::AgentId,
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;

/// How long the agent's last events may take to be delivered: longer than nine tries
/// usually do. Its webhook may be disabled, and nobody is left to enable it.
const LAST_EVENTS: Duration = Duration::from_hours(24);

/// A withdrawn template that is not empty yet.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Unfinished {
    pub id: AgentId,
    deleted_at: Timestamp,
}

impl Unfinished {
    /// What was not delivered by now never will be.
    pub fn has_had_its_time(&self, now: Timestamp) -> bool {
        self.deleted_at + LAST_EVENTS <= now
    }
}

/// Withdraws the template. While sessions run it refuses, unless they may end; true when
/// there are some, which the caller has to end.
pub async fn withdraw(tx: &mut Tx, clock: &Clock, id: AgentId, end_sessions: bool) -> Result<bool> {
    // Whoever is opening a session, or storing something, is waited for.
    tx.query_locked("SELECT id FROM agents WHERE id = $1").bind(id).run().await?;
    let sql = "SELECT COUNT(*) FROM sessions WHERE agent_id = $1 AND status <> 'completed'";
    let (running,): (i64,) = tx.query(sql).bind(id).one().await?;
    if running > 0 && !end_sessions {
        let sessions = if running == 1 { "session runs" } else { "sessions run" };
        let detail =
            format!("{running} {sessions} with this agent; with ?endSessions=true they are ended");
        return Err(Error::conflict("sessions_running", detail));
    }
    let now = clock.now();
    let sql = "UPDATE agents SET status = 'draft', deleted_at = $2, updated_at = $2
               WHERE id = $1 AND deleted_at IS NULL";
    if tx.query(sql).bind(id).bind(now).run().await? == 0 {
        return Err(Error::not_found("agent"));
    }
    let sql = "UPDATE canaries SET state = 'stopped', ended_at = $2
               WHERE agent_id = $1 AND state = 'running'";
    tx.query(sql).bind(id).bind(now).run().await?;
    let sql = "UPDATE replays SET state = 'cancelled', finished_at = $2
               WHERE agent_id = $1 AND state = 'running'";
    tx.query(sql).bind(id).bind(now).run().await?;
    if running == 0 {
        empty(tx, clock, id).await?;
    }
    Ok(running > 0)
}

/// Withdrawn templates that are not empty yet, in the order of their ids.
pub async fn unfinished(
    tx: &mut Tx,
    after: Option<AgentId>,
    limit: i64,
) -> Result<Vec<Unfinished>> {
    let sql = "SELECT id, deleted_at FROM agents
               WHERE deleted_at IS NOT NULL AND emptied_at IS NULL AND ($1 IS NULL OR id > $1)
               ORDER BY id LIMIT $2";
    Ok(tx.query(sql).bind(after).bind(limit).all().await?)
}

/// Deletes what the builder had stored with a withdrawn template, once nothing of it is
/// at work any more. What ran, and how, stays on record.
pub async fn empty(tx: &mut Tx, clock: &Clock, id: AgentId) -> Result<()> {
    if at_work(tx, id).await? {
        return Ok(());
    }
    tx.query("DELETE FROM settings WHERE agent_id = $1").bind(id).run().await?;
    tx.query("DELETE FROM former_secrets WHERE agent_id = $1").bind(id).run().await?;
    tx.query("DELETE FROM agent_limits WHERE agent_id = $1").bind(id).run().await?;
    tx.query("DELETE FROM replays WHERE agent_id = $1").bind(id).run().await?;
    tx.query("DELETE FROM endpoints WHERE agent_id = $1").bind(id).run().await?;
    let sql = "UPDATE agents SET webhook_url = NULL, webhook_secret = NULL, emptied_at = $2
               WHERE id = $1";
    tx.query(sql).bind(id).bind(clock.now()).run().await?;
    Ok(())
}

/// Does a session of it run, or is one of its events on its way?
async fn at_work(tx: &mut Tx, id: AgentId) -> Result<bool> {
    let found = tx.query(
        "SELECT id FROM agents WHERE id = $1 AND (
             EXISTS (SELECT 1 FROM sessions s WHERE s.agent_id = $1 AND s.status <> 'completed')
             OR EXISTS (SELECT 1 FROM sessions s WHERE s.agent_id = $1 AND s.id IN (
                 SELECT session_id FROM events WHERE delivery IN ('queued', 'running'))))",
    );
    let found: Option<(AgentId,)> = found.bind(id).optional().await?;
    Ok(found.is_some())
}
