//! Companies and users, as operators see them; suspending a company.

use crate::{
    accounts::{
        self,
        overview::{self, CompanyRow, UserRow},
        totp,
    },
    api::{
        caller::Operator,
        input::{self, Params},
        page::{self, Listed, Page},
    },
    audit::{self, Decision},
    billing::wallet::{self, Wallet},
    error::Result,
    host::Host,
    id::{CompanyId, UserId},
    storage,
    work::suspended,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(companies))
        .routes(routes!(company))
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(users))
        .routes(routes!(turn_off))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Search {
    /// What a name or a mail address holds, in capitals or not.
    q: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists companies, newest first.
///
/// With `q`, those whose name, or the address of one of whose members, holds it.
#[utoipa::path(
    get, path = "/admin/companies", params(Search),
    responses((status = 200, body = Listed<CompanyRow>)),
)]
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

/// A company, with its wallet.
#[derive(Serialize, ToSchema)]
struct CompanyWithWallet {
    #[serde(flatten)]
    row: CompanyRow,
    wallet: Wallet,
}

/// Shows a company, with its wallet.
#[utoipa::path(
    get, path = "/admin/companies/{company}",
    responses((status = 200, body = CompanyWithWallet)),
)]
async fn company(
    State(host): State<Host>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Json<CompanyWithWallet>> {
    let id = input::id(&id, "company")?;
    let mut tx = host.db.read().await?;
    let row = overview::company(&mut tx, id).await?;
    let wallet = wallet::of(&mut tx, id).await?;
    Ok(Json(CompanyWithWallet { row, wallet }))
}

/// Suspends a company.
///
/// It may look and change nothing, and its sessions end. Doing so again changes nothing.
#[utoipa::path(
    post, path = "/admin/companies/{company}/suspend",
    responses((status = 200, body = CompanyRow)),
)]
async fn suspend(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<CompanyRow>> {
    let answer = set(&host, operator, &id, true).await?;
    suspended::begin(&host);
    Ok(answer)
}

/// Lets a company that was suspended go on.
///
/// Doing so again changes nothing.
#[utoipa::path(
    post, path = "/admin/companies/{company}/resume", responses((status = 200, body = CompanyRow)),
)]
async fn resume(
    State(host): State<Host>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<CompanyRow>> {
    set(&host, operator, &id, false).await
}

async fn set(
    host: &Host,
    Operator(operator): Operator,
    id: &str,
    suspend: bool,
) -> Result<Json<CompanyRow>> {
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
    Ok(Json(shown))
}

/// Lists users, newest first.
///
/// With `q`, those whose name or address holds it.
#[utoipa::path(
    get, path = "/admin/users", params(Search), responses((status = 200, body = Listed<UserRow>)),
)]
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

/// Turns off a user's second factor.
///
/// For one who has lost it, and the codes on paper too. He is told by mail.
#[utoipa::path(delete, path = "/admin/users/{user}/second-factor", responses((status = 204)))]
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
