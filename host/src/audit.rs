//! The record of what operators, and the platform in their stead, have decided: who
//! changed what, when, from what to what.
//!
//! An entry is written in the transaction that makes the change, so there is none
//! without the other. Entries are added and read, never changed.

use crate::{
    clock::Clock,
    error::Result,
    id::{AuditId, UserId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::Value;

/// What is true of the whole platform is recorded under this target.
pub const PLATFORM: &str = "platform";

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct Entry {
    pub id: AuditId,
    /// Null when nobody did it: the platform itself.
    pub actor_id: Option<UserId>,
    /// Such as `limits.set`.
    pub action: String,
    /// `platform`, or a kind of thing and its id: `agent/<id>`.
    pub target: String,
    /// What was changed, as it was.
    #[sqlx(json)]
    pub before: Value,
    /// As it is from then on.
    #[sqlx(json)]
    pub after: Value,
    pub created_at: Timestamp,
}

/// A decision about to be recorded.
pub struct Decision<'a> {
    /// None when nobody did it: the platform itself.
    pub actor: Option<UserId>,
    /// Such as `limits.set`.
    pub action: &'static str,
    /// [`PLATFORM`], or a kind of thing and its id: `agent/<id>`.
    pub target: &'a str,
    /// What changed and nothing else; never a secret.
    pub before: Value,
    pub after: Value,
}

pub async fn record(tx: &mut Tx, clock: &Clock, decision: Decision<'_>) -> Result<()> {
    tx.query(
        "INSERT INTO audit (id, actor_id, action, target, before, after, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(clock.id::<AuditId>())
    .bind(decision.actor)
    .bind(decision.action)
    .bind(decision.target)
    .bind(Json(decision.before))
    .bind(Json(decision.after))
    .bind(clock.now())
    .run()
    .await?;
    Ok(())
}

/// Newest first; of one action or one target only, when given.
pub async fn list(
    tx: &mut Tx,
    action: Option<&str>,
    target: Option<&str>,
    before: Option<AuditId>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let found = tx.query(
        "SELECT id, actor_id, action, target, before, after, created_at FROM audit
         WHERE ($1 IS NULL OR action = $1) AND ($2 IS NULL OR target = $2)
           AND ($3 IS NULL OR id < $3)
         ORDER BY id DESC LIMIT $4",
    );
    Ok(found.bind(action).bind(target).bind(before).bind(limit).all().await?)
}
