//! The catalogue, as clients see it.

use super::{
    caller::Caller,
    input::{self, Params},
    page::{self, Page},
};
use crate::{
    catalog::{self, Search, Template},
    error::{Error, Result},
    host::Host,
    id::AgentId,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/agents", get(list)).route("/agents/{agent}", get(show))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    q: Option<String>,
    theme: Option<String>,
    tool: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

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
    Ok(page::answer(found, limit, |template| template.id.to_string(), listed))
}

async fn show(State(host): State<Host>, _: Caller, Path(id): Path<String>) -> Result<Json<Value>> {
    let id = input::id(&id, "agent")?;
    let mut tx = host.db.read().await?;
    let found = catalog::find(&mut tx, id).await?.filter(Template::is_offered);
    Ok(Json(listed(&found.ok_or(Error::not_found("agent"))?)))
}

/// What everybody may know of a template.
pub(super) fn listed(template: &Template) -> Value {
    json!({
        "id": template.id,
        "name": template.name,
        "description": template.description,
        "logoEmoji": template.logo_emoji,
        "themes": template.themes,
        "tools": template.tools,
        "capabilities": template.capabilities,
        "priceCentsPerHour": template.price_cents_per_hour,
        "maxSessions": template.max_sessions,
        "status": template.status,
        "delivery": template.delivery,
        "builder": { "id": template.builder_id, "name": template.builder_name },
        "createdAt": template.created_at,
    })
}
