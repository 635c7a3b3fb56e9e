//! A version on trial: beginning, changing and stopping it. `activate` promotes it.

use super::{
    caller::Builder,
    components::component_agent,
    input::{self, Body},
};
use crate::{
    catalog::canaries::{self, Canary, MOST_EVENTS, Terms},
    error::{Error, Result},
    host::Host,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::put,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents/{agent}/components/{version}/canary", put(start).delete(stop))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTerms {
    #[serde(default, deserialize_with = "input::given")]
    share_percent: Option<i64>,
    #[serde(default, deserialize_with = "input::given")]
    trap_percent: Option<i64>,
    #[serde(default, deserialize_with = "input::given")]
    min_events: Option<i64>,
}

async fn start(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
    Body(new): Body<NewTerms>,
) -> Result<Json<Value>> {
    let terms = checked(&new)?;
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let version = input::id(&version, "version")?;
    let canary = canaries::start(&mut tx, &host.clock, template.id, version, terms).await?;
    tx.commit().await?;
    Ok(Json(shown(&canary)))
}

/// Its sessions go back to the active version from their next event.
async fn stop(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let (version, now) = (input::id(&version, "version")?, host.clock.now());
    if !canaries::end(&mut tx, template.id, version, "stopped", now).await? {
        return Err(Error::not_found("canary"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(new: &NewTerms) -> Result<Terms> {
    let usual = Terms::default();
    Ok(Terms {
        share_percent: number("/sharePercent", new.share_percent, usual.share_percent, 1..=99)?,
        trap_percent: number("/trapPercent", new.trap_percent, usual.trap_percent, 1..=100)?,
        min_events: number("/minEvents", new.min_events, usual.min_events, 1..=MOST_EVENTS)?,
    })
}

fn number(
    pointer: &str,
    given: Option<i64>,
    usual: i64,
    range: RangeInclusive<i64>,
) -> Result<i64> {
    let number = given.unwrap_or(usual);
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::field(pointer, format!("must be {least} to {most}")))
}

/// The trial as the builder sees it, with why it ended if it was rolled back.
pub(super) fn shown(canary: &Canary) -> Value {
    let mut all = json!(canary);
    all["reason"] = json!(canary.reason());
    all
}
