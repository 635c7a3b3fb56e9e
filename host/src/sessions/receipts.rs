//! Receipts of component events and what the components logged.

use crate::{
    clock::Clock,
    error::Result,
    id::{AgentId, EventId, InvocationId, SessionId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde_json::Value;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Invocation {
    pub id: InvocationId,
    pub session_id: SessionId,
    pub event_id: EventId,
    #[sqlx(json)]
    pub receipt: Value,
    #[sqlx(json)]
    pub log: Value,
    pub created_at: Timestamp,
}

pub async fn record(
    tx: &mut Tx,
    clock: &Clock,
    (agent, session, event): (AgentId, SessionId, EventId),
    outcome: &str,
    receipt: Value,
    log: Value,
) -> Result<()> {
    tx.query(
        "INSERT INTO invocations (id, agent_id, session_id, event_id, outcome, receipt, log,
             created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(clock.id::<InvocationId>())
    .bind(agent)
    .bind(session)
    .bind(event)
    .bind(outcome)
    .bind(Json(receipt))
    .bind(Json(log))
    .bind(clock.now())
    .run()
    .await?;
    Ok(())
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    agent: AgentId,
    session: Option<SessionId>,
    before: Option<InvocationId>,
    limit: i64,
) -> Result<Vec<Invocation>> {
    let found = tx.query(
        "SELECT id, session_id, event_id, receipt, log, created_at FROM invocations
         WHERE agent_id = $1 AND ($2 IS NULL OR session_id = $2) AND ($3 IS NULL OR id < $3)
         ORDER BY id DESC LIMIT $4",
    );
    Ok(found.bind(agent).bind(session).bind(before).bind(limit).all().await?)
}
