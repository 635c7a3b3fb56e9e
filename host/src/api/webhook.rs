//! A builder's side of an agent's webhook: its secret, and what became of what was sent.

use super::{
    caller::Builder,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
    receipts::parsed,
};
use crate::{
    catalog::{self, Template, endpoints, signing},
    delivery::{What, webhook::new_secret},
    error::{Error, Kind, Result},
    host::Host,
    id::{AttemptId, BuilderId},
    sessions::{
        MESSAGE_BYTES,
        attempts::{self, Attempt},
        lane,
    },
    storage::Tx,
    work::{lane::health, outgoing},
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
        .route("/builder/agents/{agent}/webhook-secret/rotate", post(rotate))
        .route("/builder/agents/{agent}/deliveries", get(deliveries))
        .route("/builder/agents/{agent}/webhook", get(webhook))
        .route("/builder/agents/{agent}/webhook/enable", post(enable))
        .route("/builder/agents/{agent}/test-event", post(test_event))
}

/// Answers the new secret, this once. The one before goes on signing until the time that
/// is told.
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
    let answer = json!({ "signingSecret": secret, "previousExpiresAt": until });
    once.commit(tx, StatusCode::OK, answer).await
}

/// How it does, and what waits for it.
async fn webhook(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = owned_webhook(&mut tx, &id, owner).await?;
    Ok(Json(state(&mut tx, &template).await?))
}

/// It is well again, says its builder: what was held is sent, in order, with all its
/// tries.
async fn enable(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TestEvent {
    event: Option<String>,
    content: Option<String>,
}

/// Sends a made-up event and waits for the answer.
async fn test_event(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Body(asked): Body<TestEvent>,
) -> Result<Json<Value>> {
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
    Ok(Json(shown(&attempts::find(&mut tx, template.id, attempt).await?)))
}

pub(super) async fn owned_webhook(tx: &mut Tx, id: &str, owner: BuilderId) -> Result<Template> {
    let template = catalog::owned_by(tx, input::id(id, "agent")?, owner).await?;
    if template.delivery != "webhook" {
        return Err(Error::conflict("not_a_webhook", "the agent is a component"));
    }
    Ok(template)
}

async fn state(tx: &mut Tx, template: &Template) -> Result<Value> {
    let found = endpoints::find(tx, template.id).await?;
    let ailing = found.as_ref().filter(|found| found.recovered_at.is_none());
    Ok(json!({
        "url": template.webhook_url,
        "state": found.as_ref().map_or("ok", endpoints::Endpoint::state),
        "failingSince": ailing.map(|found| found.failing_since),
        "failures": found.as_ref().map_or(0, |found| found.failures),
        "heldUntil": found.as_ref().and_then(|found| found.held_until),
        "disabledAt": found.as_ref().and_then(|found| found.disabled_at),
        "disabledReason": found.as_ref().and_then(|found| found.disabled_reason.clone()),
        "waitingEvents": lane::waiting(tx, template.id).await?,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    session_id: Option<String>,
    outcome: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Every try, newest first.
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
    Ok(page::answer(found, limit, |attempt| attempt.id.to_string(), shown))
}

fn shown(attempt: &Attempt) -> Value {
    let mut all = attempt.exchange.clone();
    all["id"] = json!(attempt.id);
    all["eventId"] = json!(attempt.event_id);
    all["sessionId"] = json!(attempt.session_id);
    all["event"] = json!(attempt.event);
    all["attempt"] = json!(attempt.attempt);
    all["cause"] = json!(attempt.cause);
    all["outcome"] = json!(attempt.outcome);
    all["createdAt"] = json!(attempt.created_at);
    all["nextAttemptAt"] = json!(attempt.next_attempt_at);
    all
}
