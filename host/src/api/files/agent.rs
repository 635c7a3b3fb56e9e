//! The library as a session's agent calls it: four calls, as the published
//! documentation has them.

use super::{
    CompletedUpload, DownloadLink, NewNode, UploadLink, download_link, finish, upload_link,
};
use crate::{
    api::{
        caller::Agent,
        input::{self, Body},
    },
    error::{Error, Result},
    files::{
        self, Node,
        uploads::{self, Uploader},
    },
    host::Host,
    sessions::Session,
};
use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(begin))
        .routes(routes!(download))
        .routes(routes!(complete))
}

/// Files are for a session that runs.
fn active(session: &Session) -> Result<()> {
    if session.status == "active" {
        return Ok(());
    }
    Err(Error::conflict("session_not_active", "the session is not active yet"))
}

/// Lists all files and folders that the agent's session may see.
///
/// These are what the client has shared, with all that is below it, and what is in the
/// session's own folders. It is a bare list, as it always was, of 10000 at most.
#[utoipa::path(
    get, path = "/agent/sessions/{session}/files",
    responses(
        (status = 200, body = Vec<Node>),
        (status = 409, description = "session_not_active"),
    ),
)]
async fn list(State(host): State<Host>, Agent(session): Agent) -> Result<Json<Vec<Node>>> {
    active(&session)?;
    let mut tx = host.db.read().await?;
    Ok(Json(files::agent::visible(&mut tx, session.id).await?))
}

/// Gives a link to fetch a file by that the session may see, good for an hour.
///
/// It opens for as long as the session lasts and may see the file.
#[utoipa::path(
    get, path = "/agent/sessions/{session}/files/{node}/download-url",
    responses(
        (status = 200, body = DownloadLink),
        (status = 400, description = "not_a_file"),
        (status = 404, description = "not_found"),
        (status = 409, description = "session_not_active, upload_unfinished"),
    ),
)]
async fn download(
    State(host): State<Host>,
    Agent(session): Agent,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<DownloadLink>> {
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

/// Begins the upload of a file into the session's own folder: answers where to PUT its bytes.
///
/// Then complete it. Until that is done nobody sees the file, and after two hours the upload
/// expires. Without a folder of the session's own, which the client makes, this is 404; a
/// folder that it may only read is 403.
#[utoipa::path(
    post, path = "/agent/sessions/{session}/files/upload-url", request_body = NewNode,
    responses(
        (status = 200, body = UploadLink),
        (status = 403, description = "not_writable"),
        (status = 404, description = "not_found, no_agent_folder"),
        (status = 409, description = "session_not_active, name_taken, too_deep"),
        (status = 413, description = "too_many_nodes"),
        (status = 429, description = "too_many_uploads"),
    ),
)]
async fn begin(
    State(host): State<Host>,
    Agent(session): Agent,
    headers: HeaderMap,
    Body(new): Body<NewNode>,
) -> Result<Json<UploadLink>> {
    active(&session)?;
    let name = files::checked("/name", &new.name)?;
    let mut tx = host.db.write().await?;
    let (company, who) = (session.company_id, Uploader::Agent(session.id));
    let node = uploads::begin(&mut tx, &host.clock, company, who, new.parent_id, &name).await?;
    tx.commit().await?;
    Ok(Json(upload_link(&host, &headers, &node, Some(session.id)).await?))
}

/// Completes an upload of the agent: the file is in the library from now on.
///
/// The size must be that of the bytes that were sent; when it differs nothing is lost, and the
/// call may come again. Said twice, it answers the same file.
#[utoipa::path(
    post, path = "/agent/sessions/{session}/files/{node}/complete-upload",
    request_body = CompletedUpload,
    responses(
        (status = 200, body = Node),
        (status = 404, description = "not_found"),
        (
            status = 409,
            description = "session_not_active, no_bytes, name_taken, already_completed",
        ),
        (status = 410, description = "upload_over"),
        (status = 413, description = "quota_exceeded"),
        (status = 422, description = "size_mismatch"),
    ),
)]
async fn complete(
    State(host): State<Host>,
    Agent(session): Agent,
    Path((_, id)): Path<(String, String)>,
    Body(complete): Body<CompletedUpload>,
) -> Result<Json<Node>> {
    active(&session)?;
    let who = Uploader::Agent(session.id);
    finish(&host, session.company_id, who, &id, &complete).await
}
