//! What of a client's library is shared with which session: what its agent may read, and the
//! folder that it may write.

use crate::{
    api::{
        caller::Caller,
        input::{self, Body, Params},
        once::Once,
        page::{self, Listed, Page},
    },
    error::{Error, Result},
    files::{self, Node, tree},
    host::Host,
    id::{CompanyId, NodeId, SessionId},
    sessions::{self, Session},
    storage::Tx,
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
        .routes(routes!(agent_folder))
}

/// A file or folder to be shared.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSharedFile {
    node_id: NodeId,
}

/// Shares a file or folder with a session: its agent may read it.
///
/// Of a folder it may read all that is below it, also what comes later. Sharing twice changes
/// nothing.
#[utoipa::path(
    post, path = "/sessions/{session}/shared-files", request_body = NewSharedFile,
    responses((status = 201, body = Node), (status = 409, description = "session_ended")),
)]
async fn share(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(share): Body<NewSharedFile>,
) -> Result<(StatusCode, Json<Value>)> {
    let mut tx = host.db.write().await?;
    let id = input::id(&id, "session")?;
    let session = running(&mut tx, id, caller.company_id).await?;
    let node = tree::find(&mut tx, caller.company_id, share.node_id).await?;
    files::grant(&mut tx, &host.clock, session.id, node.id).await?;
    once.commit(tx, StatusCode::CREATED, json!(node)).await
}

/// Lists what was shared with a session, in the order in which it was made.
///
/// What lies in a shared folder is not listed with it.
#[utoipa::path(
    get, path = "/sessions/{session}/shared-files", params(Page),
    responses((status = 200, body = Listed<Node>)),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, after) = (page.limit()?, page.cursor::<NodeId>()?);
    let mut tx = host.db.read().await?;
    let id = input::id(&id, "session")?;
    let session = sessions::owned_by(&mut tx, id, caller.company_id).await?;
    let found = files::granted(&mut tx, session.id, after, limit + 1).await?;
    Ok(page::answer(found, limit, |node| node.id.to_string(), |node| json!(node)))
}

/// Takes back a file or folder that was shared with a session.
///
/// Links to it that the agent has are dead at once.
#[utoipa::path(
    delete, path = "/sessions/{session}/shared-files/{node}", responses((status = 204)),
)]
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

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgentFolder {
    /// Without it, the agent's name and the end of the session's id.
    #[schema(value_type = Option<files::NodeName>)]
    name: Option<String>,
}

/// Makes the folder that a session's agent may write into.
///
/// It lies at the root of the library. It can be made before the agent is ready.
#[utoipa::path(
    post, path = "/sessions/{session}/agent-folder", request_body = NewAgentFolder,
    responses(
        (status = 201, body = Node),
        (status = 409, description = "session_ended, name_taken"),
    ),
)]
async fn agent_folder(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewAgentFolder>,
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
