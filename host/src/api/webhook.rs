//! A builder's side of an agent's webhook: its secret, and what became of what was sent.

use super::{
    caller::Builder,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
    receipts::parsed,
};
use crate::{
    catalog::{self, Template, endpoints, signing},
    delivery::{What, exchange::Exchange, webhook::new_secret},
    error::{Error, Kind, Result},
    host::Host,
    id::{AttemptId, BuilderId, EventId, SessionId},
    sessions::{
        MESSAGE_BYTES,
        attempts::{self, Attempt},
        lane,
    },
    storage::Tx,
    timestamp::Timestamp,
    work::{lane::health, outgoing},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(rotate))
        .routes(routes!(deliveries))
        .routes(routes!(webhook))
        .routes(routes!(enable))
        .routes(routes!(test_event))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RotatedSecret {
    #[schema(pattern = "^whsec_")]
    signing_secret: String,
    /// Until when the one before goes on signing.
    previous_expires_at: Timestamp,
}

/// Puts a new signing secret in force and answers it, this once. The one before goes on
/// signing beside it for 24 hours. At most ten that were replaced sign at once.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/webhook-secret/rotate",
    responses(
        (status = 200, body = RotatedSecret),
        (status = 409, description = "not_a_webhook"),
        (status = 429, description = "too_many_rotations"),
    ),
)]
async fn rotate(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    once: Once,
) -> Result<(StatusCode, Json<Value>)> {
    let mut tx = host.db.write().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let secret = new_secret(&host.clock);
    let sealed = host.key.seal(&host.clock, &signing::place(template.id), secret.as_bytes())?;
    let until = signing::rotate(&mut tx, &host.clock, template.id, sealed).await?;
    let answer = RotatedSecret { signing_secret: secret, previous_expires_at: until };
    once.commit(tx, StatusCode::OK, json!(answer)).await
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WebhookState {
    #[schema(required)]
    url: Option<String>,
    /// `ok`; `failing`; `open`, when most tries failed and events are held; `half_open`, when
    /// one is sent to see whether it is back; `disabled`.
    state: &'static str,
    #[schema(required)]
    failing_since: Option<Timestamp>,
    /// In a row.
    failures: i64,
    /// When one event is sent to see whether it is back.
    #[schema(required)]
    held_until: Option<Timestamp>,
    #[schema(required)]
    disabled_at: Option<Timestamp>,
    /// `gone`, when it answered 410; `failing`, when it failed for long.
    #[schema(required)]
    disabled_reason: Option<String>,
    /// Events that wait for it.
    waiting_events: i64,
}

/// Shows how the webhook does, and what waits for it.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/webhook",
    responses(
        (status = 200, body = WebhookState),
        (status = 409, description = "not_a_webhook"),
    ),
)]
async fn webhook(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<WebhookState>> {
    let mut tx = host.db.read().await?;
    let template = owned_webhook(&mut tx, &id, owner).await?;
    Ok(Json(state(&mut tx, &template).await?))
}

/// Says that the webhook is well again. What was held is sent, in order, with all its tries.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/webhook/enable",
    responses(
        (status = 200, body = WebhookState),
        (status = 409, description = "not_a_webhook"),
    ),
)]
async fn enable(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<WebhookState>> {
    let mut tx = host.db.write().await?;
    let template = owned_webhook(&mut tx, &id, owner).await?;
    lane::forgive(&mut tx, template.id).await?;
    endpoints::enable(&mut tx, &host.clock, template.id).await?;
    let answer = state(&mut tx, &template).await?;
    tx.commit().await?;
    host.windows.forget(template.id);
    health::bring_forward(&host, template.id).await?;
    health::tell(&host, template.id).await?;
    Ok(Json(answer))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TestEvent {
    /// `message` unless it is given.
    #[schema(pattern = "^(message|session_started|session_ended)$")]
    event: Option<String>,
    /// What the message says; for no other event.
    #[schema(max_length = 65_536, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    content: Option<String>,
}

/// Sends a made-up event to the webhook and waits for the answer. It is sent once, of a
/// session that does not exist, and counts for nothing. The try is on record, with the cause
/// `test`.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/test-event", request_body = TestEvent,
    responses(
        (status = 200, body = DeliveryAttempt),
        (status = 409, description = "no_webhook_url, not_a_webhook"),
        (status = 413, description = "content_too_large"),
        (status = 429, description = "webhook_busy"),
    ),
)]
async fn test_event(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Body(asked): Body<TestEvent>,
) -> Result<Json<DeliveryAttempt>> {
    let event = asked.event.as_deref().unwrap_or("message");
    if asked.content.is_some() && event != "message" {
        return Err(Error::field("/content", "is for the event message"));
    }
    let what = match event {
        "session_started" => What::Started,
        "session_ended" => What::Ended("client".into()),
        "message" => {
            let content = asked.content.unwrap_or_else(|| "This is a test.".into());
            input::content(&content, MESSAGE_BYTES)?;
            outgoing::made_up(&host, content)
        }
        _ => {
            let why = "must be message, session_started or session_ended";
            return Err(Error::field("/event", why));
        }
    };
    let template = {
        let mut tx = host.db.read().await?;
        owned_webhook(&mut tx, &id, owner).await?
    };
    let url = template.webhook_url.as_deref();
    let url = url.ok_or(Error::conflict("no_webhook_url", "webhookUrl is not set"))?;
    // One of the places that its sessions have.
    let place = host.queues.enter(template.id).await;
    let _place = place.ok_or_else(|| {
        Error::new(Kind::TooMany(1), "webhook_busy", "too many events wait for this webhook")
    })?;
    let attempt = outgoing::test_event(&host, template.id, url, what).await?;
    let mut tx = host.db.read().await?;
    Ok(Json(shown(attempts::find(&mut tx, template.id, attempt).await?)))
}

pub(super) async fn owned_webhook(tx: &mut Tx, id: &str, owner: BuilderId) -> Result<Template> {
    let template = catalog::owned_by(tx, input::id(id, "agent")?, owner).await?;
    if template.delivery != "webhook" {
        return Err(Error::conflict("not_a_webhook", "the agent is a component"));
    }
    Ok(template)
}

async fn state(tx: &mut Tx, template: &Template) -> Result<WebhookState> {
    let found = endpoints::find(tx, template.id).await?;
    let ailing = found.as_ref().filter(|found| found.recovered_at.is_none());
    Ok(WebhookState {
        url: template.webhook_url.clone(),
        state: found.as_ref().map_or("ok", endpoints::Endpoint::state),
        failing_since: ailing.map(|found| found.failing_since),
        failures: found.as_ref().map_or(0, |found| found.failures),
        held_until: found.as_ref().and_then(|found| found.held_until),
        disabled_at: found.as_ref().and_then(|found| found.disabled_at),
        disabled_reason: found.as_ref().and_then(|found| found.disabled_reason.clone()),
        waiting_events: lane::waiting(tx, template.id).await?,
    })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    /// Of this session only.
    #[param(value_type = Option<SessionId>)]
    session_id: Option<String>,
    /// Only those that ended so.
    #[param(pattern = "^(delivered|retrying|dead)$")]
    outcome: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// One try of sending an event, with what went over the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryAttempt {
    #[serde(flatten)]
    #[schema(value_type = Exchange)]
    exchange: Map<String, Value>,
    id: AttemptId,
    event_id: EventId,
    session_id: SessionId,
    /// `session_started`, `message`, `session_ended`.
    event: String,
    /// Counts the event's tries from one.
    attempt: i64,
    /// `lane`, when its turn had come; `replay`, when its builder asked for it again; `test`.
    cause: String,
    /// `delivered`; `retrying`, when there is a next try; `dead`, when it was the last.
    outcome: String,
    created_at: Timestamp,
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
}

/// Lists every try of sending an event to the agent, newest first.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/deliveries", params(Search),
    responses((status = 200, body = Listed<DeliveryAttempt>)),
)]
async fn deliveries(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let session = parsed("sessionId", search.session_id.as_deref(), "is not an id")?;
    let outcome = search.outcome.as_deref();
    if outcome.is_some_and(|outcome| !["delivered", "retrying", "dead"].contains(&outcome)) {
        return Err(Error::field("outcome", "must be delivered, retrying or dead"));
    }
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<AttemptId>()?);
    let mut tx = host.db.read().await?;
    let agent = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?.id;
    let found = attempts::list(&mut tx, agent, session, outcome, before, limit + 1).await?;
    let show = |attempt: &Attempt| json!(shown(attempt.clone()));
    Ok(page::answer(found, limit, |attempt| attempt.id.to_string(), show))
}

fn shown(attempt: Attempt) -> DeliveryAttempt {
    let exchange = match attempt.exchange {
        Value::Object(exchange) => exchange,
        _ => Map::new(),
    };
    DeliveryAttempt {
        exchange,
        id: attempt.id,
        event_id: attempt.event_id,
        session_id: attempt.session_id,
        event: attempt.event,
        attempt: attempt.attempt,
        cause: attempt.cause,
        outcome: attempt.outcome,
        created_at: attempt.created_at,
        next_attempt_at: attempt.next_attempt_at,
    }
}
