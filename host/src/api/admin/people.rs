//! Companies and users, as operators see them; suspending a company.

use crate::{
    accounts::{self, overview, totp},
    api::{
        caller::Operator,
        input::{self, Params},
        page::{self, Page},
    },
    audit::{self, Decision},
    billing::wallet,
    error::Result,
    host::Host,
    id::{CompanyId, UserId},
    storage,
    work::suspended,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/admin/companies", get(companies))
        .route("/admin/companies/{company}", get(company))
        .route("/admin/companies/{company}/suspend", post(suspend))
        .route("/admin/companies/{company}/resume", post(resume))
        .route("/admin/users", get(users))
        .route("/admin/users/{user}/second-factor", delete(turn_off))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    q: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn companies(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<CompanyId>()?);
    let pattern = search.q.as_deref().map(storage::containing);
    let mut tx = host.db.look().await?;
    let found = overview::companies(&mut tx, pattern.as_deref(), before, limit + 1).await?;
    Ok(page::answer(found, limit, |row| row.company.id.to_string(), |row| json!(row)))
}

/// With its wallet.
async fn company(
    State(host): State<Host>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "company")?;
    let mut tx = host.db.read().await?;
    let mut shown = json!(overview::company(&mut tx, id).await?);
    shown["wallet"] = json!(wallet::of(&mut tx, id).await?);
    Ok(Json(shown))
}

/// It may look and change nothing, and its sessions end. Doing so again changes nothing.
async fn suspend(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let answer = set(&host, operator, &id, true).await?;
    suspended::begin(&host);
    Ok(answer)
}

async fn resume(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    set(&host, operator, &id, false).await
}

async fn set(
    host: &Host,
    Operator(operator): Operator,
    id: &str,
    suspend: bool,
) -> Result<Json<Value>> {
    let id = input::id::<CompanyId>(id, "company")?;
    let mut tx = host.db.write().await?;
    let since = suspend.then(|| host.clock.now());
    if overview::suspend(&mut tx, id, since).await? {
        let decision = Decision {
            actor: Some(operator.user_id),
            action: if suspend { "company.suspended" } else { "company.resumed" },
            target: &format!("company/{id}"),
            before: json!({ "suspended": !suspend }),
            after: json!({ "suspended": suspend }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
    }
    let shown = overview::company(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(json!(shown)))
}

async fn users(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<UserId>()?);
    let pattern = search.q.as_deref().map(storage::containing);
    let mut tx = host.db.look().await?;
    let found = overview::users(&mut tx, pattern.as_deref(), before, limit + 1).await?;
    Ok(page::answer(found, limit, |row| row.id.to_string(), |row| json!(row)))
}

/// For one who has lost it, and the codes on paper too.
async fn turn_off(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = input::id::<UserId>(&id, "user")?;
    let mut tx = host.db.write().await?;
    accounts::user(&mut tx, id).await?;
    if totp::is_on(&mut tx, id).await? {
        totp::turn_off(&mut tx, &host.clock, id).await?;
        let decision = Decision {
            actor: Some(operator.user_id),
            action: "user.second_factor_off",
            target: &format!("user/{id}"),
            before: json!({ "secondFactor": true }),
            after: json!({ "secondFactor": false }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
    }
    tx.commit().await?;
    host.posted.notify_one();
    Ok(StatusCode::NO_CONTENT)
}
