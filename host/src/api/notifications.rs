//! What the platform has to tell a user: read in pages, or followed live.

mod stream;

use super::{
    caller::Caller,
    input::{self, Params},
    page::{self, Page},
    receipts::parsed,
};
use crate::{error::Result, host::Host, notifications};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/notifications", get(list))
        .route("/notifications/stream", get(stream::follow))
        .route("/notifications/{notification}/read", post(read))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    unread: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let unread = parsed("unread", search.unread.as_deref(), "must be true or false")?;
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let (user, unread) = (caller.user_id, unread.unwrap_or(false));
    let mut tx = host.db.look().await?;
    let found = notifications::list(&mut tx, user, unread, before, limit + 1).await?;
    Ok(page::answer(found, limit, |told| told.seq.to_string(), |told| json!(told)))
}

/// Reading twice changes nothing and answers the same notification.
async fn read(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "notification")?;
    let mut tx = host.db.write().await?;
    let told = notifications::read(&mut tx, &host.clock, caller.user_id, id).await?;
    tx.commit().await?;
    Ok(Json(json!(told)))
}
