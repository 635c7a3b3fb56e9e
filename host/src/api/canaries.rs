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
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(start, stop))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CanaryTerms {
    /// Of the new sessions; 10 unless it is given.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 1, maximum = 99)]
    share_percent: Option<i64>,
    /// Rolled back when so many of its events failed; 10 unless it is given.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 1, maximum = 100)]
    trap_percent: Option<i64>,
    /// Not judged before so many of its events came to an end; 20 unless it is given.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 1, maximum = 1_000_000)]
    min_events: Option<i64>,
}

/// A trial as its builder sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct CanaryTrial {
    #[serde(flatten)]
    canary: Canary,
    /// Why it was rolled back; null when it was not.
    #[schema(required)]
    reason: Option<String>,
}

/// Puts a version on trial with a share of the new sessions. They stay with it as long as the
/// trial runs. Of a trial that runs it changes the terms, and what was counted goes on
/// counting. Activating the version promotes it.
#[utoipa::path(
    put, path = "/builder/agents/{agent}/components/{version}/canary",
    request_body = CanaryTerms,
    responses(
        (status = 200, body = CanaryTrial),
        (status = 409, description = "canary_running, no_active_version, not_a_component_agent, \
            version_active, version_not_ready"),
    ),
)]
async fn start(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, version)): Path<(String, String)>,
    Body(new): Body<CanaryTerms>,
) -> Result<Json<CanaryTrial>> {
    let terms = checked(&new)?;
    let mut tx = host.db.write().await?;
    let template = component_agent(&mut tx, &id, owner).await?;
    let version = input::id(&version, "version")?;
    let canary = canaries::start(&mut tx, &host.clock, template.id, version, terms).await?;
    tx.commit().await?;
    Ok(Json(shown(&canary)))
}

/// Stops the trial of a version. Its sessions go back to the active version from their next
/// event.
#[utoipa::path(
    delete, path = "/builder/agents/{agent}/components/{version}/canary",
    responses((status = 204), (status = 409, description = "not_a_component_agent")),
)]
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

fn checked(new: &CanaryTerms) -> Result<Terms> {
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

/// With why it ended, if it was rolled back.
pub(super) fn shown(canary: &Canary) -> CanaryTrial {
    CanaryTrial { canary: canary.clone(), reason: canary.reason() }
}
