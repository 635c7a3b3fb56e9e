//! The log of a webhook's tries: one row each, written in the transaction that concludes
//! the try, kept for as long as receipts are.

use super::replays::Replay;
use crate::{
    clock::Clock,
    error::{Error, Result},
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
    pub cause: Cause,
    pub outcome: Outcome,
    pub exchange: Value,
}

/// Why there was a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its turn had come.
    Lane,
    /// Its builder had asked for it again.
    Replay,
    /// It was made up to test the webhook.
    Test,
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
    pub cause: String,
    pub outcome: String,
    #[sqlx(json)]
    pub exchange: Value,
    pub created_at: Timestamp,
    pub next_attempt_at: Option<Timestamp>,
}

pub async fn record(tx: &mut Tx, clock: &Clock, new: New<'_>) -> Result<AttemptId> {
    let id: AttemptId = clock.id();
    let cause = match new.cause {
        Cause::Lane => "lane",
        Cause::Replay => "replay",
        Cause::Test => "test",
    };
    let (outcome, next) = match new.outcome {
        Outcome::Delivered => ("delivered", None),
        Outcome::Retrying(at) => ("retrying", Some(at)),
        Outcome::Dead => ("dead", None),
    };
    tx.query(
        "INSERT INTO attempts (id, agent_id, session_id, event_id, event, attempt, outcome,
             exchange, created_at, next_attempt_at, cause)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(id)
    .bind(new.agent)
    .bind(new.session)
    .bind(new.event)
    .bind(new.kind)
    .bind(new.attempt)
    .bind(outcome)
    .bind(Json(new.exchange))
    .bind(clock.now())
    .bind(next)
    .bind(cause)
    .run()
    .await?;
    Ok(id)
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
        "SELECT id, session_id, event_id, event, attempt, cause, outcome, exchange, created_at,
                next_attempt_at
         FROM attempts
         WHERE agent_id = $1 AND ($2 IS NULL OR session_id = $2) AND ($3 IS NULL OR outcome = $3)
           AND ($4 IS NULL OR id < $4)
         ORDER BY id DESC LIMIT $5",
    );
    Ok(found.bind(agent).bind(session).bind(outcome).bind(before).bind(limit).all().await?)
}

/// One of an agent's.
pub async fn find(tx: &mut Tx, agent: AgentId, id: AttemptId) -> Result<Attempt> {
    let found = tx.query(
        "SELECT id, session_id, event_id, event, attempt, cause, outcome, exchange, created_at,
                next_attempt_at
         FROM attempts WHERE agent_id = $1 AND id = $2",
    );
    found.bind(agent).bind(id).optional().await?.ok_or(Error::not_found("delivery"))
}

/// The next tries of a range with which an event died.
pub(super) async fn dead(
    tx: &mut Tx,
    replay: &Replay,
    limit: i64,
) -> Result<Vec<(AttemptId, SessionId, EventId)>> {
    let found = tx.query(
        "SELECT id, session_id, event_id FROM attempts
         WHERE agent_id = $1 AND outcome = 'dead' AND cause <> 'test'
           AND created_at >= $2 AND created_at < $3 AND ($4 IS NULL OR session_id = $4)
           AND ($5 IS NULL OR id > $5)
         ORDER BY id LIMIT $6",
    );
    let found = found.bind(replay.agent_id).bind(replay.since).bind(replay.until);
    Ok(found.bind(replay.session_id).bind(replay.last_seen).bind(limit).all().await?)
}

/// Deletes the oldest of all if they are from before `until`; says how many.
pub async fn sweep(tx: &mut Tx, until: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM attempts WHERE created_at < $1
               AND id IN (SELECT id FROM attempts ORDER BY id LIMIT $2)";
    Ok(tx.query(sql).bind(until).bind(BATCH).run().await?)
}
