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
        cron::{self, JOBS, Job},
    },
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Of a name, a title and a schedule, in characters: more than the published SDK sends.
const SHORT: usize = 500;

/// Of a description and a prompt, in bytes.
const LONG_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/agent/sessions/{session}/cron-jobs", put(replace))
        .route("/sessions/{session}/cron-jobs", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    jobs: Vec<Job>,
}

async fn replace(
    State(host): State<Host>,
    Agent(session): Agent,
    Body(Replacement { jobs }): Body<Replacement>,
) -> Result<Json<Value>> {
    looked_at(&jobs)?;
    let mut tx = host.db.write().await?;
    cron::replace(&mut tx, &host.clock, session.id, &jobs).await?;
    tx.commit().await?;
    Ok(Json(json!({ "jobs": rows(&jobs) })))
}

async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "session")?;
    let mut tx = host.db.read().await?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?.id;
    let found = cron::list(&mut tx, session).await?;
    Ok(Json(match found {
        Some(found) => json!({ "jobs": rows(&found.jobs), "updatedAt": found.updated_at }),
        None => json!({ "jobs": [], "updatedAt": null }),
    }))
}

fn rows(jobs: &[Job]) -> Vec<Value> {
    jobs.iter().map(Job::row).collect()
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
