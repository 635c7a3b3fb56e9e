//! A builder's templates.

mod listing;

use super::{
    caller::Builder,
    canaries,
    catalogue::{self, Agent},
    etag::{Seen, Tagged, tagged_by},
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
    receipts::parsed,
};
use crate::{
    catalog::{
        self, Blocker, Listing, Template,
        canaries::{Canary, newest},
        endpoints,
        withdrawal::withdraw,
    },
    delivery::webhook,
    error::{Error, Result},
    host::Host,
    id::AgentId,
    storage::Tx,
    timestamp::Timestamp,
    work::{self, lane::health},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use listing::{NewTemplate, TemplateChange, checked};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, delete))
        .routes(routes!(publish))
        .routes(routes!(unpublish))
}

/// What the owner may know of a template.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnAgent {
    #[serde(flatten)]
    agent: Agent,
    webhook_url: Option<String>,
    /// Whether an event that failed is tried again: `none` or `standard`.
    retry_policy: String,
    /// The version of its component that is run.
    active_version: Option<i64>,
    /// New sessions keep the version they begin with.
    pin_sessions: bool,
    /// The newest trial of a version, over or not.
    #[schema(value_type = Option<Canary>)]
    canary: Value,
    /// Since when an operator lets nobody rent it.
    suspended_at: Option<Timestamp>,
    /// What keeps it from being published.
    publish_blockers: Vec<Blocker>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedAgent {
    #[serde(flatten)]
    agent: OwnAgent,
    /// What the platform signs events with; only of a webhook agent. It is told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    signing_secret: Option<String>,
}

/// Makes an agent template, a draft that nobody else sees until it is published.
///
/// The answer for a webhook agent has the secret that its events are signed with, this once.
/// A builder has at most 1000 templates.
#[utoipa::path(
    post, path = "/builder/agents", request_body = NewTemplate,
    responses(
        (status = 201, body = CreatedAgent),
        (status = 409, description = "too_many_templates"),
    ),
)]
async fn create(
    State(host): State<Host>,
    Builder(owner): Builder,
    once: Once,
    Body(new): Body<NewTemplate>,
) -> Result<(StatusCode, Json<Value>)> {
    // A component that asks for another try gets one; a webhook agent only when its
    // builder says that it knows how to tell a repetition.
    let policy = if new.delivery == "component" { "standard" } else { "none" };
    let listing = checked(
        &host,
        Listing {
            name: new.name,
            description: new.description,
            logo_emoji: new.logo_emoji,
            themes: new.themes,
            tools: new.tools,
            capabilities: new.capabilities,
            price_cents_per_hour: new.price_cents_per_hour,
            max_sessions: new.max_sessions,
            delivery: new.delivery,
            retry_policy: new.retry_policy.unwrap_or_else(|| policy.into()),
            webhook_url: new.webhook_url,
            pin_sessions: new.pin_sessions,
        },
    )?;
    let id: AgentId = host.clock.id();
    let secret = (listing.delivery == "webhook").then(|| webhook::new_secret(&host.clock));
    let place = catalog::signing::place(id);
    let sealed = secret.as_ref().map(|text| host.key.seal(&host.clock, &place, text.as_bytes()));
    let mut tx = host.db.write().await?;
    let template =
        catalog::create(&mut tx, &host.clock, owner, &listing, sealed.transpose()?, id).await?;
    let agent = owned(&mut tx, &template).await?;
    let answer = CreatedAgent { agent, signing_secret: secret };
    once.commit(tx, StatusCode::CREATED, json!(answer)).await
}

/// Lists the builder's templates, newest first.
#[utoipa::path(
    get, path = "/builder/agents", params(Page), responses((status = 200, body = Listed<OwnAgent>)),
)]
async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<AgentId>()?);
    let mut tx = host.db.read().await?;
    let mut found = Vec::new();
    for template in catalog::of_builder(&mut tx, owner, before, limit + 1).await? {
        found.push(owned(&mut tx, &template).await?);
    }
    Ok(page::answer(found, limit, |own| own.agent.id.to_string(), |own| json!(own)))
}

/// Shows one of the builder's templates.
#[utoipa::path(
    get, path = "/builder/agents/{agent}",
    responses((status = 200, body = OwnAgent, headers(("ETag" = String)))),
)]
async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Tagged<OwnAgent>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let own = owned(&mut tx, &template).await?;
    tagged_by(&own.settled(), own)
}

/// Changes a template; what is left out stays as it is.
///
/// A published webhook agent keeps an address. A new address begins as one that is well.
#[utoipa::path(
    patch, path = "/builder/agents/{agent}", request_body = TemplateChange,
    responses(
        (status = 200, body = OwnAgent, headers(("ETag" = String))),
        (status = 409, description = "agent_published"),
        (status = 412, description = "changed_since"),
    ),
)]
async fn change(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    seen: Seen,
    Body(change): Body<TemplateChange>,
) -> Result<Tagged<OwnAgent>> {
    let mut tx = host.db.write().await?;
    let old = catalog::to_change(&mut tx, input::id(&id, "agent")?, owner).await?;
    seen.check(&owned(&mut tx, &old).await?.settled())?;
    let listing = checked(
        &host,
        Listing {
            name: change.name.unwrap_or(old.name),
            description: change.description.unwrap_or(old.description),
            logo_emoji: change.logo_emoji.unwrap_or(old.logo_emoji),
            themes: change.themes.unwrap_or(old.themes),
            tools: change.tools.unwrap_or(old.tools),
            capabilities: change.capabilities.unwrap_or(old.capabilities),
            price_cents_per_hour: change.price_cents_per_hour.unwrap_or(old.price_cents_per_hour),
            max_sessions: change.max_sessions.unwrap_or(old.max_sessions),
            delivery: old.delivery,
            retry_policy: change.retry_policy.unwrap_or(old.retry_policy),
            webhook_url: change.webhook_url.unwrap_or_else(|| old.webhook_url.clone()),
            pin_sessions: change.pin_sessions.unwrap_or(old.pinned_since.is_some()),
        },
    )?;
    if old.status == "active" && listing.delivery == "webhook" && listing.webhook_url.is_none() {
        let detail = "a published template needs its webhookUrl; unpublish it first";
        return Err(Error::conflict("agent_published", detail));
    }
    let moved = old.webhook_url != listing.webhook_url;
    let template = catalog::update(&mut tx, &host.clock, old.id, &listing).await?;
    // What the old address did tells nothing of the new one.
    let moved = moved && endpoints::recovered(&mut tx, &host.clock, template.id).await?;
    let answer = owned(&mut tx, &template).await?;
    tx.commit().await?;
    if moved {
        host.windows.forget(template.id);
        health::bring_forward(&host, template.id).await?;
        health::tell(&host, template.id).await?;
    }
    tagged_by(&answer.settled(), answer)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Delete {
    /// End the sessions that still run with it; without it, they keep it from being deleted.
    #[param(value_type = Option<bool>)]
    end_sessions: Option<String>,
}

/// Deletes a template for good.
///
/// The template is gone at once; with `?endSessions=true`, what still runs with it ends
/// right after.
#[utoipa::path(
    delete, path = "/builder/agents/{agent}", params(Delete),
    responses(
        (status = 204),
        (status = 409, description = "sessions_running"),
        (status = 412, description = "changed_since"),
    ),
)]
async fn delete(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    seen: Seen,
    Params(how): Params<Delete>,
) -> Result<StatusCode> {
    let end = parsed("endSessions", how.end_sessions.as_deref(), "must be true or false")?;
    let mut tx = host.db.write().await?;
    let template = catalog::to_change(&mut tx, input::id(&id, "agent")?, owner).await?;
    seen.check(&owned(&mut tx, &template).await?.settled())?;
    let id = template.id;
    let running = withdraw(&mut tx, &host.clock, id, end.unwrap_or(false)).await?;
    tx.commit().await?;
    if running {
        work::withdrawn::begin(&host, id);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes a template: it is listed, and can be rented.
///
/// `publishBlockers` names what is missing. Publishing twice changes nothing.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/publish",
    responses(
        (status = 200, body = OwnAgent),
        (
            status = 409,
            description = "no_webhook_url, no_active_component, no_connect_account"
        ),
    ),
)]
async fn publish(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<OwnAgent>> {
    let mut tx = host.db.write().await?;
    let mut template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    catalog::publish(&mut tx, &host.clock, &template).await?;
    template.status = "active".into();
    let answer = owned(&mut tx, &template).await?;
    tx.commit().await?;
    Ok(Json(answer))
}

/// Takes a template off the list: it is a draft again.
///
/// Sessions that run go on. Doing so twice changes nothing.
#[utoipa::path(
    post, path = "/builder/agents/{agent}/unpublish", responses((status = 200, body = OwnAgent)),
)]
async fn unpublish(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<OwnAgent>> {
    let mut tx = host.db.write().await?;
    let mut template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    catalog::unpublish(&mut tx, &host.clock, &template).await?;
    template.status = "draft".into();
    let answer = owned(&mut tx, &template).await?;
    tx.commit().await?;
    Ok(Json(answer))
}

impl OwnAgent {
    /// All of it but how a trial goes, which changes by itself.
    fn settled(&self) -> Value {
        let mut all = json!(self);
        all["canary"] = Value::Null;
        all
    }
}

async fn owned(tx: &mut Tx, template: &Template) -> Result<OwnAgent> {
    let canary = newest(tx, template.id).await?;
    Ok(OwnAgent {
        agent: catalogue::listed(template),
        webhook_url: template.webhook_url.clone(),
        retry_policy: template.retry_policy.clone(),
        active_version: template.active_version,
        pin_sessions: template.pinned_since.is_some(),
        canary: json!(canary.as_ref().map(canaries::shown)),
        suspended_at: template.suspended_at,
        publish_blockers: template.blockers(),
    })
}
