//! Opening, listing and ending sessions.

use super::{
    caller::Caller,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
};
use crate::{
    catalog::{self, endpoints},
    error::{Error, Result},
    host::Host,
    id::{AgentId, SessionId},
    sessions::{self, Opening, log::Entry, tickets},
    work,
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
        .route("/sessions", post(open).get(list))
        .route("/sessions/{session}", get(show))
        .route("/sessions/{session}/end", post(end))
        .route("/sessions/{session}/cancel", post(cancel))
        .route("/sessions/{session}/stream-ticket", post(ticket))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSession {
    agent_id: String,
    keep_instance: Option<bool>,
}

async fn open(
    State(host): State<Host>,
    Caller(caller): Caller,
    once: Once,
    Body(new): Body<NewSession>,
) -> Result<(StatusCode, Json<Value>)> {
    let id = new.agent_id.parse::<AgentId>();
    let id = id.map_err(|_| Error::field("/agentId", "is not an id"))?;
    let mut tx = host.db.write().await?;
    let template = catalog::find(&mut tx, id).await?.ok_or(Error::not_found("agent"))?;
    // A draft can be tried by its owner, when there is something to try.
    let own = caller.builder_id == Some(template.builder_id);
    if !own && !template.is_offered() {
        return Err(Error::not_found("agent"));
    }
    if template.suspended_at.is_some() {
        let detail = "an operator of the platform has suspended this agent";
        return Err(Error::conflict("agent_suspended", detail));
    }
    if let Some(blocker) = template.cannot_run().first() {
        return Err(Error::conflict(blocker.code(), "the agent is not ready to run"));
    }
    let webhook = endpoints::find(&mut tx, template.id).await?;
    if webhook.is_some_and(|webhook| webhook.disabled_at.is_some()) {
        let detail = "the agent's server has been failing for long; its builder has been told";
        return Err(Error::conflict("agent_offline", detail));
    }
    let draft = template.status != "active";
    if new.keep_instance.is_some() && !draft {
        return Err(Error::field("/keepInstance", "is for test sessions on a draft"));
    }
    // What a component only seems to remember is found before anybody rents it.
    let fresh = draft && !new.keep_instance.unwrap_or(false);
    let lease = host.lease();
    let opening = Opening {
        company: caller.company_id,
        member: caller.member_id,
        lease,
        free: draft,
        fresh,
        least_cents: host.config.money.session_least_cents,
    };
    let opened = sessions::open(&mut tx, &host.clock, &template, opening).await?;
    let (session, told) = opened;
    let answer = once.commit(tx, StatusCode::CREATED, json!(session)).await?;
    work::lane::told(&host, told, lease.claim);
    Ok(answer)
}

async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<SessionId>()?);
    let mut tx = host.db.read().await?;
    let found = sessions::list(&mut tx, caller.company_id, before, limit + 1).await?;
    Ok(page::answer(found, limit, |session| session.id.to_string(), |session| json!(session)))
}

async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    Ok(Json(json!(sessions::owned_by(&mut tx, id, caller.company_id).await?)))
}

/// Ending twice changes nothing and answers the same session.
async fn end(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "session")?;
    let mut tx = host.db.write().await?;
    sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let lease = host.lease();
    let told = sessions::end(&mut tx, &host.clock, id, "client", lease).await?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    tx.commit().await?;
    if let Some(told) = told {
        work::lane::told(&host, told, lease.claim);
    }
    Ok(Json(json!(session)))
}

/// Breaks off what the agent is at. What it has said stays; `cancelled` is false when it
/// was at nothing.
async fn cancel(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id: SessionId = input::id(&id, "session")?;
    let mut tx = host.db.write().await?;
    let cancelled = sessions::cancel::ask(&mut tx, &host.clock, id, caller.company_id).await?;
    tx.commit().await?;
    for entry in &cancelled.replies {
        work::lane::announce(&host, entry);
        host.bus.written(id, entry.id);
    }
    if cancelled.event.is_some() {
        host.breaks.tell(id);
        host.due.notify_one();
    }
    let replies: Vec<_> = cancelled.replies.iter().map(Entry::json).collect();
    let any = cancelled.event.is_some() || !replies.is_empty();
    Ok(Json(json!({ "cancelled": any, "eventId": cancelled.event, "messages": replies })))
}

async fn ticket(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>)> {
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let ticket = tickets::issue(&mut tx, &host.clock, session.id, caller.via.id()).await?;
    tx.commit().await?;
    let body = json!({ "ticket": ticket, "expiresIn": tickets::LIFE.as_secs() });
    Ok((StatusCode::CREATED, Json(body)))
}
