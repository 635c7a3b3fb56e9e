//! A company that closed: all that it has stored goes the way of the trash, at once.

use super::{tree, uploads};
use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, NodeId},
    storage::Tx,
};

/// Deletes one folder or file that lies at the top, with all below it, or what is in the
/// trash or half uploaded; false when nothing was left.
pub async fn forget_one(tx: &mut Tx, clock: &Clock, company: CompanyId) -> Result<bool> {
    let sql = "SELECT id FROM nodes WHERE company_id = $1 AND trash_root = id LIMIT 1";
    let trashed: Option<(NodeId,)> = tx.query(sql).bind(company).optional().await?;
    if let Some((id,)) = trashed {
        tree::purge(tx, clock.now(), company, id).await?;
        return Ok(true);
    }
    let sql = "SELECT id FROM nodes WHERE company_id = $1 AND parent_id IS NULL
               AND state = 'ready' AND trashed_at IS NULL LIMIT 1";
    let top: Option<(NodeId,)> = tx.query(sql).bind(company).optional().await?;
    if let Some((id,)) = top {
        tree::trash(tx, clock, company, id).await?;
        tree::purge(tx, clock.now(), company, id).await?;
        return Ok(true);
    }
    uploads::give_up_one(tx, clock.now(), company).await
}
