//! What a client and the builder behind the agent say to each other, past the agent.

use super::{
    caller::{Builder, Caller},
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
};
use crate::{
    error::Result,
    host::Host,
    sessions::{
        MESSAGE_BYTES,
        direct::{self, Side},
        log::Entry,
    },
    work::lane::announce,
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
    Router::new()
        .route("/sessions/{session}/direct-messages", post(client_says).get(client_reads))
        .route("/builder/sessions/{session}/direct-messages", post(builder_says).get(builder_reads))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    content: String,
}

async fn client_says(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>)> {
    say(&host, &once, Side::Client(caller.company_id), &id, &new.content).await
}

async fn builder_says(
    State(host): State<Host>,
    Builder(builder): Builder,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewMessage>,
) -> Result<(StatusCode, Json<Value>)> {
    say(&host, &once, Side::Builder(builder), &id, &new.content).await
}

async fn client_reads(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    list(&host, Side::Client(caller.company_id), &id, &page).await
}

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
