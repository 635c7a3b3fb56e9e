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
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long a question may take before it is answered with no.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "ok": true }))))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// What a listener of its own serves openly.
pub fn metrics_only(host: Host) -> Router {
    Router::new().route("/metrics", get(open_metrics)).with_state(host)
}

/// Can this process serve? It can when the database takes a transaction, the object store
/// answers, and it is not about to stop.
async fn ready(State(host): State<Host>) -> (StatusCode, Json<Value>) {
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
    let checks = json!({ "serving": serving, "database": database, "objectStore": store });
    (status, Json(json!({ "ok": ok, "why": why, "checks": checks })))
}

async fn metrics(State(host): State<Host>, _: Operator) -> Result<Response> {
    open_metrics(State(host)).await
}

async fn open_metrics(State(host): State<Host>) -> Result<Response> {
    let text = host.metrics.write(&standing::now(&host).await?).map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
