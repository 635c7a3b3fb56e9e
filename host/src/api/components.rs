//! Versions of components: reading about them and choosing the active one. How they
//! are uploaded is in `uploads`.

use super::{
    caller::Builder,
    input::{self, Body, Params},
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
    id::BuilderId,
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
        .route("/builder/agents/{agent}/components/{version}", get(show).patch(change))
        .route("/builder/agents/{agent}/components/{version}/activate", post(activate))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    warm: bool,
}

/// All that can be changed of a version: whether its instances may be kept.
async fn change(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
    Body(change): Body<Change>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let version = input::id(&version, "version")?;
    let version = components::set_warm(&mut tx, template.id, version, change.warm).await?;
    tx.commit().await?;
    Ok(Json(shown(&version, template.active_version)))
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

/// The builder's agent, if it is one that runs components.
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
        "warm": version.warm,
        "createdAt": version.created_at,
        "active": active == Some(version.version),
    });
    if let (Some(all), Value::Object(report)) = (all.as_object_mut(), json!(version.report)) {
        all.extend(report);
    }
    all
}
