//! What the platform has to tell a user: read in pages, or followed live.

mod stream;

use super::{
    caller::Caller,
    input::{self, Params},
    page::{self, Listed, Page},
    receipts::parsed,
};
use crate::{
    error::Result,
    host::Host,
    notifications::{self, Notification},
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(stream::follow)).routes(routes!(read))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Only those that the user has not read yet.
    #[param(value_type = Option<bool>)]
    unread: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists what the platform has told the user, newest first.
///
/// The newest 1000 are kept; what was read is deleted after a while.
#[utoipa::path(
    get, path = "/notifications", params(Search),
    responses((status = 200, body = Listed<Notification>)),
)]
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

/// Marks a notification as read.
///
/// Reading twice changes nothing and answers the same notification.
#[utoipa::path(
    post, path = "/notifications/{notification}/read",
    responses((status = 200, body = Notification)),
)]
async fn read(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Notification>> {
    let id = input::id(&id, "notification")?;
    let mut tx = host.db.write().await?;
    let told = notifications::read(&mut tx, &host.clock, caller.user_id, id).await?;
    tx.commit().await?;
    Ok(Json(told))
}
