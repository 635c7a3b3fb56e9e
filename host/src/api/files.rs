//! "My files": a client's library, and what of it is shared with which session.

mod agent;
mod content;
mod shared;
mod tus;

use super::{
    caller::{self, Caller},
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
};
use crate::{
    error::{Error, Kind, Result},
    files::{
        self, Node,
        link::{self, Link, Right},
        tree::{self, Change, Where},
        uploads::{self, Said, Uploader},
        usage,
    },
    host::Host,
    id::{CompanyId, NodeId, SessionId},
    work::library,
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(used))
        .routes(routes!(make_folder))
        .routes(routes!(begin))
        .routes(routes!(change, trash, show))
        .routes(routes!(restore))
        .routes(routes!(download))
        .routes(routes!(complete))
        .merge(shared::routes())
        .merge(agent::routes())
        .merge(content::routes())
        .merge(tus::routes())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    /// What lies in this folder; without it, at the root.
    #[param(value_type = Option<NodeId>)]
    parent_id: Option<String>,
    /// What has this in its name, wherever it lies: goes without `parentId` and `trashed`.
    #[param(max_length = 255)]
    q: Option<String>,
    /// What was deleted, without what lay in it.
    #[param(value_type = Option<bool>)]
    trashed: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists a folder, the trash, or what has a name.
///
/// In the order in which they were made: a new one never appears on a page before.
#[utoipa::path(
    get, path = "/files", params(ListQuery),
    responses((status = 200, body = Listed<Node>), (status = 404, description = "not_found")),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>> {
    let page = Page::new(query.limit, query.cursor);
    let (limit, after) = (page.limit()?, page.cursor::<NodeId>()?);
    let trashed = match query.trashed.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::field("trashed", "must be true or false")),
    };
    let mut tx = host.db.read().await?;
    let place = match (&query.q, trashed) {
        (Some(_), true) => return Err(Error::field("q", "goes without trashed")),
        (Some(_), _) if query.parent_id.is_some() => {
            return Err(Error::field("q", "searches everywhere: it goes without parentId"));
        }
        (Some(q), false) if q.len() > files::NAME_BYTES => {
            let detail = format!("has {} bytes, at most {}", q.len(), files::NAME_BYTES);
            return Err(Error::field("q", detail));
        }
        (Some(q), false) => Where::Named(q),
        (None, true) => Where::Trash,
        (None, false) => {
            let parent =
                query.parent_id.as_deref().map(|id| input::id(id, "folder")).transpose()?;
            if let Some(parent) = parent {
                tree::find(&mut tx, caller.company_id, parent).await?;
            }
            Where::In(parent)
        }
    };
    let found = tree::list(&mut tx, caller.company_id, place, after, limit + 1).await?;
    Ok(page::answer(found, limit, |node| node.id.to_string(), |node| json!(node)))
}

/// What a library has, and what it may have.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LibraryUsage {
    /// With what is in the trash, and uploads that are not completed.
    used_bytes: i64,
    quota_bytes: u64,
    /// The most that one file may have.
    file_bytes: u64,
    /// Files and folders.
    nodes: i64,
    quota_nodes: i64,
}

/// Shows how much of the library's space is used.
#[utoipa::path(get, path = "/files/usage", responses((status = 200, body = LibraryUsage)))]
async fn used(State(host): State<Host>, Caller(caller): Caller) -> Result<Json<LibraryUsage>> {
    let mut tx = host.db.look().await?;
    let used = usage::of(&mut tx, caller.company_id).await?;
    let quota = host.config.quota;
    Ok(Json(LibraryUsage {
        used_bytes: used.bytes,
        quota_bytes: quota.company,
        file_bytes: quota.file,
        nodes: used.nodes,
        quota_nodes: usage::NODES,
    }))
}

/// A file or folder to be.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewNode {
    #[schema(value_type = files::NodeName)]
    name: String,
    /// The folder to put it into; without it, the root, or for an agent the first folder of its
    /// session.
    parent_id: Option<NodeId>,
}

/// Makes a folder.
///
/// In a session's folder it is that session's, too: its agent may write into it. Names are
/// unique in a folder whatever their case, and folders lie at most 32 deep.
#[utoipa::path(
    post, path = "/files/folders", request_body = NewNode,
    responses(
        (status = 201, body = Node),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_taken, too_deep"),
        (status = 413, description = "too_many_nodes"),
    ),
)]
async fn make_folder(
    State(host): State<Host>,
    Caller(caller): Caller,
    once: Once,
    Body(new): Body<NewNode>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = files::checked("/name", &new.name)?;
    let mut tx = host.db.write().await?;
    let company = caller.company_id;
    let made = tree::make_folder(&mut tx, &host.clock, company, new.parent_id, &name).await?;
    once.commit(tx, StatusCode::CREATED, json!(made)).await
}

/// Where to send the bytes of an upload.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UploadLink {
    /// The file that it will be.
    node_id: NodeId,
    /// To be said again when the upload is completed.
    storage_path: Option<String>,
    /// PUT the bytes here, with no header besides.
    signed_url: String,
    token: String,
    /// Seconds.
    expires_in: u64,
}

/// Where to fetch the bytes of a file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DownloadLink {
    signed_url: String,
    /// Seconds.
    expires_in: u64,
}

/// Begins the upload of a file: answers where to PUT its bytes.
///
/// Then complete it. Until that is done nobody sees the file, and after two hours the upload
/// expires. Up to 100 may be under way at a time. For large files there is `POST /files/tus`.
#[utoipa::path(
    post, path = "/files/upload-url", request_body = NewNode,
    responses(
        (status = 200, body = UploadLink),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_taken, too_deep"),
        (status = 413, description = "too_many_nodes"),
        (status = 429, description = "too_many_uploads"),
    ),
)]
async fn begin(
    State(host): State<Host>,
    Caller(caller): Caller,
    headers: HeaderMap,
    Body(new): Body<NewNode>,
) -> Result<Json<UploadLink>> {
    let name = files::checked("/name", &new.name)?;
    let mut tx = host.db.write().await?;
    let (company, who) = (caller.company_id, Uploader::Client);
    let node = uploads::begin(&mut tx, &host.clock, company, who, new.parent_id, &name).await?;
    tx.commit().await?;
    Ok(Json(upload_link(&host, &headers, &node, None).await?))
}

/// Where to send the bytes, as SDKs know it: to the store itself, if it can be told who may.
async fn upload_link(
    host: &Host,
    headers: &HeaderMap,
    node: &Node,
    session: Option<SessionId>,
) -> Result<UploadLink> {
    let until = host.clock.now() + link::LIFE;
    let link = Link { right: Right::Put, node: node.id, session, until };
    let token = link.token(&host.key);
    let key = uploads::object_key(&host.clock, node.company_id, node.id);
    let signed = if direct(host) { host.objects.put_link(&key, link::LIFE).await? } else { None };
    let signed_url = match signed {
        Some(url) => {
            let mut tx = host.db.write().await?;
            uploads::send_direct(&mut tx, &host.clock, node.id, &key).await?;
            tx.commit().await?;
            url
        }
        None => format!("{}/f/u/{}?token={token}", origin(host, headers), node.id),
    };
    let (node_id, storage_path) = (node.id, node.storage_path.clone());
    Ok(UploadLink { node_id, storage_path, signed_url, token, expires_in: link::LIFE.as_secs() })
}

/// Whether bytes go to the store and come from it without passing through here.
fn direct(host: &Host) -> bool {
    host.objects.signs() && !host.config.proxy_files
}

/// Where to fetch the bytes.
async fn download_link(
    host: &Host,
    headers: &HeaderMap,
    node: &Node,
    session: Option<SessionId>,
) -> Result<DownloadLink> {
    if node.kind != "file" {
        let detail = "a folder has no content to download";
        return Err(Error::new(Kind::Invalid, "not_a_file", detail));
    }
    let signed = if direct(host) {
        let (key, kind) = (node.key().unwrap_or_default(), node.mime_type.as_deref());
        let disposition = files::disposition(&node.name);
        let kind = kind.unwrap_or("application/octet-stream");
        host.objects.get_link(key, link::LIFE, kind, &disposition).await?
    } else {
        None
    };
    let signed_url = signed.unwrap_or_else(|| {
        let until = host.clock.now() + link::LIFE;
        let link = Link { right: Right::Get, node: node.id, session, until };
        let token = link.token(&host.key);
        format!("{}/f/d/{}?token={token}", origin(host, headers), node.id)
    });
    Ok(DownloadLink { signed_url, expires_in: link::LIFE.as_secs() })
}

/// What links begin with: as the operator says, or as the caller knows this host.
fn origin(host: &Host, headers: &HeaderMap) -> String {
    match &host.config.files_url {
        Some(url) => url.clone(),
        None => caller::known_as(headers),
    }
}

/// What was uploaded, as the uploader knows it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompletedUpload {
    /// As it was answered when the upload began.
    storage_path: Option<String>,
    /// How many bytes were sent.
    file_size: u64,
    #[schema(max_length = 255, examples("application/pdf"))]
    #[schema(pattern = "^\\s*[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\\s*(;.*)?$")]
    mime_type: String,
}

impl CompletedUpload {
    fn said(&self) -> Result<Said<'_>> {
        let mime_type = files::media_type("/mimeType", &self.mime_type)?;
        Ok(Said { storage_path: self.storage_path.as_deref(), size: self.file_size, mime_type })
    }
}

/// Completes an upload: the file is in the library from now on.
///
/// The size must be that of the bytes that were sent; when it differs nothing is lost, and the
/// call may come again. Said twice, it answers the same file.
#[utoipa::path(
    post, path = "/files/{node}/complete-upload", request_body = CompletedUpload,
    responses(
        (status = 200, body = Node),
        (
            status = 409,
            description = "no_bytes, name_taken, already_completed, upload_unfinished",
        ),
        (status = 410, description = "upload_over"),
        (status = 413, description = "quota_exceeded"),
        (status = 422, description = "size_mismatch"),
    ),
)]
async fn complete(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(complete): Body<CompletedUpload>,
) -> Result<Json<Node>> {
    finish(&host, caller.company_id, Uploader::Client, &id, &complete).await
}

/// Completes an upload, whoever began it.
async fn finish(
    host: &Host,
    company: CompanyId,
    who: Uploader,
    id: &str,
    complete: &CompletedUpload,
) -> Result<Json<Node>> {
    let (id, said) = (input::id(id, "file")?, complete.said()?);
    library::take_over(host, company, who, id, said.size).await?;
    let mut tx = host.db.write().await?;
    let node = uploads::complete(&mut tx, &host.clock, company, who, id, &said).await?;
    tx.commit().await?;
    Ok(Json(node))
}

/// Shows a file or folder that is completed and not in the trash.
#[utoipa::path(get, path = "/files/{node}", responses((status = 200, body = Node)))]
async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Node>> {
    let mut tx = host.db.look().await?;
    let id = input::id(&id, "file or folder")?;
    Ok(Json(tree::find(&mut tx, caller.company_id, id).await?))
}

/// Gives a link to fetch a file by, good for an hour.
#[utoipa::path(
    get, path = "/files/{node}/download-url",
    responses(
        (status = 200, body = DownloadLink),
        (status = 400, description = "not_a_file"),
        (status = 409, description = "upload_unfinished"),
    ),
)]
async fn download(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<DownloadLink>> {
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "file")?;
    if uploads::waits(&mut tx, caller.company_id, None, id).await? {
        return Err(uploads::unfinished());
    }
    let node = tree::find(&mut tx, caller.company_id, id).await?;
    drop(tx);
    Ok(Json(download_link(&host, &headers, &node, None).await?))
}

/// What is to be changed of a file or folder.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NodeChange {
    #[serde(default, deserialize_with = "input::given")]
    #[schema(value_type = Option<files::NodeName>, nullable = false)]
    name: Option<String>,
    /// The folder to move it into; null is the root.
    #[serde(default, deserialize_with = "input::nullable")]
    #[schema(value_type = Option<NodeId>)]
    parent_id: Option<Option<NodeId>>,
}

/// Renames a file or folder, moves it, or both.
///
/// What a session may see follows from where things lie now.
#[utoipa::path(
    patch, path = "/files/{node}", request_body = NodeChange,
    responses(
        (status = 200, body = Node),
        (status = 409, description = "name_taken, too_deep, folder_in_itself"),
    ),
)]
async fn change(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(patch): Body<NodeChange>,
) -> Result<Json<Node>> {
    let id = input::id(&id, "file or folder")?;
    let name = patch.name.map(|name| files::checked("/name", &name)).transpose()?;
    let change = Change { name, parent: patch.parent_id };
    let mut tx = host.db.write().await?;
    let node = tree::change(&mut tx, &host.clock, caller.company_id, id, change).await?;
    tx.commit().await?;
    Ok(Json(node))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// Deletes for good what is in the trash.
    #[param(value_type = Option<bool>)]
    permanent: Option<String>,
}

/// Deletes a file or folder: to the trash, or from there for good.
///
/// A folder goes with all that is below it. The trash keeps things for 30 days; they count
/// until then. With `permanent=true` what is in the trash is gone at once.
#[utoipa::path(delete, path = "/files/{node}", params(Delete), responses((status = 204)))]
async fn trash(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(delete): Params<Delete>,
) -> Result<StatusCode> {
    let id = input::id(&id, "file or folder")?;
    let company = caller.company_id;
    let mut tx = host.db.write().await?;
    match delete.permanent.as_deref() {
        None | Some("false") => tree::trash(&mut tx, &host.clock, company, id).await?,
        Some("true") => tree::purge(&mut tx, host.clock.now(), company, id).await?,
        Some(_) => return Err(Error::field("permanent", "must be true or false")),
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Brings a file or folder back from the trash, with all that was deleted with it.
///
/// It comes to where it was, or to the root when that is gone.
#[utoipa::path(
    post, path = "/files/{node}/restore",
    responses((status = 200, body = Node), (status = 409, description = "name_taken")),
)]
async fn restore(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Node>> {
    let id = input::id(&id, "file or folder")?;
    let mut tx = host.db.write().await?;
    let node = tree::restore(&mut tx, &host.clock, caller.company_id, id).await?;
    tx.commit().await?;
    Ok(Json(node))
}
