//! Documents and secrets that a client hands to a session, and its agent reads.

use super::{
    caller::{Agent, Caller},
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
};
use crate::{
    error::{Error, Kind as Problem, Result},
    files,
    host::Host,
    id::ItemId,
    sessions::{
        self,
        shared::{self, DOCUMENT_BYTES, Item, Kind, NewItem, Reader, SECRET_BYTES},
    },
    work::lane::announce,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(share, list))
        .routes(routes!(take_back))
        .routes(routes!(read))
}

/// A document or a secret for a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSharedItem {
    /// `document`, `secret`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(document|secret)$")]
    kind: String,
    /// That of a secret must not begin with `aiybiz.`.
    #[schema(value_type = files::NodeName)]
    name: String,
    /// At most 64 KiB of a document, 16 KiB of a secret.
    #[schema(min_length = 1, max_length = 65_536, pattern = "^[^\\x00]+$")]
    content: Option<String>,
    /// What some call the content of a secret. One of the two is there.
    #[schema(min_length = 1, max_length = 16_384, pattern = "^[^\\x00]+$")]
    value: Option<String>,
}

/// Hands a document or a secret to a session.
///
/// Both are encrypted where they lie. What a secret is, only the session's agent reads, and it
/// is forgotten when the session ends. A session has at most 50 of these, and one secret of a
/// name; what is larger is a file.
#[utoipa::path(
    post, path = "/sessions/{session}/shared-items", request_body = NewSharedItem,
    responses(
        (status = 201, body = Item),
        (
            status = 409,
            description = "session_ended, too_many_shared_items, shared_item_exists",
        ),
        (status = 413, description = "content_too_large"),
    ),
)]
async fn share(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(share): Body<NewSharedItem>,
) -> Result<(StatusCode, Json<Value>)> {
    let place = (input::id(&id, "session")?, caller.company_id);
    let new = looked_at(share)?;
    let mut tx = host.db.write().await?;
    let (item, entry) = shared::add(&mut tx, &host.clock, &host.key, place, new).await?;
    let answer = once.commit(tx, StatusCode::CREATED, json!(item)).await?;
    announce(&host, &entry);
    Ok(answer)
}

fn looked_at(share: NewSharedItem) -> Result<NewItem> {
    let NewSharedItem { kind, name, content, value } = share;
    let kind = match kind.as_str() {
        "document" => Kind::Document,
        "secret" => Kind::Secret,
        _ => return Err(Error::field("/type", "must be document or secret")),
    };
    let name = files::checked("/name", &name)?;
    let (pointer, most) = match kind {
        Kind::Secret if name.starts_with("aiybiz.") => {
            let why = "must not begin with aiybiz., which is the platform's";
            return Err(Error::field("/name", why));
        }
        Kind::Secret if content.is_none() => ("/value", SECRET_BYTES),
        Kind::Secret => ("/content", SECRET_BYTES),
        Kind::Document => ("/content", DOCUMENT_BYTES),
    };
    let content = match (content, value) {
        (Some(_), Some(_)) => return Err(Error::field("/value", "goes without content")),
        (None, Some(_)) if kind == Kind::Document => {
            return Err(Error::field("/value", "is for a secret; a document has content"));
        }
        (None, None) => return Err(Error::field("/content", "is missing")),
        (content, value) => content.or(value).unwrap_or_default(),
    };
    if content.is_empty() || content.contains('\0') {
        return Err(Error::field(pointer, "must not be empty nor contain NUL"));
    }
    if content.len() > most {
        let mut error =
            Error::field(pointer, format!("has {} bytes, at most {most}", content.len()));
        (error.kind, error.code) = (Problem::TooLarge, "content_too_large");
        return Err(error);
    }
    Ok(NewItem { kind, name, content })
}

/// Lists what a session was handed, newest first.
///
/// What secrets are is not shown.
#[utoipa::path(
    get, path = "/sessions/{session}/shared-items", params(Page),
    responses((status = 200, body = Listed<Item>)),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<ItemId>()?);
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?.id;
    let (key, reader) = (&host.key, Reader::Client);
    let found = shared::list(&mut tx, key, session, reader, before, limit + 1).await?;
    Ok(page::answer(found, limit, |item| item.id.to_string(), |item| json!(item)))
}

/// Takes back what a session was handed.
///
/// The agent finds it no more; what it has read it may remember.
#[utoipa::path(
    delete, path = "/sessions/{session}/shared-items/{item}",
    responses((status = 204), (status = 409, description = "session_ended")),
)]
async fn take_back(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path((id, item)): Path<(String, String)>,
) -> Result<StatusCode> {
    let place = (input::id(&id, "session")?, caller.company_id);
    let mut tx = host.db.write().await?;
    let item = input::id(&item, "shared item")?;
    let entry = shared::remove(&mut tx, &host.clock, place, item).await?;
    tx.commit().await?;
    announce(&host, &entry);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists what the agent's session was handed, newest first, with what is in it.
///
/// The agent sees what is in everything, in secrets too.
#[utoipa::path(
    get, path = "/agent/sessions/{session}/shared-items", params(Page),
    responses((status = 200, body = Listed<Item>)),
)]
async fn read(
    State(host): State<Host>,
    Agent(session): Agent,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<ItemId>()?);
    let mut tx = host.db.look().await?;
    let (key, reader) = (&host.key, Reader::Agent);
    let found = shared::list(&mut tx, key, session.id, reader, before, limit + 1).await?;
    Ok(page::answer(found, limit, |item| item.id.to_string(), |item| json!(item)))
}
