//! API keys: making, listing and deleting them. Only people who sign in do so.

use super::{
    caller::Oneself,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
};
use crate::{
    accounts::keys::{self, ApiKey, New, Scope},
    error::{Error, Result},
    host::Host,
    id::ApiKeyId,
    timestamp::Timestamp,
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
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(remove))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    /// One line.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// What it is good for.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// In the future; null for a key that is good until it is deleted.
    expires_at: Option<Timestamp>,
}

/// A key with its text.
#[derive(Serialize, ToSchema)]
struct CreatedKey {
    #[serde(flatten)]
    made: ApiKey,
    /// The text that a program sends as its bearer token. It is told this once.
    key: String,
}

/// Makes an API key for the user, good for what its scopes name.
///
/// Its text is told once. A user has at most 100 keys.
#[utoipa::path(
    post, path = "/api-keys", request_body = NewKey,
    responses((status = 201, body = CreatedKey), (status = 409, description = "too_many_keys")),
)]
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
    let (made, key) = keys::create(&mut tx, &host.clock, caller.user_id, new).await?;
    once.commit(tx, StatusCode::CREATED, json!(CreatedKey { made, key })).await
}

/// Lists API keys, newest first.
///
/// One's own; an admin sees those of everybody in the company.
#[utoipa::path(
    get, path = "/api-keys", params(Page), responses((status = 200, body = Listed<ApiKey>)),
)]
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

/// Deletes an API key, which is good for nothing from then on.
///
/// One's own; an admin deletes that of anybody in the company.
#[utoipa::path(delete, path = "/api-keys/{key}", responses((status = 204)))]
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
