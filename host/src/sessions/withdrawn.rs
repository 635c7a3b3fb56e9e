//! Sessions whose agent was withdrawn: those that still run, and those that are over but
//! have not been able to tell it.

use super::memory;
use crate::{
    error::Result,
    id::{AgentId, SessionId},
    storage::Tx,
};

/// Sessions with this agent that are not over, the oldest first.
pub async fn running(tx: &mut Tx, agent: AgentId, limit: i64) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE agent_id = $1 AND status <> 'completed'
               ORDER BY id LIMIT $2";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(agent).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Sessions with this agent that have something waiting for it.
pub async fn waiting(tx: &mut Tx, agent: AgentId, limit: i64) -> Result<Vec<SessionId>> {
    // Pending events are few, and there is an index of them with these very words.
    let sql = "SELECT id FROM sessions WHERE agent_id = $1
               AND id IN (SELECT session_id FROM events WHERE delivery IN ('queued', 'running'))
               LIMIT $2";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(agent).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Gives up what waits for the agent of a session that is over; what is being delivered
/// in this moment is not touched.
pub async fn give_up(tx: &mut Tx, id: SessionId) -> Result<()> {
    // The session's row is the queue for all that changes its lane.
    tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(id).run().await?;
    let sql =
        "UPDATE events SET delivery = 'cancelled' WHERE session_id = $1 AND delivery = 'queued'";
    let cancelled = tx.query(sql).bind(id).run().await?;
    let left = tx.query(
        "UPDATE sessions SET queued = queued - $2,
             lane_claim = CASE WHEN queued = $2 THEN NULL ELSE lane_claim END,
             lane_until = CASE WHEN queued = $2 THEN NULL ELSE lane_until END
         WHERE id = $1 RETURNING queued",
    );
    let cancelled = i64::try_from(cancelled).unwrap_or(i64::MAX);
    let (left,): (i64,) = left.bind(id).bind(cancelled).one().await?;
    if left == 0 {
        memory::forget(tx, id).await?;
    }
    Ok(())
}
