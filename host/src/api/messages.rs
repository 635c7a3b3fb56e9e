//! What clients say, and what was said.

use super::{
    caller::Caller,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
    rate,
};
use crate::{
    error::Result,
    host::Host,
    sessions::{self, MESSAGE_BYTES, log, log::Entry},
    work,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use serde_json::Value;

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/sessions/{session}/messages", post(say).get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    content: String,
}

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
