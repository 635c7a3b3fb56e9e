//! Everybody's templates, and suspending one.

use crate::{
    api::{
        caller::Operator,
        catalogue::{self, Agent},
        input::{self, Params},
        page::{self, Listed, Page},
    },
    audit::{self, Decision},
    catalog::{self, Template, suspension},
    error::{Error, Result},
    host::Host,
    id::AgentId,
    timestamp::Timestamp,
    work::suspended,
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
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(suspend)).routes(routes!(resume))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Search {
    /// What its name holds, in capitals or not.
    q: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// What an operator sees of a template.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AgentRow {
    #[serde(flatten)]
    agent: Agent,
    /// Since when nobody can rent it.
    suspended_at: Option<Timestamp>,
    /// The version of its component that is run.
    active_version: Option<i64>,
}

/// Lists everybody's templates, drafts too, newest first.
#[utoipa::path(
    get, path = "/admin/agents", params(Search),
    responses((status = 200, body = Listed<AgentRow>)),
)]
async fn list(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<AgentId>()?);
    let mut tx = host.db.look().await?;
    let found = catalog::all(&mut tx, search.q.as_deref(), before, limit + 1).await?;
    let show = |template: &Template| json!(shown(template));
    Ok(page::answer(found, limit, |template| template.id.to_string(), show))
}

fn shown(template: &Template) -> AgentRow {
    AgentRow {
        agent: catalogue::listed(template),
        suspended_at: template.suspended_at,
        active_version: template.active_version,
    }
}

/// Suspends an agent.
///
/// Nobody sees or rents it, and its sessions end. Doing so again changes nothing.
#[utoipa::path(
    post, path = "/admin/agents/{agent}/suspend", responses((status = 200, body = AgentRow)),
)]
async fn suspend(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<AgentRow>> {
    let answer = set(&host, operator, &id, true).await?;
    suspended::begin(&host);
    Ok(answer)
}

/// Lets an agent that was suspended be rented again.
///
/// Doing so again changes nothing.
#[utoipa::path(
    post, path = "/admin/agents/{agent}/resume", responses((status = 200, body = AgentRow)),
)]
async fn resume(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<AgentRow>> {
    set(&host, operator, &id, false).await
}

async fn set(
    host: &Host,
    Operator(operator): Operator,
    id: &str,
    suspend: bool,
) -> Result<Json<AgentRow>> {
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
