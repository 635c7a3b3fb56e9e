//! "My files": a client's library, and what of it is shared with which session.

mod agent;
mod content;
mod tus;

use super::{
    caller::{self, Caller},
    input::{self, Body, Params},
    once::Once,
    page,
};
use crate::{
    error::{Error, Kind, Result},
    files::{
        self,
        link::{self, Link, Right},
        tree::{self, Change, Where},
        uploads::{self, Said, Uploader},
        usage,
    },
    host::Host,
    id::{CompanyId, NodeId, SessionId},
    sessions::{self, Session},
    storage::Tx,
    work::library,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{delete, get, patch, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/files", get(list))
        .route("/files/usage", get(used))
        .route("/files/folders", post(make_folder))
        .route("/files/upload-url", post(begin))
        .route("/files/{node}", patch(change).delete(trash).get(show))
        .route("/files/{node}/restore", post(restore))
        .route("/files/{node}/download-url", get(download))
        .route("/files/{node}/complete-upload", post(complete))
        .route("/sessions/{session}/shared-files", post(share).get(shared))
        .route("/sessions/{session}/shared-files/{node}", delete(take_back))
        .route("/sessions/{session}/agent-folder", post(agent_folder))
        .merge(agent::routes())
        .merge(content::routes())
        .merge(tus::routes())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    parent_id: Option<String>,
    q: Option<String>,
    trashed: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// In the order in which they were made: a new one never appears on a page before.
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<Value>> {
    let page = page::Page::new(query.limit, query.cursor);
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

async fn used(State(host): State<Host>, Caller(caller): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    let used = usage::of(&mut tx, caller.company_id).await?;
    let quota = host.config.quota;
    Ok(Json(json!({
        "usedBytes": used.bytes, "quotaBytes": quota.company, "fileBytes": quota.file,
        "nodes": used.nodes, "quotaNodes": usage::NODES,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct New {
    name: String,
    parent_id: Option<NodeId>,
}

async fn make_folder(
    State(host): State<Host>,
    Caller(caller): Caller,
    once: Once,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = files::checked("/name", &new.name)?;
    let mut tx = host.db.write().await?;
    let company = caller.company_id;
    let made = tree::make_folder(&mut tx, &host.clock, company, new.parent_id, &name).await?;
    once.commit(tx, StatusCode::CREATED, json!(made)).await
}

async fn begin(
    State(host): State<Host>,
    Caller(caller): Caller,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<Json<Value>> {
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
    node: &files::Node,
    session: Option<SessionId>,
) -> Result<Value> {
    let until = host.clock.now() + link::LIFE;
    let link = Link { right: Right::Put, node: node.id, session, until };
    let token = link.token(&host.key);
    let key = uploads::object_key(&host.clock, node.company_id, node.id);
    let signed = if direct(host) { host.objects.put_link(&key, link::LIFE).await? } else { None };
    let url = match signed {
        Some(url) => {
            let mut tx = host.db.write().await?;
            uploads::send_direct(&mut tx, &host.clock, node.id, &key).await?;
            tx.commit().await?;
            url
        }
        None => format!("{}/f/u/{}?token={token}", origin(host, headers), node.id),
    };
    Ok(json!({
        "nodeId": node.id, "storagePath": node.storage_path, "signedUrl": url, "token": token,
        "expiresIn": link::LIFE.as_secs(),
    }))
}

/// Whether bytes go to the store and come from it without passing through here.
fn direct(host: &Host) -> bool {
    host.objects.signs() && !host.config.proxy_files
}

/// Where to fetch the bytes.
async fn download_link(
    host: &Host,
    headers: &HeaderMap,
    node: &files::Node,
    session: Option<SessionId>,
) -> Result<Value> {
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
    let url = signed.unwrap_or_else(|| {
        let until = host.clock.now() + link::LIFE;
        let link = Link { right: Right::Get, node: node.id, session, until };
        let token = link.token(&host.key);
        format!("{}/f/d/{}?token={token}", origin(host, headers), node.id)
    });
    Ok(json!({ "signedUrl": url, "expiresIn": link::LIFE.as_secs() }))
}

/// What links begin with: as the operator says, or as the caller knows this host.
fn origin(host: &Host, headers: &HeaderMap) -> String {
    match &host.config.files_url {
        Some(url) => url.clone(),
        None => caller::known_as(headers),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Complete {
    storage_path: Option<String>,
    file_size: u64,
    mime_type: String,
}

impl Complete {
    fn said(&self) -> Result<Said<'_>> {
        let mime_type = files::media_type("/mimeType", &self.mime_type)?;
        Ok(Said { storage_path: self.storage_path.as_deref(), size: self.file_size, mime_type })
    }
}

async fn complete(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(complete): Body<Complete>,
) -> Result<Json<Value>> {
    finish(&host, caller.company_id, Uploader::Client, &id, &complete).await
}

/// Completes an upload, whoever began it.
async fn finish(
    host: &Host,
    company: CompanyId,
    who: Uploader,
    id: &str,
    complete: &Complete,
) -> Result<Json<Value>> {
    let (id, said) = (input::id(id, "file")?, complete.said()?);
    library::take_over(host, company, who, id, said.size).await?;
    let mut tx = host.db.write().await?;
    let node = uploads::complete(&mut tx, &host.clock, company, who, id, &said).await?;
    tx.commit().await?;
    Ok(Json(json!(node)))
}

async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    let id = input::id(&id, "file or folder")?;
    Ok(Json(json!(tree::find(&mut tx, caller.company_id, id).await?)))
}

async fn download(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "file")?;
    if uploads::waits(&mut tx, caller.company_id, None, id).await? {
        return Err(uploads::unfinished());
    }
    let node = tree::find(&mut tx, caller.company_id, id).await?;
    drop(tx);
    Ok(Json(download_link(&host, &headers, &node, None).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Patch {
    #[serde(default, deserialize_with = "input::given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "input::nullable")]
    parent_id: Option<Option<NodeId>>,
}

async fn change(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Body(patch): Body<Patch>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "file or folder")?;
    let name = patch.name.map(|name| files::checked("/name", &name)).transpose()?;
    let change = Change { name, parent: patch.parent_id };
    let mut tx = host.db.write().await?;
    let node = tree::change(&mut tx, &host.clock, caller.company_id, id, change).await?;
    tx.commit().await?;
    Ok(Json(json!(node)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    permanent: Option<String>,
}

/// To the trash; from there, with `permanent=true`, for good.
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

async fn restore(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "file or folder")?;
    let mut tx = host.db.write().await?;
    let node = tree::restore(&mut tx, &host.clock, caller.company_id, id).await?;
    tx.commit().await?;
    Ok(Json(json!(node)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Share {
    node_id: NodeId,
}

async fn share(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(share): Body<Share>,
) -> Result<(StatusCode, Json<Value>)> {
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = running(&mut tx, id, caller.company_id).await?;
    let node = tree::find(&mut tx, caller.company_id, share.node_id).await?;
    files::grant(&mut tx, &host.clock, session.id, node.id).await?;
    once.commit(tx, StatusCode::CREATED, json!(node)).await
}

async fn shared(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<page::Page>,
) -> Result<Json<Value>> {
    let (limit, after) = (page.limit()?, page.cursor::<NodeId>()?);
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let found = files::granted(&mut tx, session.id, after, limit + 1).await?;
    Ok(page::answer(found, limit, |node| node.id.to_string(), |node| json!(node)))
}

async fn take_back(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path((id, node)): Path<(String, String)>,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let node = input::id(&node, "shared file")?;
    if !files::revoke(&mut tx, session.id, node).await? {
        return Err(Error::not_found("shared file"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A session of the company that is not over: nothing is shared with one that is.
async fn running(tx: &mut Tx, id: SessionId, company: CompanyId) -> Result<Session> {
    let session = sessions::owned_by(tx, id, company).await?;
    if session.over() {
        return Err(Error::conflict("session_ended", "the session is over"));
    }
    Ok(session)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentFolder {
    name: Option<String>,
}

async fn agent_folder(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<AgentFolder>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = new.name.map(|name| files::checked("/name", &name)).transpose()?;
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = running(&mut tx, id, caller.company_id).await?;
    // Told apart by the end of the session's id, as there may be many with one agent.
    let name = name.unwrap_or_else(|| files::agent::apart(&session.agent_name, session.id));
    let name = files::checked("/name", &name.replace('/', "-"))?;
    let (clock, company) = (&host.clock, caller.company_id);
    let made = files::agent_folder(&mut tx, clock, company, session.id, &name).await?;
    once.commit(tx, StatusCode::CREATED, json!(made)).await
}
