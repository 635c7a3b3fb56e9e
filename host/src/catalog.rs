//! What can be rented: agent templates and their owners' side of them.
//!
//! A template is a draft until it is published; only published ones are listed.
//! Behind it stands a webhook or a component, never both. One that was withdrawn is a
//! row that nothing here finds ([`withdrawal`]).

pub mod canaries;
pub mod components;
pub mod endpoints;
pub mod settings;
pub mod signing;
pub mod suspension;
pub mod withdrawal;

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{AgentId, BuilderId, UserId},
    storage::{Json, Tx, containing},
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::json;

/// Templates of one builder.
const TEMPLATES: i64 = 1_000;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Template {
    pub id: AgentId,
    pub builder_id: BuilderId,
    pub builder_name: String,
    pub name: String,
    pub description: String,
    pub logo_emoji: Option<String>,
    #[sqlx(json)]
    pub themes: Vec<String>,
    #[sqlx(json)]
    pub tools: Vec<String>,
    #[sqlx(json)]
    pub capabilities: Vec<String>,
    pub price_cents_per_hour: i64,
    pub max_sessions: Option<i64>,
    pub status: String,
    pub delivery: String,
    pub retry_policy: String,
    pub webhook_url: Option<String>,
    pub active_version: Option<i64>,
    /// Since when new sessions keep the version they begin with.
    pub pinned_since: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Since when an operator lets nobody rent it.
    pub suspended_at: Option<Timestamp>,
    /// Its builder has an account to which he can be paid.
    pub payable: bool,
}

/// What still keeps a template from being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    NoWebhookUrl,
    NoActiveComponent,
    /// The builder cannot be paid: he has not told the payment provider who he is.
    NoConnectAccount,
}

impl Blocker {
    pub fn code(self) -> &'static str {
        match self {
            Self::NoWebhookUrl => "no_webhook_url",
            Self::NoActiveComponent => "no_active_component",
            Self::NoConnectAccount => "no_connect_account",
        }
    }
}

impl Template {
    /// Can it be found and rented?
    pub fn is_offered(&self) -> bool {
        self.status == "active" && self.suspended_at.is_none()
    }

    /// What keeps it from being published.
    pub fn blockers(&self) -> Vec<Blocker> {
        let mut found = self.cannot_run();
        if !self.payable {
            found.push(Blocker::NoConnectAccount);
        }
        found
    }

    /// What keeps it from being run at all.
    pub fn cannot_run(&self) -> Vec<Blocker> {
        let mut found = Vec::new();
        if self.delivery == "webhook" && self.webhook_url.is_none() {
            found.push(Blocker::NoWebhookUrl);
        }
        if self.delivery == "component" && self.active_version.is_none() {
            found.push(Blocker::NoActiveComponent);
        }
        found
    }
}

/// A template's fields as its owner gives them, already looked at.
#[derive(Clone, Debug)]
pub struct Listing {
    pub name: String,
    pub description: String,
    pub logo_emoji: Option<String>,
    pub themes: Vec<String>,
    pub tools: Vec<String>,
    pub capabilities: Vec<String>,
    pub price_cents_per_hour: i64,
    pub max_sessions: Option<i64>,
    pub delivery: String,
    pub retry_policy: String,
    pub webhook_url: Option<String>,
    /// New sessions keep the version they begin with. Switching it on leaves running
    /// sessions as they are; switching it off frees all of them: they follow the
    /// active version from their next event, the way out of a version that turned
    /// out bad.
    pub pin_sessions: bool,
}

pub async fn create(
    tx: &mut Tx,
    clock: &Clock,
    owner: BuilderId,
    listing: &Listing,
    webhook_secret: Option<Vec<u8>>,
    id: AgentId,
) -> Result<Template> {
    let sql = "SELECT COUNT(*) FROM agents WHERE builder_id = $1 AND deleted_at IS NULL";
    let (count,): (i64,) = tx.query(sql).bind(owner).one().await?;
    if count >= TEMPLATES {
        let detail = format!("a builder has at most {TEMPLATES} templates");
        return Err(Error::conflict("too_many_templates", detail));
    }
    let now = clock.now();
    tx.query(
        "INSERT INTO agents (id, builder_id, name, description, logo_emoji, themes, tools,
             capabilities, price_cents_per_hour, max_sessions, status, delivery, retry_policy,
             webhook_url, webhook_secret, pinned_since, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'draft', $11, $12, $13, $14, $15, $16,
             $16)",
    )
    .bind(id)
    .bind(owner)
    .bind(listing.name.as_str())
    .bind(listing.description.as_str())
    .bind(listing.logo_emoji.as_deref())
    .bind(Json(&listing.themes))
    .bind(Json(&listing.tools))
    .bind(Json(&listing.capabilities))
    .bind(listing.price_cents_per_hour)
    .bind(listing.max_sessions)
    .bind(listing.delivery.as_str())
    .bind(listing.retry_policy.as_str())
    .bind(listing.webhook_url.as_deref())
    .bind(webhook_secret)
    .bind(listing.pin_sessions.then_some(now))
    .bind(now)
    .run()
    .await?;
    find(tx, id).await?.ok_or(Error::not_found("agent"))
}

/// Writes all fields of a listing; how it is delivered never changes.
pub async fn update(
    tx: &mut Tx,
    clock: &Clock,
    id: AgentId,
    listing: &Listing,
) -> Result<Template> {
    tx.query(
        "UPDATE agents SET name = $2, description = $3, logo_emoji = $4, themes = $5, tools = $6,
             capabilities = $7, price_cents_per_hour = $8, max_sessions = $9, retry_policy = $10,
             webhook_url = $11, updated_at = $12,
             pinned_since = CASE WHEN $13 THEN COALESCE(pinned_since, $12) ELSE NULL END
         WHERE id = $1",
    )
    .bind(id)
    .bind(listing.name.as_str())
    .bind(listing.description.as_str())
    .bind(listing.logo_emoji.as_deref())
    .bind(Json(&listing.themes))
    .bind(Json(&listing.tools))
    .bind(Json(&listing.capabilities))
    .bind(listing.price_cents_per_hour)
    .bind(listing.max_sessions)
    .bind(listing.retry_policy.as_str())
    .bind(listing.webhook_url.as_deref())
    .bind(clock.now())
    .bind(listing.pin_sessions)
    .run()
    .await?;
    find(tx, id).await?.ok_or(Error::not_found("agent"))
}

/// Templates that meet a condition.
macro_rules! templates {
    ($condition:literal) => {
        concat!(
            "SELECT a.*, b.display_name AS builder_name,
                 COALESCE(p.payable, FALSE) AS payable FROM agents a
             JOIN builders b ON b.id = a.builder_id
             LEFT JOIN payees p ON p.builder_id = a.builder_id
             WHERE ",
            $condition
        )
    };
}

pub async fn find(tx: &mut Tx, id: AgentId) -> Result<Option<Template>> {
    let found = tx.query(templates!("a.id = $1 AND a.deleted_at IS NULL"));
    Ok(found.bind(id).optional().await?)
}

/// An error when the template was withdrawn. Ask after writing what hangs on it: then
/// whoever withdraws it meanwhile waits until that is committed, or was waited for.
pub async fn still_there(tx: &mut Tx, id: AgentId) -> Result<()> {
    let sql = "SELECT id FROM agents WHERE id = $1 AND deleted_at IS NULL";
    let found: Option<(AgentId,)> = tx.query(sql).bind(id).optional().await?;
    found.map(|_| ()).ok_or(Error::not_found("agent"))
}

/// Who is told of what concerns a template, also when it was withdrawn.
pub async fn builders_user(tx: &mut Tx, id: AgentId) -> Result<Option<UserId>> {
    let sql = "SELECT b.user_id FROM agents a JOIN builders b ON b.id = a.builder_id
               WHERE a.id = $1";
    let found: Option<(UserId,)> = tx.query(sql).bind(id).optional().await?;
    Ok(found.map(|(user,)| user))
}

/// The template, if it is this builder's; otherwise it does not exist.
pub async fn owned_by(tx: &mut Tx, id: AgentId, owner: BuilderId) -> Result<Template> {
    let found = find(tx, id).await?.filter(|template| template.builder_id == owner);
    found.ok_or(Error::not_found("agent"))
}

/// The builder's template, which nobody else changes meanwhile.
pub async fn to_change(tx: &mut Tx, id: AgentId, owner: BuilderId) -> Result<Template> {
    tx.query_locked("SELECT id FROM agents WHERE id = $1").bind(id).run().await?;
    owned_by(tx, id, owner).await
}

pub async fn of_builder(
    tx: &mut Tx,
    owner: BuilderId,
    before: Option<AgentId>,
    limit: i64,
) -> Result<Vec<Template>> {
    let found = tx.query(templates!(
        "a.builder_id = $1 AND a.deleted_at IS NULL AND ($2 IS NULL OR a.id < $2)
         ORDER BY a.id DESC LIMIT $3"
    ));
    Ok(found.bind(owner).bind(before).bind(limit).all().await?)
}

/// What a client looks for in the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub text: Option<String>,
    pub theme: Option<String>,
    pub tool: Option<String>,
}

/// Published templates, newest first.
pub async fn published(
    tx: &mut Tx,
    search: &Search,
    before: Option<AgentId>,
    limit: i64,
) -> Result<Vec<Template>> {
    let found = tx.query(templates!(
        "a.status = 'active' AND a.suspended_at IS NULL AND a.deleted_at IS NULL
           AND ($1 IS NULL OR a.id < $1)
           AND ($2 IS NULL OR LOWER(a.name || ' ' || a.description) LIKE LOWER($2) ESCAPE '!')
           AND ($3 IS NULL OR LOWER(CAST(a.themes AS TEXT)) LIKE LOWER($3) ESCAPE '!')
           AND ($4 IS NULL OR LOWER(CAST(a.tools AS TEXT)) LIKE LOWER($4) ESCAPE '!')
         ORDER BY a.id DESC LIMIT $5"
    ));
    // As it stands in the list, which is JSON.
    let listed =
        |tag: &Option<String>| tag.as_deref().map(|tag| containing(&json!(tag).to_string()));
    let found = found
        .bind(before)
        .bind(search.text.as_deref().map(containing))
        .bind(listed(&search.theme))
        .bind(listed(&search.tool))
        .bind(limit);
    Ok(found.all().await?)
}

/// Everybody's templates, newest first: for operators.
pub async fn all(
    tx: &mut Tx,
    text: Option<&str>,
    before: Option<AgentId>,
    limit: i64,
) -> Result<Vec<Template>> {
    let found = tx.query(templates!(
        "a.deleted_at IS NULL AND ($1 IS NULL OR a.id < $1)
           AND ($2 IS NULL OR LOWER(a.name) LIKE LOWER($2) ESCAPE '!')
         ORDER BY a.id DESC LIMIT $3"
    ));
    Ok(found.bind(before).bind(text.map(containing)).bind(limit).all().await?)
}

/// Lists the template, or says what is missing.
pub async fn publish(tx: &mut Tx, clock: &Clock, template: &Template) -> Result<()> {
    if let Some(blocker) = template.blockers().first() {
        let detail = match blocker {
            Blocker::NoWebhookUrl => "webhookUrl must be set before publishing",
            Blocker::NoActiveComponent => {
                "a component must be uploaded and activated before publishing"
            }
            Blocker::NoConnectAccount => {
                "tell the payment provider who is paid before publishing: POST \
                 /stripe/connect/onboard"
            }
        };
        return Err(Error::conflict(blocker.code(), detail));
    }
    set_status(tx, clock, template.id, "active").await
}

/// Takes the template off the list; sessions that run go on.
pub async fn unpublish(tx: &mut Tx, clock: &Clock, template: &Template) -> Result<()> {
    set_status(tx, clock, template.id, "draft").await
}

async fn set_status(tx: &mut Tx, clock: &Clock, id: AgentId, status: &str) -> Result<()> {
    let sql = "UPDATE agents SET status = $2, updated_at = $3
               WHERE id = $1 AND deleted_at IS NULL";
    let set = tx.query(sql).bind(id).bind(status).bind(clock.now());
    (set.run().await? > 0).then_some(()).ok_or(Error::not_found("agent"))
}
