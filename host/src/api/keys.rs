//! API keys: making, listing and deleting them. Only people who sign in do so.

use super::{
    caller::Oneself,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
};
use crate::{
    accounts::keys::{self, New, Scope},
    error::{Error, Result},
    host::Host,
    id::ApiKeyId,
    timestamp::Timestamp,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/api-keys", get(list).post(create))
        .route("/api-keys/{key}", delete(remove))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Timestamp>,
}

async fn create(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    once: Once,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = input::name("/name", &new.name)?;
    let mut scopes = new.scopes;
    scopes.sort_by_key(|scope| *scope as u8);
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Error::field("/scopes", "must name at least one"));
    }
    if new.expires_at.is_some_and(|expires| expires <= host.clock.now()) {
        return Err(Error::field("/expiresAt", "is not in the future"));
    }
    let new = New { name, scopes, expires_at: new.expires_at };
    let mut tx = host.db.write().await?;
    let (key, text) = keys::create(&mut tx, &host.clock, caller.user_id, new).await?;
    let mut shown = json!(key);
    shown["key"] = text.into();
    once.commit(tx, StatusCode::CREATED, shown).await
}

/// One's own; an admin sees those of everybody in the company.
async fn list(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<ApiKeyId>()?);
    let own = (!caller.is_admin()).then_some(caller.user_id);
    let mut tx = host.db.look().await?;
    let found = keys::list(&mut tx, caller.company_id, own, before, limit + 1).await?;
    Ok(page::answer(found, limit, |key| key.id.to_string(), |key| json!(key)))
}

async fn remove(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = input::id(&id, "API key")?;
    let own = (!caller.is_admin()).then_some(caller.user_id);
    let mut tx = host.db.write().await?;
    keys::delete(&mut tx, caller.company_id, own, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
