//! A builder's side of an agent's webhook: its secret, and what became of what was sent.

use super::{
    caller::Builder,
    input::{self, Params},
    page::{self, Page},
    receipts::parsed,
};
use crate::{
    catalog::{self, signing},
    delivery::webhook::new_secret,
    error::{Error, Result},
    host::Host,
    id::AttemptId,
    sessions::attempts::{self, Attempt},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents/{agent}/webhook-secret/rotate", post(rotate))
        .route("/builder/agents/{agent}/deliveries", get(deliveries))
}

/// Answers the new secret, this once. The one before goes on signing until the time that
/// is told.
async fn rotate(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let secret = new_secret(&host.clock);
    let sealed = host.key.seal(&host.clock, &signing::place(template.id), secret.as_bytes())?;
    let until = signing::rotate(&mut tx, &host.clock, template.id, sealed).await?;
    tx.commit().await?;
    Ok(Json(json!({ "signingSecret": secret, "previousExpiresAt": until })))
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
    all["outcome"] = json!(attempt.outcome);
    all["createdAt"] = json!(attempt.created_at);
    all["nextAttemptAt"] = json!(attempt.next_attempt_at);
    all
}
