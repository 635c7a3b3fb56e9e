//! Receipts do not stay for ever: those that are too old go, and the oldest of an
//! agent that has too many.
//!
//! Every step deletes a bounded number and is a transaction of its own, so that
//! whoever writes meanwhile waits for little. Names sort by age, so nothing here
//! looks at receipts that stay.

use crate::{
    error::Result,
    id::{AgentId, InvocationId},
    storage::Tx,
    timestamp::Timestamp,
};

/// Receipts deleted in one transaction: some ten milliseconds.
pub const BATCH: u32 = 500;

/// The newest receipts, looked at for agents that may have too many. One that writes
/// so little that it is missed grows by as little.
const SAMPLE: i64 = 1_000;

/// Deletes the oldest of all if they are from before `until`; says how many.
pub async fn old(tx: &mut Tx, until: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM invocations WHERE created_at < $1
               AND id IN (SELECT id FROM invocations ORDER BY id LIMIT $2)";
    Ok(tx.query(sql).bind(until).bind(i64::from(BATCH)).run().await?)
}

/// Agents with more than `most` receipts, each with the newest that is too many.
pub async fn crowded(tx: &mut Tx, most: i64) -> Result<Vec<(AgentId, InvocationId)>> {
    let sql = "SELECT DISTINCT agent_id
               FROM (SELECT agent_id FROM invocations ORDER BY id DESC LIMIT $1) AS newest";
    let busy: Vec<(AgentId,)> = tx.query(sql).bind(SAMPLE).all().await?;
    let mut found = Vec::new();
    for (agent,) in busy {
        let sql = "SELECT id FROM invocations WHERE agent_id = $1
                   ORDER BY id DESC LIMIT 1 OFFSET $2";
        let over: Option<(InvocationId,)> = tx.query(sql).bind(agent).bind(most).optional().await?;
        found.extend(over.map(|(id,)| (agent, id)));
    }
    Ok(found)
}

/// Deletes the oldest of an agent, up to `last`; says how many.
pub async fn agents(tx: &mut Tx, agent: AgentId, last: InvocationId) -> Result<u64> {
    let sql = "DELETE FROM invocations WHERE id IN (
                   SELECT id FROM invocations WHERE agent_id = $1 AND id <= $2
                   ORDER BY id LIMIT $3)";
    Ok(tx.query(sql).bind(agent).bind(last).bind(i64::from(BATCH)).run().await?)
}
