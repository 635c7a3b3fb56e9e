//! A builder's list of the sessions with his agents.

use super::{
    caller::Builder,
    input::Params,
    page::{self, Listed, Page},
    receipts::parsed,
};
use crate::{
    error::{Error, Result},
    host::Host,
    id::{AgentId, SessionId},
    sessions::rentals::{self, Filter, Rental},
};
use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list))
}

pub(super) const STATUSES: [&str; 4] = ["provisioning", "active", "paused", "completed"];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    /// Sessions with this agent only.
    #[param(value_type = Option<AgentId>)]
    agent_id: Option<String>,
    /// `provisioning`, `active`, `paused`, `completed`.
    #[param(pattern = "^(provisioning|active|paused|completed)$")]
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the sessions with the builder's agents, newest first.
///
/// They stay when an agent is withdrawn. Who in the client's company opened one is not told.
#[utoipa::path(
    get, path = "/builder/sessions", params(Search),
    responses((status = 200, body = Listed<Rental>)),
)]
async fn list(
    State(host): State<Host>,
    Builder(builder): Builder,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    if search.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let all = STATUSES.join(", ");
        return Err(Error::field("status", format!("must be one of {all}")));
    }
    let agent = parsed("agentId", search.agent_id.as_deref(), "is not an id")?;
    let filter = Filter { agent, status: search.status };
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<SessionId>()?);
    let mut tx = host.db.look().await?;
    let found = rentals::list(&mut tx, builder, &filter, before, limit + 1).await?;
    Ok(page::answer(found, limit, |rental| rental.id.to_string(), |rental| json!(rental)))
}
