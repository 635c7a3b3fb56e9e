//! Everybody's templates, and suspending one.

use crate::{
    api::{
        caller::Operator,
        catalogue,
        input::{self, Params},
        page::{self, Page},
    },
    audit::{self, Decision},
    catalog::{self, Template, suspension},
    error::{Error, Result},
    host::Host,
    id::AgentId,
    work::suspended,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/admin/agents", get(list))
        .route("/admin/agents/{agent}/suspend", post(suspend))
        .route("/admin/agents/{agent}/resume", post(resume))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    q: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<AgentId>()?);
    let mut tx = host.db.look().await?;
    let found = catalog::all(&mut tx, search.q.as_deref(), before, limit + 1).await?;
    Ok(page::answer(found, limit, |template| template.id.to_string(), shown))
}

fn shown(template: &Template) -> Value {
    let mut shown = catalogue::listed(template);
    shown["suspendedAt"] = json!(template.suspended_at);
    shown["activeVersion"] = json!(template.active_version);
    shown
}

/// Nobody sees or rents it, and its sessions end. Doing so again changes nothing.
async fn suspend(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let answer = set(&host, operator, &id, true).await?;
    suspended::begin(&host);
    Ok(answer)
}

async fn resume(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    set(&host, operator, &id, false).await
}

async fn set(
    host: &Host,
    Operator(operator): Operator,
    id: &str,
    suspend: bool,
) -> Result<Json<Value>> {
    let id = input::id::<AgentId>(id, "agent")?;
    let mut tx = host.db.write().await?;
    let since = suspend.then(|| host.clock.now());
    if suspension::set(&mut tx, id, since).await? {
        let decision = Decision {
            actor: Some(operator.user_id),
            action: if suspend { "agent.suspended" } else { "agent.resumed" },
            target: &format!("agent/{id}"),
            before: json!({ "suspended": !suspend }),
            after: json!({ "suspended": suspend }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
    }
    let template = catalog::find(&mut tx, id).await?.ok_or(Error::not_found("agent"))?;
    tx.commit().await?;
    Ok(Json(shown(&template)))
}
