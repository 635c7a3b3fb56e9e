//! How the sandbox of this process stands: what runs, what waits, what is kept.

use crate::{api::caller::Operator, host::Host, id::AgentId, sandbox::Standing};
use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(show))
}

#[derive(Serialize, ToSchema)]
struct SandboxState {
    /// Events that run.
    running: u64,
    /// Events that wait in memory for a place.
    waiting: u64,
    /// Instances that live, kept ones included.
    instances: usize,
    /// How many there may be.
    slots: u64,
    warm: WarmInstances,
    agents: Vec<AgentEvents>,
}

/// Instances that are kept between events.
#[derive(Serialize, ToSchema)]
struct WarmInstances {
    instances: u64,
    /// Of their memories.
    bytes: u64,
}

/// How the events of an agent stand.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AgentEvents {
    agent_id: AgentId,
    running: u64,
    waiting: u64,
}

/// Shows how the sandbox of the process that answers stands; others have their own. Agents
/// without an event that runs or waits are left out.
#[utoipa::path(get, path = "/admin/sandbox", responses((status = 200, body = SandboxState)))]
async fn show(State(host): State<Host>, _: Operator) -> Json<SandboxState> {
    let (all, warm) = (host.sandbox.standing_in_all(), host.sandbox.waiting());
    let agent = |(agent_id, standing): (AgentId, Standing)| {
        let Standing { running, waiting } = standing;
        AgentEvents { agent_id, running, waiting }
    };
    Json(SandboxState {
        running: all.running,
        waiting: all.waiting,
        instances: host.sandbox.instances(),
        slots: host.config.pool.instances,
        warm: WarmInstances { instances: warm.instances, bytes: warm.bytes },
        agents: host.sandbox.standings().into_iter().map(agent).collect(),
    })
}
