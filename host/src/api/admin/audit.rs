//! Reading the record of what operators decided.

use crate::{
    api::{
        caller::Operator,
        input::Params,
        page::{self, Listed, Page},
    },
    audit::{self, Entry},
    error::Result,
    host::Host,
    id::AuditId,
};
use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Those of this action only, such as `agent.suspended`.
    action: Option<String>,
    /// Those about this only: `platform`, or a kind of thing and its id.
    target: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists what operators, and the platform in their stead, have decided, newest first.
#[utoipa::path(
    get, path = "/admin/audit", params(Filter), responses((status = 200, body = Listed<Entry>)),
)]
async fn list(
    State(host): State<Host>,
    _: Operator,
    Params(filter): Params<Filter>,
) -> Result<Json<Value>> {
    let page = Page::new(filter.limit, filter.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<AuditId>()?);
    let (action, target) = (filter.action.as_deref(), filter.target.as_deref());
    let mut tx = host.db.look().await?;
    let found = audit::list(&mut tx, action, target, before, limit + 1).await?;
    Ok(page::answer(found, limit, |entry| entry.id.to_string(), |entry| json!(entry)))
}
