//! Config and secrets of an agent. A secret is written and never read back; one that
//! is bound to sites, not even by the component: the host sends it there.

use super::{
    caller::Builder,
    input::{self, Body},
};
use crate::{
    catalog::{
        self,
        settings::{self, KEY_BYTES, New, SITES, VALUE_BYTES},
    },
    error::{Error, Result},
    host::Host,
    sandbox::Site,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode},
    routing::{get, put},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents/{agent}/config", get(list))
        .route("/builder/agents/{agent}/config/{key}", put(set).get(show).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    value: String,
    #[serde(default)]
    secret: bool,
    sites: Option<Vec<String>>,
}

async fn set(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
    Body(setting): Body<Setting>,
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
    let Setting { value, secret, sites } = setting;
    let new = New { sites: bound(&value, secret, sites)?, value, secret };
    let mut tx = host.db.write().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
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

async fn list(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let all = settings::list(&mut tx, &host.key, template.id).await?;
    Ok(Json(json!({ "data": all, "nextCursor": null })))
}

async fn show(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let all = settings::list(&mut tx, &host.key, template.id).await?;
    let found = all.into_iter().find(|setting| setting.key == key);
    Ok(Json(json!(found.ok_or(Error::not_found("setting"))?)))
}

async fn delete(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path((id, key)): Path<(String, String)>,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    if !well_formed(&key) || !settings::delete(&mut tx, template.id, &key).await? {
        return Err(Error::not_found("setting"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
