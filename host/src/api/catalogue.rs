//! The catalogue, as clients see it.

use super::{
    caller::Caller,
    input::{self, Params},
    page::{self, Listed, Page},
};
use crate::{
    catalog::{self, Search, Template},
    error::{Error, Result},
    host::Host,
    id::{AgentId, BuilderId},
    timestamp::Timestamp,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// What its name or its description holds, in capitals or not.
    q: Option<String>,
    /// One of its themes.
    theme: Option<String>,
    /// One of its tools.
    tool: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the agents that can be rented, newest first.
#[utoipa::path(
    get, path = "/agents", params(Filter), responses((status = 200, body = Listed<Agent>)),
)]
async fn list(
    State(host): State<Host>,
    _: Caller,
    Params(filter): Params<Filter>,
) -> Result<Json<Value>> {
    let page = Page::new(filter.limit, filter.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<AgentId>()?);
    let search = Search { text: filter.q, theme: filter.theme, tool: filter.tool };
    let mut tx = host.db.read().await?;
    let found = catalog::published(&mut tx, &search, before, limit + 1).await?;
    let show = |template: &Template| json!(listed(template));
    Ok(page::answer(found, limit, |template| template.id.to_string(), show))
}

/// Shows an agent that can be rented.
#[utoipa::path(get, path = "/agents/{agent}", responses((status = 200, body = Agent)))]
async fn show(State(host): State<Host>, _: Caller, Path(id): Path<String>) -> Result<Json<Agent>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.read().await?;
    let found = catalog::find(&mut tx, id).await?.filter(Template::is_offered);
    Ok(Json(listed(&found.ok_or(Error::not_found("agent"))?)))
}

/// What everybody may know of an agent template.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Agent {
    pub(super) id: AgentId,
    name: String,
    description: String,
    logo_emoji: Option<String>,
    themes: Vec<String>,
    tools: Vec<String>,
    capabilities: Vec<String>,
    price_cents_per_hour: i64,
    /// How many sessions run with it at once; null: as many as there are.
    max_sessions: Option<i64>,
    /// `active` when it is published, else `draft`.
    status: String,
    /// What stands behind it: `webhook` or `component`.
    delivery: String,
    builder: AgentBuilder,
    created_at: Timestamp,
}

/// Whose agent it is.
#[derive(Serialize, ToSchema)]
struct AgentBuilder {
    id: BuilderId,
    name: String,
}

pub(super) fn listed(template: &Template) -> Agent {
    Agent {
        id: template.id,
        name: template.name.clone(),
        description: template.description.clone(),
        logo_emoji: template.logo_emoji.clone(),
        themes: template.themes.clone(),
        tools: template.tools.clone(),
        capabilities: template.capabilities.clone(),
        price_cents_per_hour: template.price_cents_per_hour,
        max_sessions: template.max_sessions,
        status: template.status.clone(),
        delivery: template.delivery.clone(),
        builder: AgentBuilder { id: template.builder_id, name: template.builder_name.clone() },
        created_at: template.created_at,
    }
}
