//! Opening, listing and ending sessions.

use super::{
    caller::Caller,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
};
use crate::{
    catalog::{self, endpoints},
    error::{Error, Result},
    host::Host,
    id::{AgentId, EventId, SessionId},
    sessions::{
        self, Opening, Session,
        log::{Entry, Message},
        tickets,
    },
    work,
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
        .routes(routes!(open, list))
        .routes(routes!(show))
        .routes(routes!(end))
        .routes(routes!(cancel))
        .routes(routes!(ticket))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSession {
    #[schema(value_type = AgentId)]
    agent_id: String,
    /// For test sessions on a draft: may an instance of its component be kept between events,
    /// as it may be for those who rent it? Otherwise each event has a fresh one.
    keep_instance: Option<bool>,
}

/// Opens a session with an agent.
///
/// It is `provisioning` until the agent is ready, and billed from then on. A wallet must
/// cover one hour, which is held; a subscription must have a seat left. A builder can try a
/// draft of his own for nothing.
#[utoipa::path(
    post, path = "/sessions", request_body = NewSession,
    responses(
        (status = 201, body = Session),
        (status = 402, description = "insufficient_funds, wallet_frozen, no_subscription"),
        (status = 404, description = "not_found"),
        (
            status = 409,
            description = "agent_suspended, agent_offline, agent_full, no_webhook_url, \
                no_active_component",
        ),
        (status = 429, description = "plan_limit"),
    ),
)]
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

/// Lists the company's sessions, newest first.
#[utoipa::path(
    get, path = "/sessions", params(Page), responses((status = 200, body = Listed<Session>)),
)]
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

/// Shows a session of the company.
#[utoipa::path(get, path = "/sessions/{session}", responses((status = 200, body = Session)))]
async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Session>> {
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    Ok(Json(sessions::owned_by(&mut tx, id, caller.company_id).await?))
}

/// Ends a session.
///
/// What waits for the agent is dropped, the session's secrets are forgotten, and what it cost
/// is settled. Ending twice changes nothing and answers the same session.
#[utoipa::path(post, path = "/sessions/{session}/end", responses((status = 200, body = Session)))]
async fn end(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Session>> {
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
    Ok(Json(session))
}

/// What was broken off.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BrokenOff {
    /// False when the agent was at nothing.
    cancelled: bool,
    /// The message that the agent was at.
    event_id: Option<EventId>,
    /// Replies that were being written, as far as they had come.
    #[schema(value_type = Vec<Message>)]
    messages: Vec<Value>,
}

/// Breaks off what the agent is at.
///
/// What it has said stays; `cancelled` is false when it was at nothing.
#[utoipa::path(
    post, path = "/sessions/{session}/cancel",
    responses(
        (status = 200, body = BrokenOff),
        (status = 409, description = "session_ended, session_not_active"),
    ),
)]
async fn cancel(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<BrokenOff>> {
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
    let messages: Vec<_> = cancelled.replies.iter().map(Entry::json).collect();
    let any = cancelled.event.is_some() || !messages.is_empty();
    Ok(Json(BrokenOff { cancelled: any, event_id: cancelled.event, messages }))
}

/// What opens one stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StreamTicket {
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

/// Gives a ticket for the session's event stream.
///
/// It is for browsers, whose EventSource can send no header: it goes into the URL as
/// `ticket`, and is good for one stream that is opened within a minute.
#[utoipa::path(
    post, path = "/sessions/{session}/stream-ticket",
    responses((status = 201, body = StreamTicket)),
)]
async fn ticket(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<StreamTicket>)> {
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let ticket = tickets::issue(&mut tx, &host.clock, session.id, caller.via.id()).await?;
    tx.commit().await?;
    let body = StreamTicket { ticket, expires_in: tickets::LIFE.as_secs() };
    Ok((StatusCode::CREATED, Json(body)))
}
