//! What an agent does by itself, at fixed times: it tells the platform, and the client
//! reads it. The platform keeps the list and runs none of it.
//!
//! A list replaces the one before it as a whole. An agent that says nothing any more
//! leaves its last list standing.

use crate::{
    clock::Clock,
    error::Result,
    id::SessionId,
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Jobs of one session: what the published SDK sends at most.
pub const JOBS: usize = 100;

/// A job, as the published SDK writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// The agent's own name for it.
    pub id: String,
    pub title: String,
    pub description: String,
    /// What the agent is asked when the time comes.
    pub prompt: String,
    /// A cron expression of five fields.
    pub schedule: String,
    pub next_run_at: Option<Timestamp>,
    pub last_run_at: Option<Timestamp>,
    pub last_run_state: Option<RunState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Success,
    Failed,
}

impl Job {
    /// The job as lists show it. No agent reports single runs yet.
    pub fn row(&self) -> Value {
        let mut row = json!(self);
        row["executions"] = json!([]);
        row
    }
}

/// Puts these jobs in the place of all that there were.
pub async fn replace(tx: &mut Tx, clock: &Clock, session: SessionId, jobs: &[Job]) -> Result<()> {
    tx.query(
        "INSERT INTO cron_jobs (session_id, jobs, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (session_id) DO UPDATE SET jobs = excluded.jobs,
             updated_at = excluded.updated_at",
    )
    .bind(session)
    .bind(Json(jobs.to_vec()))
    .bind(clock.now())
    .run()
    .await?;
    Ok(())
}

/// The session's jobs in the agent's order, and since when they are so; none when the
/// agent has never said anything of them.
pub async fn list(tx: &mut Tx, session: SessionId) -> Result<Option<Jobs>> {
    let sql = "SELECT jobs, updated_at FROM cron_jobs WHERE session_id = $1";
    Ok(tx.query(sql).bind(session).optional().await?)
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Jobs {
    #[sqlx(json)]
    pub jobs: Vec<Job>,
    pub updated_at: Timestamp,
}
