//! Reading the record of what operators decided.

use crate::{
    api::{
        caller::Operator,
        input::Params,
        page::{self, Page},
    },
    audit,
    error::Result,
    host::Host,
    id::AuditId,
};
use axum::{Json, Router, extract::State, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/admin/audit", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    action: Option<String>,
    target: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

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
