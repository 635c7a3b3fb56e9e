//! Versions of components: reading about them, choosing the active one, and reading
//! what came of the events they handled. How they are uploaded is in `uploads`.

use super::{
    caller::Builder,
    input::{self, Params},
    page::{self, Page},
    uploads,
};
use crate::{
    catalog::{
        self, Template,
        components::{self, Version},
    },
    error::{Error, Result},
    host::Host,
    id::{BuilderId, InvocationId, SessionId},
    sessions::receipts::{self, Invocation},
    storage::Tx,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    // The handler bounds the body by `componentBytes`.
    let uploads = post(uploads::upload).layer(DefaultBodyLimit::disable()).get(list);
    Router::new()
        .route("/builder/agents/{agent}/components", uploads)
        .route("/builder/agents/{agent}/components/{version}", get(show))
        .route("/builder/agents/{agent}/components/{version}/activate", post(activate))
        .route("/builder/agents/{agent}/invocations", get(invocations))
        .route("/builder/agents/{agent}/logs", get(logs))
}

async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.read().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let found = components::list(&mut tx, template.id, before, limit + 1).await?;
    let show = |version: &Version| shown(version, template.active_version);
    Ok(page::answer(found, limit, |version| version.version.to_string(), show))
}

async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let found = components::find(&mut tx, template.id, input::id(&version, "version")?).await?;
    Ok(Json(shown(&found.ok_or(Error::not_found("version"))?, template.active_version)))
}

async fn activate(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let (version, now) = (input::id(&version, "version")?, host.clock.now());
    let version = components::activate(&mut tx, template.id, version, now).await?;
    tx.commit().await?;
    Ok(Json(shown(&version, Some(version.version))))
}

pub(super) async fn component_agent(tx: &mut Tx, id: &str, owner: BuilderId) -> Result<Template> {
    let template = catalog::owned_by(tx, input::id(id, "agent")?, owner).await?;
    if template.delivery != "component" {
        return Err(Error::conflict("not_a_component_agent", "this agent is a webhook"));
    }
    Ok(template)
}

pub(super) fn shown(version: &Version, active: Option<i64>) -> Value {
    let mut all = json!({
        "version": version.version,
        "sha256": version.sha256,
        "sizeBytes": version.size_bytes,
        "state": version.state,
        "createdAt": version.created_at,
        "active": active == Some(version.version),
    });
    if let (Some(all), Value::Object(report)) = (all.as_object_mut(), json!(version.report)) {
        all.extend(report);
    }
    all
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    session_id: Option<String>,
    level: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn invocations(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(filter): Params<Filter>,
) -> Result<Json<Value>> {
    if filter.level.is_some() {
        return Err(Error::field("level", "is a filter of logs"));
    }
    let (found, limit) = find(&host, owner, &id, filter).await?;
    Ok(page::answer(found, limit, |invocation| invocation.id.to_string(), invocation))
}

/// The entries of the newest events, newest event first, each event's in order.
async fn logs(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(mut filter): Params<Filter>,
) -> Result<Json<Value>> {
    let level = filter.level.take();
    let (mut found, limit) = find(&host, owner, &id, filter).await?;
    let more = found.len() as i64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|invocation| invocation.id);
    let entries = found.iter().flat_map(|invocation| {
        let log = invocation.log.as_array().cloned().unwrap_or_default();
        log.into_iter().map(move |mut entry| {
            entry["sessionId"] = json!(invocation.session_id);
            entry["eventId"] = json!(invocation.event_id);
            entry["createdAt"] = json!(invocation.created_at);
            entry
        })
    });
    let entries =
        entries.filter(|entry| level.is_none() || entry["level"].as_str() == level.as_deref());
    let data: Vec<_> = entries.collect();
    Ok(Json(json!({ "data": data, "nextCursor": next })))
}

async fn find(
    host: &Host,
    owner: BuilderId,
    id: &str,
    filter: Filter,
) -> Result<(Vec<Invocation>, i64)> {
    let session = filter.session_id.as_deref().map(str::parse::<SessionId>).transpose();
    let session = session.map_err(|_| Error::field("sessionId", "is not an id"))?;
    let page = Page::new(filter.limit, filter.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<InvocationId>()?);
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(id, "agent")?, owner).await?;
    let found = receipts::list(&mut tx, template.id, session, before, limit + 1).await?;
    Ok((found, limit))
}

fn invocation(invocation: &Invocation) -> Value {
    let mut all = json!({
        "id": invocation.id,
        "eventId": invocation.event_id,
        "sessionId": invocation.session_id,
        "log": invocation.log,
        "createdAt": invocation.created_at,
    });
    if let (Some(all), Some(receipt)) = (all.as_object_mut(), invocation.receipt.as_object()) {
        all.extend(receipt.clone());
    }
    all
}
