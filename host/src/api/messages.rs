//! What clients say, and what was said.

use super::{
    caller::Caller,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
    rate,
};
use crate::{
    error::Result,
    host::Host,
    sessions::{
        self, MESSAGE_BYTES,
        log::{self, Entry, Message},
    },
    work,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(say, list))
}

/// What somebody says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// Not blank, at most 64 KiB.
    #[schema(min_length = 1, max_length = 65_536, examples("Please compare the two offers."))]
    #[schema(pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    pub(super) content: String,
}

/// Says something to the session's agent.
///
/// The message is stored, and its delivery promised, before this answers. The agent is sent
/// messages in their order, one at a time. A session takes 120 of them a minute, if the
/// operator has set nothing else, and 1000 may wait for the agent.
#[utoipa::path(
    post, path = "/sessions/{session}/messages", request_body = NewMessage,
    responses(
        (status = 201, body = Message),
        (status = 409, description = "session_ended, session_not_active"),
        (status = 413, description = "content_too_large"),
        (status = 429, description = "too_many_messages, session_queue_full"),
    ),
)]
async fn say(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>)> {
    let id = input::id(&id, "session")?;
    input::content(&new.content, MESSAGE_BYTES)?;
    rate::check(&host.pace.messages, &id, "too_many_messages", "messages into one session")?;
    let lease = host.lease();
    let mut tx = host.db.write().await?;
    let said =
        sessions::say(&mut tx, &host.clock, id, caller.company_id, &new.content, lease).await?;
    let answer = once.commit(tx, StatusCode::CREATED, said.entry.json()).await?;
    work::lane::told(&host, said, lease.claim);
    Ok(answer)
}

/// Lists what was said in a session, newest first.
///
/// A page ends before its `limit` when it has a mebibyte of text.
#[utoipa::path(
    get, path = "/sessions/{session}/messages", params(Page),
    responses((status = 200, body = Listed<Message>)),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let found = log::newest(&mut tx, session.id, "message", before, limit).await?;
    Ok(page::of(&found.entries, found.more, |entry| entry.seq.to_string(), Entry::json))
}
