//! The log of a webhook's tries: one row each, written in the transaction that concludes
//! the try, kept for as long as receipts are.

use crate::{
    clock::Clock,
    error::Result,
    id::{AgentId, AttemptId, EventId, SessionId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde_json::Value;

/// Rows deleted in one transaction.
pub const BATCH: i64 = 500;

/// One try, as it is written down.
pub struct New<'a> {
    pub agent: AgentId,
    pub session: SessionId,
    pub event: EventId,
    /// The event's type.
    pub kind: &'a str,
    pub attempt: i64,
    pub outcome: Outcome,
    pub exchange: Value,
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The next one is at that time.
    Retrying(Timestamp),
    /// It was the last.
    Dead,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Attempt {
    pub id: AttemptId,
    pub session_id: SessionId,
    pub event_id: EventId,
    pub event: String,
    pub attempt: i64,
    pub outcome: String,
    #[sqlx(json)]
    pub exchange: Value,
    pub created_at: Timestamp,
    pub next_attempt_at: Option<Timestamp>,
}

pub async fn record(tx: &mut Tx, clock: &Clock, new: New<'_>) -> Result<()> {
    let (outcome, next) = match new.outcome {
        Outcome::Delivered => ("delivered", None),
        Outcome::Retrying(at) => ("retrying", Some(at)),
        Outcome::Dead => ("dead", None),
    };
    tx.query(
        "INSERT INTO attempts (id, agent_id, session_id, event_id, event, attempt, outcome,
             exchange, created_at, next_attempt_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(clock.id::<AttemptId>())
    .bind(new.agent)
    .bind(new.session)
    .bind(new.event)
    .bind(new.kind)
    .bind(new.attempt)
    .bind(outcome)
    .bind(Json(new.exchange))
    .bind(clock.now())
    .bind(next)
    .run()
    .await?;
    Ok(())
}

/// Those of an agent, newest first; of one session or one outcome only, when given.
pub async fn list(
    tx: &mut Tx,
    agent: AgentId,
    session: Option<SessionId>,
    outcome: Option<&str>,
    before: Option<AttemptId>,
    limit: i64,
) -> Result<Vec<Attempt>> {
    let found = tx.query(
        "SELECT id, session_id, event_id, event, attempt, outcome, exchange, created_at,
                next_attempt_at
         FROM attempts
         WHERE agent_id = $1 AND ($2 IS NULL OR session_id = $2) AND ($3 IS NULL OR outcome = $3)
           AND ($4 IS NULL OR id < $4)
         ORDER BY id DESC LIMIT $5",
    );
    Ok(found.bind(agent).bind(session).bind(outcome).bind(before).bind(limit).all().await?)
}

/// Deletes the oldest of all if they are from before `until`; says how many.
pub async fn sweep(tx: &mut Tx, until: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM attempts WHERE created_at < $1
               AND id IN (SELECT id FROM attempts ORDER BY id LIMIT $2)";
    Ok(tx.query(sql).bind(until).bind(BATCH).run().await?)
}
