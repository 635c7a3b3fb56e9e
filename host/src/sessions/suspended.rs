//! Sessions that run although their agent, or their company, is suspended.

use crate::{error::Result, id::SessionId, storage::Tx};

/// The oldest first.
pub async fn running(tx: &mut Tx, limit: i64) -> Result<Vec<SessionId>> {
    let sql = "SELECT s.id FROM sessions s
               JOIN agents a ON a.id = s.agent_id
               JOIN companies c ON c.id = s.company_id
               WHERE s.status <> 'completed'
                 AND (a.suspended_at IS NOT NULL OR c.suspended_at IS NOT NULL)
               ORDER BY s.id LIMIT $1";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}
