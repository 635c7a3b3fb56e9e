//! Sessions as builders see them: those with their agents, whoever opened them.

use super::session_columns;
use crate::{
    error::Result,
    id::{AgentId, BuilderId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// A session without who in the client's company opened it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Rental {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub agent_name: String,
    /// `provisioning`, `active`, `paused`, `completed`.
    pub status: String,
    /// `wallet`, `subscription`, `free`.
    pub billing_model: String,
    /// As it was when the session was opened.
    pub price_cents_per_hour: i64,
    pub created_at: Timestamp,
    /// When the agent was ready. It is billed from then on.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// `client`, `low_balance`, `stale`, `provisioning_timeout`, `agent_failed`, `operator`,
    /// `plan_lapsed`, `agent_withdrawn`.
    pub end_reason: Option<String>,
    /// What it cost, known when it is over.
    pub billed_cents: Option<i64>,
    /// The number of the last entry in its log.
    pub last_seq: i64,
}

/// What is looked for. Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub agent: Option<AgentId>,
    pub status: Option<String>,
}

/// The condition in front is the one for which there is an index.
macro_rules! search {
    ($first:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE builder_id = $1 AND ",
            $first,
            " AND ($2 IS NULL OR agent_id = $2) AND ($3 IS NULL OR status = $3)
              AND ($4 IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        )
    };
}

/// A page of a builder's sessions, newest first. A template's sessions stay when it is
/// withdrawn.
pub async fn list(
    tx: &mut Tx,
    builder: BuilderId,
    filter: &Filter,
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<Rental>> {
    // Few of many sessions run, and there is an index of those.
    let running = filter.status.as_deref().is_some_and(|status| status != "completed");
    let sql = match filter.agent {
        Some(_) if running => search!("agent_id = $2 AND status <> 'completed'"),
        Some(_) => search!("agent_id = $2"),
        None if running => search!("status <> 'completed'"),
        None => search!("TRUE"),
    };
    let found = tx.query(sql).bind(builder).bind(filter.agent).bind(filter.status.as_deref());
    Ok(found.bind(before).bind(limit).all().await?)
}
