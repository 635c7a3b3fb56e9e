//! Do the library, what is counted of it, and the store agree?

use super::{Node, node_columns};
use crate::{
    error::Result,
    id::{CompanyId, NodeId},
    storage::Tx,
};

/// A company whose count is not what it has.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Miscount {
    pub company_id: CompanyId,
    pub bytes: i64,
    pub counted_bytes: i64,
    pub nodes: i64,
    pub counted_nodes: i64,
}

/// Companies whose counts are wrong.
pub async fn miscounts(tx: &mut Tx) -> Result<Vec<Miscount>> {
    let sql = "SELECT * FROM (
                   SELECT c.id AS company_id,
                       COALESCE((SELECT CAST(SUM(n.file_size) AS BIGINT) FROM nodes n
                                 WHERE n.company_id = c.id AND n.state = 'ready'), 0)
                       + COALESCE((SELECT CAST(SUM(u.bytes) AS BIGINT) FROM file_uploads u
                                   WHERE u.company_id = c.id), 0) AS bytes,
                       COALESCE(l.bytes, 0) AS counted_bytes,
                       (SELECT COUNT(*) FROM nodes n WHERE n.company_id = c.id) AS nodes,
                       COALESCE(l.nodes, 0) AS counted_nodes
                   FROM companies c LEFT JOIN libraries l ON l.company_id = c.id
               ) counted
               WHERE bytes <> counted_bytes OR nodes <> counted_nodes ORDER BY company_id";
    Ok(tx.query(sql).all().await?)
}

/// Files whose bytes should be in the store, in the order of their ids, after one.
pub async fn files(tx: &mut Tx, after: Option<NodeId>, limit: i64) -> Result<Vec<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.type = 'file' AND n.state = 'ready'
              AND ($1 IS NULL OR n.id > $1) ORDER BY n.id LIMIT $2"
    );
    Ok(tx.query(sql).bind(after).bind(limit).all().await?)
}

/// Does anything name this object?
pub async fn named(tx: &mut Tx, key: &str) -> Result<bool> {
    let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM doomed_objects WHERE key = $1)
                   OR EXISTS (SELECT 1 FROM file_uploads WHERE object_key = $1)
                   OR EXISTS (SELECT 1 FROM resumable_uploads WHERE tail_key = $1)";
    if tx.query(sql).bind(key).optional::<(i32,)>().await?.is_some() {
        return Ok(true);
    }
    // `<company>/<node>`, and what tells one try to send it from another.
    let node = key.split(['/', '.']).nth(1).and_then(|node| node.parse::<NodeId>().ok());
    let Some(node) = node else { return Ok(false) };
    let sql = concat!("SELECT ", node_columns!("n"), " FROM nodes n WHERE n.id = $1");
    let found: Option<Node> = tx.query(sql).bind(node).optional().await?;
    Ok(found.is_some_and(|node| node.key() == Some(key)))
}
