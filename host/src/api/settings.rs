//! Config and secrets of an agent. A secret is written and never read back.

use super::{
    caller::Builder,
    input::{self, Body},
};
use crate::{
    catalog::{
        self,
        settings::{self, KEY_BYTES, VALUE_BYTES},
    },
    error::{Error, Result},
    host::Host,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
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
    let mut tx = host.db.write().await?;
    let template = catalog::owned_by(&mut tx, input::id(&id, "agent")?, owner).await?;
    let Setting { value, secret } = setting;
    settings::put(&mut tx, &host.clock, &host.key, template.id, &key, &value, secret).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
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
