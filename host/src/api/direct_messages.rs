//! What a client and the builder behind the agent say to each other, past the agent.

use super::{
    caller::{Builder, Caller},
    input::{self, Body, Params},
    messages::NewMessage,
    once::Once,
    page::{self, Listed, Page},
};
use crate::{
    error::Result,
    host::Host,
    sessions::{
        MESSAGE_BYTES,
        direct::{self, DirectMessage, Side},
        log::Entry,
    },
    work::lane::announce,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(client_says, client_reads))
        .routes(routes!(builder_says, builder_reads))
}

/// Says something to the builder behind the session's agent.
///
/// The agent does not hear of it. There is nobody to talk to behind an agent of the
/// platform's own: then this is 404.
#[utoipa::path(
    post, path = "/sessions/{session}/direct-messages", request_body = NewMessage,
    responses(
        (status = 201, body = DirectMessage),
        (status = 409, description = "session_ended"),
        (status = 413, description = "content_too_large"),
    ),
)]
async fn client_says(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>)> {
    say(&host, &once, Side::Client(caller.company_id), &id, &new.content).await
}

/// Says something to the client of a session with the builder's agent.
///
/// The agent does not hear of it.
#[utoipa::path(
    post, path = "/builder/sessions/{session}/direct-messages", request_body = NewMessage,
    responses(
        (status = 201, body = DirectMessage),
        (status = 409, description = "session_ended"),
        (status = 413, description = "content_too_large"),
    ),
)]
async fn builder_says(
    State(host): State<Host>,
    Builder(builder): Builder,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>)> {
    say(&host, &once, Side::Builder(builder), &id, &new.content).await
}

/// Lists what the client and the builder behind the agent have said to each other, newest
/// first.
#[utoipa::path(
    get, path = "/sessions/{session}/direct-messages", params(Page),
    responses((status = 200, body = Listed<DirectMessage>)),
)]
async fn client_reads(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    list(&host, Side::Client(caller.company_id), &id, &page).await
}

/// Lists what the builder and the client of a session have said to each other, newest first.
#[utoipa::path(
    get, path = "/builder/sessions/{session}/direct-messages", params(Page),
    responses((status = 200, body = Listed<DirectMessage>)),
)]
async fn builder_reads(
    State(host): State<Host>,
    Builder(builder): Builder,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    list(&host, Side::Builder(builder), &id, &page).await
}

async fn say(
    host: &Host,
    once: &Once,
    side: Side,
    id: &str,
    content: &str,
) -> Result<(StatusCode, Json<Value>)> {
    let id = input::id(id, "session")?;
    input::content(content, MESSAGE_BYTES)?;
    let mut tx = host.db.write().await?;
    let entry = direct::say(&mut tx, &host.clock, id, side, content).await?;
    let answer = once.commit(tx, StatusCode::CREATED, entry.json()).await?;
    announce(host, &entry);
    Ok(answer)
}

async fn list(host: &Host, side: Side, id: &str, page: &Page) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.read().await?;
    let session = direct::session(&mut tx, input::id(id, "session")?, side).await?;
    let found = direct::newest(&mut tx, session.id, before, limit).await?;
    Ok(page::of(&found.entries, found.more, |entry| entry.seq.to_string(), Entry::json))
}
