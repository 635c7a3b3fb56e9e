//! What an operator's scheduler may call; the host itself does the same on its timer.

use super::caller;
use crate::{
    error::{Error, Result},
    host::Host,
    seal, work,
};
use axum::{Json, extract::State, http::HeaderMap};
use serde::Serialize;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(check))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Checked {
    ok: bool,
    duration_ms: u64,
}

/// Does everything that is due: balances, holds, stale sessions, time-outs, transfers,
/// subscriptions, expired uploads. Two at once do it once. The secret may be sent as
/// `X-Internal-Secret` as well.
#[utoipa::path(post, path = "/internal/check-sessions", responses((status = 200, body = Checked)))]
async fn check(State(host): State<Host>, headers: HeaderMap) -> Result<Json<Checked>> {
    let shown = caller::bearer(&headers).or_else(|| caller::text(&headers, "x-internal-secret"));
    let same = |shown: &str| {
        bool::from(seal::digest(shown).as_slice().ct_eq(&seal::digest(&host.internal)))
    };
    if !shown.is_some_and(same) {
        let detail = "send the platform's internal secret as Authorization: Bearer …";
        return Err(Error::unauthenticated(detail));
    }
    let begun = host.clock.now();
    work::check(&host).await?;
    let spent = host.clock.now().since(begun).as_millis();
    Ok(Json(Checked { ok: true, duration_ms: u64::try_from(spent).unwrap_or(u64::MAX) }))
}
