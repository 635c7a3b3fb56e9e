//! Ending anybody's session.

use crate::{
    api::{caller::Operator, input},
    audit::{self, Decision},
    error::{Error, Result},
    host::Host,
    id::SessionId,
    sessions::{self, Session},
    work,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(end))
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
