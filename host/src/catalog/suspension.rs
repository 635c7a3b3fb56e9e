//! Templates that an operator has suspended: nobody sees or rents them, and their sessions
//! are ended (`work::suspended`).

use crate::{
    error::{Error, Result},
    id::AgentId,
    storage::Tx,
    timestamp::Timestamp,
};

/// Suspends it, or with `None` lets it be rented again; false when it was so already.
pub async fn set(tx: &mut Tx, id: AgentId, since: Option<Timestamp>) -> Result<bool> {
    let sql = "SELECT suspended_at FROM agents WHERE id = $1 AND deleted_at IS NULL";
    let found: Option<(Option<Timestamp>,)> = tx.query_locked(sql).bind(id).optional().await?;
    let (before,) = found.ok_or(Error::not_found("agent"))?;
    if before.is_some() == since.is_some() {
        return Ok(false);
    }
    let sql = "UPDATE agents SET suspended_at = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(since).run().await?;
    Ok(true)
}
