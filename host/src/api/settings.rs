//! Config and secrets of an agent. A secret is written and never read back; one that
//! is bound to sites, not even by the component: the host sends it there.

use super::{
    caller::Builder,
    etag::{Seen, Tagged, tagged},
    input::{self, Body},
    page::{self, Listed},
};
use crate::{
    catalog::{
        self,
        settings::{self, KEY_BYTES, New, SITES, Setting, VALUE_BYTES},
    },
    error::{Error, Result},
    host::Host,
    id::AgentId,
    sandbox::Site,
    storage::Tx,
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, show, delete))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSetting {
    #[schema(max_length = 16_384)]
    value: String,
    /// It is written and never read back.
    #[serde(default)]
    secret: bool,
    /// Binds a secret to sites, such as `https://api.example.com` or `https://*.example.com`:
    /// the host sends it there, and the component never has it.
    #[schema(min_items = 1, max_items = 20, max_length = 300)]
    sites: Option<Vec<String>>,
}

/// Writes a line of an agent's config, or a secret. A key has 1 to 128 of a–z, A–Z, 0–9, `_`,
/// `-` and `.`; those that begin with `aiybiz.` are the platform's. An agent has at most 100
/// settings, each of at most 16 KiB.
#[utoipa::path(
    put, path = "/builder/agents/{agent}/config/{key}", request_body = NewSetting,
    responses(
        (status = 204),
        (status = 409, description = "too_many_settings"),
        (status = 412, description = "changed_since"),
    ),
)]
async fn set(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
    seen: Seen,
    Body(setting): Body<NewSetting>,
) -> Result<StatusCode> {
    if !well_formed(&key) {
        let why = format!("must have 1 to {KEY_BYTES} of a–z, A–Z, 0–9, _, - and .");
        return Err(Error::field("key", why));
    }
    if key.starts_with("aiybiz.") {
        return Err(Error::field("key", "must not begin with aiybiz., which is the platform's"));
    }
    if setting.value.len() > VALUE_BYTES {
        return Err(Error::field("/value", format!("must have at most {VALUE_BYTES} bytes")));
    }
    let NewSetting { value, secret, sites } = setting;
    let new = New { sites: bound(&value, secret, sites)?, value, secret };
    let mut tx = host.db.write().await?;
    let template = catalog::to_change(&mut tx, input::id(&id, "agent")?, owner).await?;
    seen.check_there(find(&mut tx, &host, template.id, &key).await?.as_ref())?;
    settings::put(&mut tx, &host.clock, &host.key, template.id, &key, &new).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The sites a secret is bound to, each in its one spelling.
fn bound(value: &str, secret: bool, sites: Option<Vec<String>>) -> Result<Vec<String>> {
    let Some(sites) = sites else { return Ok(Vec::new()) };
    if !secret {
        return Err(Error::field("/sites", "goes with \"secret\": true"));
    }
    if sites.is_empty() {
        let why = "names no site; leave it out for a secret that the component may read itself";
        return Err(Error::field("/sites", why));
    }
    if sites.len() > SITES {
        return Err(Error::field("/sites", format!("must have at most {SITES} entries")));
    }
    if HeaderValue::from_str(value).is_err() {
        let why = "is to stand in a header, so it must have no line breaks or control characters";
        return Err(Error::field("/value", why));
    }
    let mut kept = Vec::new();
    for (n, site) in sites.iter().enumerate() {
        let site = Site::parse(site).map_err(|why| Error::field(&format!("/sites/{n}"), why))?;
        kept.push(site.to_string());
    }
    Ok(kept)
}

fn well_formed(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=KEY_BYTES).contains(&key.len()) && key.chars().all(plain)
}

/// Lists an agent's config and secrets, by their keys, all on one page. Of a secret the value
/// is not shown.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/config",
    responses((status = 200, body = Listed<Setting>)),
)]
async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let all = settings::list(&mut tx, &host.key, template.id).await?;
    Ok(page::of(&all, false, |setting| setting.key.clone(), |setting| json!(setting)))
}

/// Shows a setting, of a secret without its value.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/config/{key}",
    responses((status = 200, body = Setting, headers(("ETag" = String)))),
)]
async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
) -> Result<Tagged<Setting>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let found = find(&mut tx, &host, template.id, &key).await?;
    tagged(found.ok_or(Error::not_found("setting"))?)
}

async fn find(tx: &mut Tx, host: &Host, agent: AgentId, key: &str) -> Result<Option<Setting>> {
    let all = settings::list(tx, &host.key, agent).await?;
    Ok(all.into_iter().find(|setting| setting.key == key))
}

/// Deletes a setting.
#[utoipa::path(
    delete, path = "/builder/agents/{agent}/config/{key}",
    responses((status = 204), (status = 412, description = "changed_since")),
)]
async fn delete(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
    seen: Seen,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    let template = catalog::to_change(&mut tx, input::id(&id, "agent")?, owner).await?;
    seen.check_there(find(&mut tx, &host, template.id, &key).await?.as_ref())?;
    if !well_formed(&key) || !settings::delete(&mut tx, template.id, &key).await? {
        return Err(Error::not_found("setting"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
