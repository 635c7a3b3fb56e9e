//! A builder asks for events again: one, or all that died in a span of time.

use super::{
    caller::Builder,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
    webhook::owned_webhook,
};
use crate::{
    error::{Error, Result},
    host::Host,
    id::{AttemptId, EventId, ReplayId, SessionId},
    sessions::{
        attempts,
        replays::{self, Range, Replay},
    },
    timestamp::Timestamp,
    work::lane,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(one))
        .routes(routes!(begin, list))
        .routes(routes!(show))
        .routes(routes!(cancel))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReplayedEvent {
    event_id: EventId,
    session_id: SessionId,
    /// `queued`.
    status: &'static str,
}

/// Sends the event of a try again. It goes back into its session's lane, before all that
/// came later, and keeps its id, so that a receiver that has seen it knows.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/deliveries/{delivery}/replay",
    responses(
        (status = 202, body = ReplayedEvent),
        (status = 409, description = "delivery_running, not_a_webhook, session_ended, test_event"),
        (status = 429, description = "session_queue_full"),
    ),
)]
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
    let answer = ReplayedEvent { event_id: event, session_id: session, status: "queued" };
    let answer = once.commit(tx, StatusCode::ACCEPTED, json!(answer)).await?;
    if drives {
        lane::drive(&host, session, lease.claim, None);
    }
    Ok(answer)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewReplay {
    /// Included; in the past.
    #[schema(value_type = Timestamp)]
    since: String,
    /// Not included; now unless it is given.
    #[schema(value_type = Option<Timestamp>)]
    until: Option<String>,
    /// Of this session only.
    #[schema(value_type = Option<SessionId>)]
    session_id: Option<String>,
    /// Only says how many tries that are.
    #[serde(default)]
    dry_run: bool,
}

/// How much would be sent again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DryRun {
    dry_run: bool,
    /// Tries with which an event died.
    total: i64,
}

/// Sends all events again that died in a span of time. That goes on behind the answer; at
/// most five of an agent go on at a time. With `dryRun` nothing is sent, and the answer says
/// how many tries that are.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/replays", request_body = NewReplay,
    responses(
        (status = 200, body = DryRun),
        (status = 202, body = Replay),
        (status = 409, description = "not_a_webhook, too_many_replays"),
    ),
)]
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
        return Ok((StatusCode::OK, Json(json!(DryRun { dry_run: true, total }))));
    }
    let replay = replays::begin(&mut tx, &host.clock, agent, range).await?;
    once.commit(tx, StatusCode::ACCEPTED, json!(replay)).await
}

fn time(pointer: &str, text: &str) -> Result<Timestamp> {
    text.parse().map_err(|_| Error::field(pointer, "is not a time such as 2026-01-31T12:00:00Z"))
}

/// Lists the spans of time that were sent again, newest first.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/replays", params(Page),
    responses(
        (status = 200, body = Listed<Replay>),
        (status = 409, description = "not_a_webhook"),
    ),
)]
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

/// Shows how far a span of time has come.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/replays/{replay}",
    responses(
        (status = 200, body = Replay),
        (status = 409, description = "not_a_webhook"),
    ),
)]
async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((agent, id)): Path<(String, String)>,
) -> Result<Json<Replay>> {
    let mut tx = host.db.read().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    Ok(Json(replays::find(&mut tx, agent, input::id(&id, "replay")?).await?))
}

/// Stops sending a span of time again. What was put back into its lane by then is sent; a
/// second time changes nothing.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/replays/{replay}/cancel",
    responses(
        (status = 200, body = Replay),
        (status = 409, description = "not_a_webhook"),
    ),
)]
async fn cancel(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((agent, id)): Path<(String, String)>,
) -> Result<Json<Replay>> {
    let mut tx = host.db.write().await?;
    let agent = owned_webhook(&mut tx, &agent, owner).await?.id;
    let replay = replays::find(&mut tx, agent, input::id(&id, "replay")?).await?;
    replays::cancel(&mut tx, &host.clock, replay.id).await?;
    let replay = replays::find(&mut tx, agent, replay.id).await?;
    tx.commit().await?;
    Ok(Json(replay))
}
