//! Looking through all sessions, and ending one.

use crate::{
    api::{
        caller::Operator,
        input::{self, Params},
        page::{self, Listed, Page},
        receipts::parsed,
        rentals::STATUSES,
    },
    audit::{self, Decision},
    error::{Error, Result},
    host::Host,
    id::{AgentId, BuilderId, CompanyId, SessionId},
    sessions::{
        self, Session,
        overview::{self, Filter},
    },
    work,
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
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    /// Sessions of this company only.
    #[param(value_type = Option<CompanyId>)]
    company_id: Option<String>,
    /// Sessions with this agent only.
    #[param(value_type = Option<AgentId>)]
    agent_id: Option<String>,
    /// `provisioning`, `active`, `paused`, `completed`.
    #[param(pattern = "^(provisioning|active|paused|completed)$")]
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// A session, with whose it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionRow<'a> {
    #[serde(flatten)]
    session: &'a Session,
    company_id: CompanyId,
    /// Null where the agent is one of the platform's own.
    builder_id: Option<BuilderId>,
}

/// Lists everybody's sessions, newest first.
#[utoipa::path(
    get, path = "/admin/sessions", params(Search),
    responses((status = 200, body = Listed<SessionRow>)),
)]
async fn list(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    if search.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let all = STATUSES.join(", ");
        return Err(Error::field("status", format!("must be one of {all}")));
    }
    let filter = Filter {
        company: parsed("companyId", search.company_id.as_deref(), "is not an id")?,
        agent: parsed("agentId", search.agent_id.as_deref(), "is not an id")?,
        status: search.status,
    };
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<SessionId>()?);
    let mut tx = host.db.look().await?;
    let found = overview::list(&mut tx, &filter, before, limit + 1).await?;
    let show = |session: &Session| {
        let (company_id, builder_id) = (session.company_id, session.builder_id);
        json!(SessionRow { session, company_id, builder_id })
    };
    Ok(page::answer(found, limit, |session| session.id.to_string(), show))
}

/// Ends anybody's session.
///
/// The one who opened it is told. Ending twice changes nothing and answers the same session.
#[utoipa::path(
    post, path = "/admin/sessions/{session}/end", responses((status = 200, body = Session)),
)]
async fn end(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
) -> Result<Json<Session>> {
    let id: SessionId = input::id(&id, "session")?;
    let mut tx = host.db.write().await?;
    let before = sessions::find(&mut tx, id).await?.ok_or(Error::not_found("session"))?;
    let lease = host.lease();
    let told = sessions::end(&mut tx, &host.clock, id, "operator", lease).await?;
    if told.is_some() {
        let decision = Decision {
            actor: Some(operator.user_id),
            action: "session.ended",
            target: &format!("session/{id}"),
            before: json!({ "status": before.status }),
            after: json!({ "status": "completed" }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
    }
    let session = sessions::find(&mut tx, id).await?.ok_or(Error::not_found("session"))?;
    tx.commit().await?;
    if let Some(told) = told {
        work::lane::told(&host, told, lease.claim);
    }
    Ok(Json(session))
}
