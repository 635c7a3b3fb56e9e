//! How this process does: for load balancers, and for whoever draws curves.

use super::caller::Operator;
use crate::{
    error::{Error, Result},
    host::Host,
    metrics::CONTENT_TYPE,
    work::standing,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long a question may take before it is answered with no.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(healthy)).routes(routes!(ready)).routes(routes!(metrics))
}

/// What a listener of its own serves openly.
pub fn metrics_only(host: Host) -> Router {
    Router::new().route("/metrics", get(open_metrics)).with_state(host)
}

/// What a readiness question is answered with.
#[derive(Serialize, ToSchema)]
struct Readiness {
    ok: bool,
    /// What is missing: `stopping`, `database`, `object store`.
    why: Option<&'static str>,
    checks: Checks,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Checks {
    serving: bool,
    database: bool,
    object_store: bool,
}

#[derive(Serialize, ToSchema)]
struct Healthy {
    ok: bool,
}

/// Does this process answer at all?
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, body = Healthy)))]
async fn healthy() -> Json<Healthy> {
    Json(Healthy { ok: true })
}

/// Can this process serve? It can when the database takes a transaction, the object store
/// answers, and it is not about to stop.
#[utoipa::path(get, path = "/readyz", security(()), responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(host): State<Host>) -> (StatusCode, Json<Readiness>) {
    let (database, store) = tokio::join!(
        timeout(PATIENCE, standing::writes(&host)),
        timeout(PATIENCE, host.objects.size("readyz")),
    );
    let (database, store) = (matches!(database, Ok(Ok(()))), matches!(store, Ok(Ok(_))));
    let serving = !host.leaving.is_cancelled() && !host.stopping.is_cancelled();
    let ok = database && store && serving;
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let why = match (serving, database, store) {
        (false, ..) => Some("stopping"),
        (_, false, _) => Some("database"),
        (_, _, false) => Some("object store"),
        _ => None,
    };
    let checks = Checks { serving, database, object_store: store };
    (status, Json(Readiness { ok, why, checks }))
}

/// Shows figures of this process, as OpenMetrics has them.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
async fn metrics(State(host): State<Host>, _: Operator) -> Result<Response> {
    open_metrics(State(host)).await
}

async fn open_metrics(State(host): State<Host>) -> Result<Response> {
    let text = host.metrics.write(&standing::now(&host).await?).map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
