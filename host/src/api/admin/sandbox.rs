//! How the sandbox of this process stands: what runs, what waits, what is kept.

use crate::{api::caller::Operator, host::Host, sandbox::Standing};
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/admin/sandbox", get(show))
}

/// Of the process that answers; others have their own. Agents without an event that
/// runs or waits are left out.
async fn show(State(host): State<Host>, _: Operator) -> Json<Value> {
    let (all, warm) = (host.sandbox.standing_in_all(), host.sandbox.waiting());
    let agent = |(id, standing): (_, Standing)| json!({ "agentId": id, "running": standing.running, "waiting": standing.waiting });
    let agents: Vec<_> = host.sandbox.standings().into_iter().map(agent).collect();
    Json(json!({
        "running": all.running,
        "waiting": all.waiting,
        "instances": host.sandbox.instances(),
        "slots": host.config.pool.instances,
        "warm": { "instances": warm.instances, "bytes": warm.bytes },
        "agents": agents,
    }))
}
