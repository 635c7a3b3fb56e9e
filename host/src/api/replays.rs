//! A builder asks for events again: one, or all that died in a span of time.

use super::{
    caller::Builder,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
    webhook::owned_webhook,
};
use crate::{
    error::{Error, Result},
    host::Host,
    id::{AttemptId, ReplayId, SessionId},
    sessions::{
        attempts,
        replays::{self, Range},
    },
    timestamp::Timestamp,
    work::lane,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents/{agent}/deliveries/{delivery}/replay", post(one))
        .route("/builder/agents/{agent}/replays", post(begin).get(list))
        .route("/builder/agents/{agent}/replays/{replay}", get(show))
        .route("/builder/agents/{agent}/replays/{replay}/cancel", post(cancel))
}

/// Puts the event of a try back into its lane.
async fn one(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((agent, id)): Path<(String, String)>,
    once: Once,
) -> Result<(StatusCode, Json<Value>)> {
    let id: AttemptId = input::id(&id, "delivery")?;
    let mut tx = host.db.write().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    let attempt = attempts::find(&mut tx, agent, id).await?;
    if attempt.cause == "test" {
        let detail = "this was a test; send another one with POST …/test-event";
        return Err(Error::conflict("test_event", detail));
    }
    let (session, event) = (attempt.session_id, attempt.event_id);
    let lease = host.lease();
    let drives = replays::again(&mut tx, &host.clock, session, event, lease).await?;
    let answer = json!({ "eventId": event, "sessionId": session, "status": "queued" });
    let answer = once.commit(tx, StatusCode::ACCEPTED, answer).await?;
    if drives {
        lane::drive(&host, session, lease.claim, None);
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewReplay {
    since: String,
    until: Option<String>,
    session_id: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// All that died in a span of time; `dryRun` only says how many tries that are.
async fn begin(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(agent): Path<String>,
    once: Once,
    Body(new): Body<NewReplay>,
) -> Result<(StatusCode, Json<Value>)> {
    let now = host.clock.now();
    let since = time("/since", &new.since)?;
    let until = new.until.as_deref().map(|text| time("/until", text)).transpose()?;
    let until = until.unwrap_or(now).min(now);
    if since >= until {
        return Err(Error::field("/since", "must be before until, and in the past"));
    }
    let session = new.session_id.as_deref().map(str::parse::<SessionId>).transpose();
    let session = session.map_err(|_| Error::field("/sessionId", "is not an id"))?;
    let range = Range { session, since, until };
    let mut tx = host.db.write().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    if new.dry_run {
        let total = replays::count(&mut tx, agent, range).await?;
        return Ok((StatusCode::OK, Json(json!({ "dryRun": true, "total": total }))));
    }
    let replay = replays::begin(&mut tx, &host.clock, agent, range).await?;
    once.commit(tx, StatusCode::ACCEPTED, json!(replay)).await
}

fn time(pointer: &str, text: &str) -> Result<Timestamp> {
    text.parse().map_err(|_| Error::field(pointer, "is not a time such as 2026-01-31T12:00:00Z"))
}

async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(agent): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<ReplayId>()?);
    let mut tx = host.db.read().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    let found = replays::list(&mut tx, agent, before, limit + 1).await?;
    Ok(page::answer(found, limit, |replay| replay.id.to_string(), |replay| json!(replay)))
}

async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((agent, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    Ok(Json(json!(replays::find(&mut tx, agent, input::id(&id, "replay")?).await?)))
}

/// Stops it where it is.
async fn cancel(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((agent, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    let replay = replays::find(&mut tx, agent, input::id(&id, "replay")?).await?;
    replays::cancel(&mut tx, &host.clock, replay.id).await?;
    let replay = replays::find(&mut tx, agent, replay.id).await?;
    tx.commit().await?;
    Ok(Json(json!(replay)))
}
