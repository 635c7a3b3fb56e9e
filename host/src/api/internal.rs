//! What an operator's scheduler may call; the host itself does the same on its timer.

use super::caller;
use crate::{
    error::{Error, Result},
    host::Host,
    seal, work,
};
use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/internal/check-sessions", post(check))
}

/// Does everything that is due: balances, holds, stale sessions, time-outs, transfers,
/// subscriptions, expired uploads. Two at once do it once.
async fn check(State(host): State<Host>, headers: HeaderMap) -> Result<Json<Value>> {
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
    let millis = u64::try_from(host.clock.now().since(begun).as_millis()).unwrap_or(u64::MAX);
    Ok(Json(json!({ "ok": true, "durationMs": millis })))
}
