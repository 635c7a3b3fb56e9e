//! Receipts of component events and what the components logged: written with the
//! event's conclusion, searched by builders and operators, kept for a while.

pub mod logged;
pub mod sweep;
pub mod watch;

use crate::{
    clock::Clock,
    error::Result,
    id::{AgentId, EventId, InvocationId, SessionId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde_json::Value;

/// Of log entries, from harmless to bad. `worst` is a place in this list.
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// Where "warn" is in it.
pub const WARN: i64 = 3;

/// How bad a log entry is.
pub fn severity(level: &str) -> Option<i64> {
    LEVELS.iter().position(|known| *known == level).map(|place| place as i64)
}

/// One run of a component, as it is written down.
pub struct New<'a> {
    pub agent: AgentId,
    pub session: SessionId,
    pub event: EventId,
    /// The event's type.
    pub kind: &'a str,
    pub attempt: i64,
    pub version: Option<i64>,
    pub outcome: &'static str,
    pub receipt: Value,
    /// A list of `{level, message, fields}`.
    pub log: Value,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Invocation {
    pub id: InvocationId,
    pub agent_id: AgentId,
    pub session_id: SessionId,
    pub event_id: EventId,
    /// The event's type. Like `attempt` and `version`, unknown for the oldest.
    pub event: Option<String>,
    pub attempt: Option<i64>,
    pub version: Option<i64>,
    pub outcome: String,
    #[sqlx(json)]
    pub receipt: Value,
    #[sqlx(json)]
    pub log: Value,
    pub created_at: Timestamp,
}

impl Invocation {
    pub fn entries(&self) -> &[Value] {
        self.log.as_array().map_or(&[], Vec::as_slice)
    }
}

macro_rules! columns {
    () => {
        "id, agent_id, session_id, event_id, event, attempt, version, outcome, receipt, log,
         created_at"
    };
}
use columns;

pub async fn record(tx: &mut Tx, clock: &Clock, new: New<'_>) -> Result<()> {
    let levels = new.log.as_array().into_iter().flatten();
    let worst = levels.filter_map(|entry| severity(entry["level"].as_str()?)).max();
    tx.query(
        "INSERT INTO invocations (id, agent_id, session_id, event_id, event, attempt, version,
             outcome, receipt, log, worst, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(clock.id::<InvocationId>())
    .bind(new.agent)
    .bind(new.session)
    .bind(new.event)
    .bind(new.kind)
    .bind(new.attempt)
    .bind(new.version)
    .bind(new.outcome)
    .bind(Json(new.receipt))
    .bind(Json(new.log))
    .bind(worst)
    .bind(clock.now())
    .run()
    .await?;
    Ok(())
}

/// What is looked for. Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// None for an operator, who may look at all of them.
    pub agent: Option<AgentId>,
    pub session: Option<SessionId>,
    pub outcome: Option<String>,
    /// It logged something as bad as this, or worse; see [`severity`].
    pub level: Option<i64>,
    pub from: Option<Timestamp>,
    /// This moment itself not included.
    pub to: Option<Timestamp>,
}

/// The condition in front is the one for which there is an index.
macro_rules! search {
    ($first:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM invocations WHERE ",
            $first,
            " AND ($1 IS NULL OR agent_id = $1) AND ($2 IS NULL OR session_id = $2)
              AND ($3 IS NULL OR outcome = $3) AND ($4 IS NULL OR worst >= $4)
              AND ($5 IS NULL OR created_at >= $5) AND ($6 IS NULL OR created_at < $6)
              AND ($7 IS NULL OR id < $7)
             ORDER BY id DESC LIMIT $8"
        )
    };
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    before: Option<InvocationId>,
    limit: i64,
) -> Result<Vec<Invocation>> {
    let failed = filter.outcome.as_deref().is_some_and(|outcome| outcome != "ok");
    let loud = filter.level.is_some_and(|level| level >= WARN);
    // The indexes for what went wrong have these very words as their condition.
    let sql = match (filter.session, filter.agent) {
        (Some(_), _) => search!("session_id = $2"),
        (_, Some(_)) if failed => search!("agent_id = $1 AND outcome = $3 AND outcome <> 'ok'"),
        (_, Some(_)) if loud => search!("agent_id = $1 AND worst >= 3"),
        (_, Some(_)) => search!("agent_id = $1"),
        _ if failed => search!("outcome = $3 AND outcome <> 'ok'"),
        _ if loud => search!("worst >= 3"),
        _ => search!("TRUE"),
    };
    let found = tx
        .query(sql)
        .bind(filter.agent)
        .bind(filter.session)
        .bind(filter.outcome.as_deref())
        .bind(filter.level)
        .bind(filter.from)
        .bind(filter.to)
        .bind(before)
        .bind(limit);
    Ok(found.all().await?)
}
