//! The upper two layers as they lie in the database.

use super::Set;
use crate::{
    error::Result,
    id::AgentId,
    storage::{Json, Tx, gone},
};

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(json)]
    limits: Set,
}

#[derive(sqlx::FromRow)]
struct Own {
    agent_id: AgentId,
    #[sqlx(json)]
    limits: Set,
}

pub(super) async fn platform(tx: &mut Tx) -> Result<Set> {
    let row: Row = tx.query("SELECT limits FROM policy").one().await?;
    Ok(row.limits)
}

/// The same for one who is about to change a limit: there is one at a time.
pub(super) async fn platform_locked(tx: &mut Tx) -> Result<Set> {
    let row: Row = tx.query_locked("SELECT limits FROM policy").one().await?;
    Ok(row.limits)
}

/// None when there is no such agent. One that was withdrawn is there for as long as
/// something of it may run.
pub(super) async fn own(tx: &mut Tx, agent: AgentId) -> Result<Option<Set>> {
    let sql = "SELECT id FROM agents WHERE id = $1 AND emptied_at IS NULL";
    let found: Option<(AgentId,)> = tx.query(sql).bind(agent).optional().await?;
    if found.is_none() {
        return Ok(None);
    }
    let own = tx.query("SELECT limits FROM agent_limits WHERE agent_id = $1").bind(agent);
    let own: Option<Row> = own.optional().await?;
    Ok(Some(own.map(|row| row.limits).unwrap_or_default()))
}

pub(super) async fn all(tx: &mut Tx) -> Result<Vec<(AgentId, Set)>> {
    let sql = "SELECT l.agent_id, l.limits FROM agent_limits l
               JOIN agents a ON a.id = l.agent_id AND a.emptied_at IS NULL ORDER BY l.agent_id";
    let all: Vec<Own> = tx.query(sql).all().await?;
    Ok(all.into_iter().map(|own| (own.agent_id, own.limits)).collect())
}

/// Both layers as texts; None when there is no such agent. A lane reads the same
/// along with whom it leads to.
pub(super) async fn texts(tx: &mut Tx, agent: AgentId) -> Result<Option<(String, Option<String>)>> {
    let found = tx.query(
        "SELECT CAST(p.limits AS TEXT), CAST(l.limits AS TEXT) FROM policy p, agents a
         LEFT JOIN agent_limits l ON l.agent_id = a.id
         WHERE a.id = $1 AND a.emptied_at IS NULL",
    );
    Ok(found.bind(agent).optional().await?)
}

pub(super) async fn put_platform(tx: &mut Tx, set: &Set) -> Result<()> {
    tx.query("UPDATE policy SET limits = $1").bind(Json(set)).run().await?;
    Ok(())
}

/// False when there is no such agent any more.
pub(super) async fn put_own(tx: &mut Tx, agent: AgentId, set: &Set) -> Result<bool> {
    if set.is_empty() {
        tx.query("DELETE FROM agent_limits WHERE agent_id = $1").bind(agent).run().await?;
        return Ok(true);
    }
    let put = tx.query(
        "INSERT INTO agent_limits (agent_id, limits) VALUES ($1, $2)
         ON CONFLICT (agent_id) DO UPDATE SET limits = excluded.limits",
    );
    Ok(gone(put.bind(agent).bind(Json(set)).run().await)?.is_some())
}
