//! A builder's templates.

use super::{
    caller::Builder,
    canaries, catalogue,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
    receipts::parsed,
};
use crate::{
    catalog::{self, Listing, Template, canaries::newest, endpoints, withdrawal::withdraw},
    delivery::webhook,
    error::{Error, Result},
    host::Host,
    id::AgentId,
    storage::Tx,
    work::{self, lane::health},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents", post(create).get(list))
        .route("/builder/agents/{agent}", get(show).patch(change).delete(delete))
        .route("/builder/agents/{agent}/publish", post(publish))
        .route("/builder/agents/{agent}/unpublish", post(unpublish))
}

/// The highest price: $10 000 an hour, a typing error rather than an offer.
const MAX_PRICE_CENTS: i64 = 1_000_000;

/// Tags of one kind, and characters of one.
const TAGS: usize = 20;
const TAG_CHARS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTemplate {
    name: String,
    description: String,
    delivery: String,
    price_cents_per_hour: i64,
    logo_emoji: Option<String>,
    #[serde(default)]
    themes: Vec<String>,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    max_sessions: Option<i64>,
    webhook_url: Option<String>,
    retry_policy: Option<String>,
    #[serde(default)]
    pin_sessions: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "input::given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "input::given")]
    description: Option<String>,
    #[serde(default, deserialize_with = "input::given")]
    price_cents_per_hour: Option<i64>,
    #[serde(default, deserialize_with = "input::nullable")]
    logo_emoji: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::given")]
    themes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "input::given")]
    tools: Option<Vec<String>>,
    #[serde(default, deserialize_with = "input::given")]
    capabilities: Option<Vec<String>>,
    #[serde(default, deserialize_with = "input::nullable")]
    max_sessions: Option<Option<i64>>,
    #[serde(default, deserialize_with = "input::nullable")]
    webhook_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::given")]
    retry_policy: Option<String>,
    #[serde(default, deserialize_with = "input::given")]
    pin_sessions: Option<bool>,
}

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
    let mut answer = owned(&mut tx, &template).await?;
    if let Some(secret) = secret {
        answer["signingSecret"] = json!(secret);
    }
    once.commit(tx, StatusCode::CREATED, answer).await
}

async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<AgentId>()?);
    let mut tx = host.db.read().await?;
    let mut found = Vec::new();
    for template in catalog::of_builder(&mut tx, owner, before, limit + 1).await? {
        let shown = owned(&mut tx, &template).await?;
        found.push((template.id, shown));
    }
    Ok(page::answer(found, limit, |(id, _)| id.to_string(), |(_, shown)| shown.clone()))
}

async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    Ok(Json(owned(&mut tx, &template).await?))
}

async fn change(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let old = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
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
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Delete {
    end_sessions: Option<String>,
}

/// The template is gone at once; with `?endSessions=true`, what still runs with it ends
/// right after.
async fn delete(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(how): Params<Delete>,
) -> Result<StatusCode> {
    let end = parsed("endSessions", how.end_sessions.as_deref(), "must be true or false")?;
    let mut tx = host.db.write().await?;
    let id = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?.id;
    let running = withdraw(&mut tx, &host.clock, id, end.unwrap_or(false)).await?;
    tx.commit().await?;
    if running {
        work::withdrawn::begin(&host, id);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn publish(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let mut template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    catalog::publish(&mut tx, &host.clock, &template).await?;
    template.status = "active".into();
    let answer = owned(&mut tx, &template).await?;
    tx.commit().await?;
    Ok(Json(answer))
}

async fn unpublish(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let mut template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    catalog::unpublish(&mut tx, &host.clock, &template).await?;
    template.status = "draft".into();
    let answer = owned(&mut tx, &template).await?;
    tx.commit().await?;
    Ok(Json(answer))
}

/// Looks at every field of a listing.
fn checked(host: &Host, mut listing: Listing) -> Result<Listing> {
    listing.name = input::text("/name", &listing.name, 1..=100)?;
    listing.description = input::text("/description", &listing.description, 1..=5_000)?;
    if let Some(emoji) = &listing.logo_emoji {
        listing.logo_emoji = Some(input::text("/logoEmoji", emoji, 1..=16)?);
    }
    tags("/themes", &mut listing.themes)?;
    tags("/tools", &mut listing.tools)?;
    tags("/capabilities", &mut listing.capabilities)?;
    if !(0..=MAX_PRICE_CENTS).contains(&listing.price_cents_per_hour) {
        return Err(Error::field("/priceCentsPerHour", format!("must be 0 to {MAX_PRICE_CENTS}")));
    }
    if listing.max_sessions.is_some_and(|most| !(1..=1_000_000).contains(&most)) {
        return Err(Error::field("/maxSessions", "must be 1 to 1000000, or null for no bound"));
    }
    if !["webhook", "component"].contains(&listing.delivery.as_str()) {
        return Err(Error::field("/delivery", "must be webhook or component"));
    }
    if !["none", "standard"].contains(&listing.retry_policy.as_str()) {
        return Err(Error::field("/retryPolicy", "must be none or standard"));
    }
    if listing.pin_sessions && listing.delivery == "webhook" {
        return Err(Error::field("/pinSessions", "is for component agents; this one is a webhook"));
    }
    if let Some(url) = &listing.webhook_url {
        if listing.delivery == "component" {
            return Err(Error::field(
                "/webhookUrl",
                "is for webhook agents; this one is a component",
            ));
        }
        listing.webhook_url = Some(host.guard.checked("/webhookUrl", url)?.to_string());
    }
    Ok(listing)
}

fn tags(pointer: &str, tags: &mut [String]) -> Result<()> {
    if tags.len() > TAGS {
        return Err(Error::field(pointer, format!("must have at most {TAGS} entries")));
    }
    for (index, tag) in tags.iter_mut().enumerate() {
        *tag = input::text(&format!("{pointer}/{index}"), tag, 1..=TAG_CHARS)?;
    }
    Ok(())
}

/// What the owner may know of a template.
async fn owned(tx: &mut Tx, template: &Template) -> Result<Value> {
    let mut all = catalogue::listed(template);
    all["webhookUrl"] = json!(template.webhook_url);
    all["retryPolicy"] = json!(template.retry_policy);
    all["activeVersion"] = json!(template.active_version);
    all["pinSessions"] = json!(template.pinned_since.is_some());
    all["canary"] = json!(newest(tx, template.id).await?.as_ref().map(canaries::shown));
    all["suspendedAt"] = json!(template.suspended_at);
    all["publishBlockers"] = json!(template.blockers());
    Ok(all)
}
