//! Documents and secrets that a client hands to a session, and its agent reads.

use super::{
    caller::{Agent, Caller},
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
};
use crate::{
    error::{Error, Kind as Problem, Result},
    files,
    host::Host,
    id::ItemId,
    sessions::{
        self,
        shared::{self, DOCUMENT_BYTES, Kind, NewItem, Reader, SECRET_BYTES},
    },
    work::lane::announce,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/sessions/{session}/shared-items", post(share).get(list))
        .route("/sessions/{session}/shared-items/{item}", delete(take_back))
        .route("/agent/sessions/{session}/shared-items", get(read))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: Option<String>,
    /// What some call the content of a secret.
    value: Option<String>,
}

async fn share(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(share): Body<Share>,
) -> Result<(StatusCode, Json<Value>)> {
    let place = (input::id(&id, "session")?, caller.company_id);
    let new = looked_at(share)?;
    let mut tx = host.db.write().await?;
    let (item, entry) = shared::add(&mut tx, &host.clock, &host.key, place, new).await?;
    let answer = once.commit(tx, StatusCode::CREATED, json!(item)).await?;
    announce(&host, &entry);
    Ok(answer)
}

fn looked_at(share: Share) -> Result<NewItem> {
    let Share { kind, name, content, value } = share;
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

/// The agent sees what is in everything.
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
