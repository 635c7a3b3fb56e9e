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
use serde_json::Value;

/// Jobs of one session: what the published SDK sends at most.
pub const JOBS: usize = 100;

/// A job, as the published SDK writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema, Deserialize)]
#[schema(as = NewCronJob)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// The agent's own name for it: no two have the same.
    #[schema(min_length = 1, max_length = 500, pattern = "^[^\\x00]+$")]
    pub id: String,
    #[schema(max_length = 500, pattern = "^[^\\x00]*$")]
    pub title: String,
    /// At most 64 KiB.
    #[schema(max_length = 65_536, pattern = "^[^\\x00]*$")]
    pub description: String,
    /// What the agent is asked when the time comes. At most 64 KiB.
    #[schema(max_length = 65_536, pattern = "^[^\\x00]*$")]
    pub prompt: String,
    /// A cron expression of five fields.
    #[schema(max_length = 500, examples("*/15 9-17 * * mon-fri"))]
    #[schema(pattern = "^\\s*[A-Za-z0-9*/,?#-]+(\\s+[A-Za-z0-9*/,?#-]+){4}\\s*$")]
    pub schedule: String,
    pub next_run_at: Option<Timestamp>,
    pub last_run_at: Option<Timestamp>,
    pub last_run_state: Option<RunState>,
}

/// How a job's last run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Success,
    Failed,
}

/// A job as lists show it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJob {
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
    /// Single runs. No agent reports any yet.
    pub executions: Vec<Value>,
}

impl From<Job> for CronJob {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            title: job.title,
            description: job.description,
            prompt: job.prompt,
            schedule: job.schedule,
            next_run_at: job.next_run_at,
            last_run_at: job.last_run_at,
            last_run_state: job.last_run_state,
            executions: Vec::new(),
        }
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
