//! Ending anybody's session.

use crate::{
    api::{caller::Operator, input},
    audit::{self, Decision},
    error::{Error, Result},
    host::Host,
    id::SessionId,
    sessions, work,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/admin/sessions/{session}/end", post(end))
}

/// Ending twice changes nothing and answers the same session.
async fn end(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
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
    Ok(Json(json!(session)))
}
