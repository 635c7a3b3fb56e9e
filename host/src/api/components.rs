//! Versions of components: reading about them and choosing the active one. How they
//! are uploaded is in `uploads`.

use super::{
    caller::Builder,
    etag::{Seen, Tagged, tagged},
    input::{self, Body, Params},
    page::{self, Listed, Page},
    uploads,
};
use crate::{
    catalog::{
        self, Template,
        components::{self, Report, Version},
    },
    error::{Error, Result},
    host::Host,
    id::BuilderId,
    storage::Tx,
    timestamp::Timestamp,
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

pub(super) fn routes() -> OpenApiRouter<Host> {
    // The handler bounds the body by `componentBytes`.
    OpenApiRouter::new()
        .routes(routes!(uploads::upload).layer(DefaultBodyLimit::disable()))
        .routes(routes!(list))
        .routes(routes!(show, change))
        .routes(routes!(activate))
}

/// A version of a component, with what was found out about it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ComponentVersion {
    /// Counts the agent's uploads from one.
    version: i64,
    /// Of what was uploaded, in lower-case hexadecimal.
    sha256: String,
    size_bytes: i64,
    /// `queued`, `compiling`, `ready`, `refused`.
    state: String,
    /// Its instances may be kept between the events of a session.
    warm: bool,
    created_at: Timestamp,
    /// New events go to it.
    active: bool,
    #[serde(flatten)]
    report: Report,
}

/// Lists the versions of an agent's component, newest first, also those that were refused.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/components", params(Page),
    responses(
        (status = 200, body = Listed<ComponentVersion>),
        (status = 409, description = "not_a_component_agent"),
    ),
)]
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
    let show = |version: &Version| json!(shown(version.clone(), template.active_version));
    Ok(page::answer(found, limit, |version| version.version.to_string(), show))
}

/// Shows a version.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/components/{version}",
    responses(
        (status = 200, body = ComponentVersion, headers(("ETag" = String))),
        (status = 409, description = "not_a_component_agent"),
    ),
)]
async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Tagged<ComponentVersion>> {
    let mut tx = host.db.read().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let found = components::find(&mut tx, template.id, input::id(&version, "version")?).await?;
    tagged(shown(found.ok_or(Error::not_found("version"))?, template.active_version))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VersionChange {
    /// Its instances may be kept between the events of a session.
    warm: bool,
}

/// Changes whether instances of a version may be kept between the events of a session. That
/// is all that can be changed of one. It is in force with the next event.
#[utoipa::path(
    patch, path = "/builder/agents/{agent}/components/{version}", request_body = VersionChange,
    responses(
        (status = 200, body = ComponentVersion, headers(("ETag" = String))),
        (status = 409, description = "not_a_component_agent"),
        (status = 412, description = "changed_since"),
    ),
)]
async fn change(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
    seen: Seen,
    Body(change): Body<VersionChange>,
) -> Result<Tagged<ComponentVersion>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let version = input::id(&version, "version")?;
    let template = catalog::to_change(&mut tx, template.id, owner).await?;
    if let Some(found) = components::find(&mut tx, template.id, version).await? {
        seen.check(&shown(found, template.active_version))?;
    }
    let version = components::set_warm(&mut tx, template.id, version, change.warm).await?;
    tx.commit().await?;
    tagged(shown(version, template.active_version))
}

/// Makes a version the active one, a newer or an older. New events go to it from now on;
/// those that run finish on theirs, and pinned sessions stay with theirs. A version on trial
/// is promoted by it.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/components/{version}/activate",
    responses(
        (status = 200, body = ComponentVersion),
        (status = 409, description = "not_a_component_agent, version_not_ready"),
    ),
)]
async fn activate(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<ComponentVersion>> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let (version, now) = (input::id(&version, "version")?, host.clock.now());
    let version = components::activate(&mut tx, template.id, version, now).await?;
    tx.commit().await?;
    let active = Some(version.version);
    Ok(Json(shown(version, active)))
}

/// The builder's agent, if it is one that runs components.
pub(super) async fn component_agent(tx: &mut Tx, id: &str, owner: BuilderId) -> Result<Template> {
    let template = catalog::owned_by(tx, input::id(id, "agent")?, owner).await?;
    if template.delivery != "component" {
        return Err(Error::conflict("not_a_component_agent", "this agent is a webhook"));
    }
    Ok(template)
}

pub(super) fn shown(version: Version, active: Option<i64>) -> ComponentVersion {
    ComponentVersion {
        active: active == Some(version.version),
        version: version.version,
        sha256: version.sha256,
        size_bytes: version.size_bytes,
        state: version.state,
        warm: version.warm,
        created_at: version.created_at,
        report: version.report,
    }
}
