//! The library as a session's agent calls it: four calls, as the published
//! documentation has them.

use super::{Complete, New, download_link, finish, upload_link};
use crate::{
    api::{
        caller::Agent,
        input::{self, Body},
    },
    error::{Error, Result},
    files::{
        self,
        uploads::{self, Uploader},
    },
    host::Host,
    sessions::Session,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::{get, post},
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/agent/sessions/{session}/files", get(list))
        .route("/agent/sessions/{session}/files/upload-url", post(begin))
        .route("/agent/sessions/{session}/files/{node}/download-url", get(download))
        .route("/agent/sessions/{session}/files/{node}/complete-upload", post(complete))
}

/// Files are for a session that runs.
fn active(session: &Session) -> Result<()> {
    if session.status == "active" {
        return Ok(());
    }
    Err(Error::conflict("session_not_active", "the session is not active yet"))
}

/// A bare list, as it always was.
async fn list(State(host): State<Host>, Agent(session): Agent) -> Result<Json<Value>> {
    active(&session)?;
    let mut tx = host.db.read().await?;
    Ok(Json(json!(files::agent::visible(&mut tx, session.id).await?)))
}

async fn download(
    State(host): State<Host>,
    Agent(session): Agent,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>> {
    active(&session)?;
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "file")?;
    if uploads::waits(&mut tx, session.company_id, Some(session.id), id).await? {
        return Err(uploads::unfinished());
    }
    let node = files::agent::seen(&mut tx, session.id, id).await?;
    let node = node.ok_or(Error::not_found("file"))?;
    drop(tx);
    Ok(Json(download_link(&host, &headers, &node, Some(session.id)).await?))
}

async fn begin(
    State(host): State<Host>,
    Agent(session): Agent,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<Json<Value>> {
    active(&session)?;
    let name = files::checked("/name", &new.name)?;
    let mut tx = host.db.write().await?;
    let (company, who) = (session.company_id, Uploader::Agent(session.id));
    let node = uploads::begin(&mut tx, &host.clock, company, who, new.parent_id, &name).await?;
    tx.commit().await?;
    Ok(Json(upload_link(&host, &headers, &node, Some(session.id)).await?))
}

async fn complete(
    State(host): State<Host>,
    Agent(session): Agent,
    Path((_, id)): Path<(String, String)>,
    Body(complete): Body<Complete>,
) -> Result<Json<Value>> {
    active(&session)?;
    let who = Uploader::Agent(session.id);
    finish(&host, session.company_id, who, &id, &complete).await
}
