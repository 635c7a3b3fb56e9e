//! An agent's schedule: told by the agent as a whole, read by the client.

use super::{
    caller::{Agent, Caller},
    input::{self, Body},
};
use crate::{
    error::{Error, Result},
    host::Host,
    sessions::{
        self,
        cron::{self, CronJob, JOBS, Job},
    },
    timestamp::Timestamp,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Of a name, a title and a schedule, in characters: more than the published SDK sends.
const SHORT: usize = 500;

/// Of a description and a prompt, in bytes.
const LONG_BYTES: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(replace)).routes(routes!(list))
}

/// All the jobs that there are from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCronJobs {
    #[schema(max_items = 100)]
    jobs: Vec<Job>,
}

/// The jobs that took the place of those before.
#[derive(Serialize, ToSchema)]
struct ReplacedCronJobs {
    jobs: Vec<CronJob>,
}

/// Replaces the agent's schedule as a whole.
///
/// The client sees it. The platform runs none of it: that is the agent's own business.
#[utoipa::path(
    put, path = "/agent/sessions/{session}/cron-jobs", request_body = NewCronJobs,
    responses((status = 200, body = ReplacedCronJobs)),
)]
async fn replace(
    State(host): State<Host>,
    Agent(session): Agent,
    Body(NewCronJobs { jobs }): Body<NewCronJobs>,
) -> Result<Json<ReplacedCronJobs>> {
    looked_at(&jobs)?;
    let mut tx = host.db.write().await?;
    cron::replace(&mut tx, &host.clock, session.id, &jobs).await?;
    tx.commit().await?;
    Ok(Json(ReplacedCronJobs { jobs: rows(jobs) }))
}

/// What an agent does by itself, as it has told.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CronJobs {
    jobs: Vec<CronJob>,
    /// Since when they are so; null when the agent has never said anything of them.
    updated_at: Option<Timestamp>,
}

/// Shows the schedule of a session's agent, as it has last told it.
#[utoipa::path(
    get, path = "/sessions/{session}/cron-jobs", responses((status = 200, body = CronJobs)),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<CronJobs>> {
    let id = input::id(&id, "session")?;
    let mut tx = host.db.read().await?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?.id;
    let Some(found) = cron::list(&mut tx, session).await? else {
        return Ok(Json(CronJobs::default()));
    };
    Ok(Json(CronJobs { jobs: rows(found.jobs), updated_at: Some(found.updated_at) }))
}

fn rows(jobs: Vec<Job>) -> Vec<CronJob> {
    jobs.into_iter().map(CronJob::from).collect()
}

fn looked_at(jobs: &[Job]) -> Result<()> {
    if jobs.len() > JOBS {
        return Err(Error::field("/jobs", format!("has {}, at most {JOBS}", jobs.len())));
    }
    let mut seen = BTreeSet::new();
    for (n, job) in jobs.iter().enumerate() {
        let bad = |field: &str, why: String| Err(Error::field(&format!("/jobs/{n}/{field}"), why));
        if job.id.is_empty() {
            return bad("id", "must not be empty".into());
        }
        if !seen.insert(&job.id) {
            return bad("id", "comes twice; each job has its own".into());
        }
        for (field, text) in [("id", &job.id), ("title", &job.title), ("schedule", &job.schedule)] {
            if text.chars().count() > SHORT || text.contains('\0') {
                return bad(field, format!("must have at most {SHORT} characters and no NUL"));
            }
        }
        for (field, text) in [("description", &job.description), ("prompt", &job.prompt)] {
            if text.len() > LONG_BYTES || text.contains('\0') {
                return bad(field, format!("must have at most {LONG_BYTES} bytes and no NUL"));
            }
        }
        if !has_five_fields(&job.schedule) {
            return bad("schedule", "must be a cron expression of five fields".into());
        }
    }
    Ok(())
}

/// Is it, by its form, a cron expression? Nothing here runs it, and what an agent's own
/// scheduler takes is the agent's business.
fn has_five_fields(schedule: &str) -> bool {
    let field =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-?#".contains(c));
    let mut fields = schedule.split_whitespace();
    fields.by_ref().take(5).filter(|text| field(text)).count() == 5 && fields.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::has_five_fields;

    #[test]
    fn a_schedule_has_five_fields() {
        for good in ["* * * * *", "*/5 0-6,22 1 JAN mon-fri", "0 0 L * 5#3", " 0  0 ? * * "] {
            assert!(has_five_fields(good), "{good}");
        }
        for bad in ["", "* * * *", "* * * * * *", "@daily", "every 5 minutes", "a b c d é"] {
            assert!(!has_five_fields(bad), "{bad}");
        }
    }
}
