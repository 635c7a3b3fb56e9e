//! The company: what it says of itself, and who is in it.

use super::{
    caller::{Admin, Caller},
    input::{self, Body, Params},
    page::{self, Page},
};
use crate::{
    accounts::{self, members},
    error::{Error, Result},
    host::Host,
    id::MemberId,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, patch},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/company", get(company).patch(change_company))
        .route("/company/members", get(list))
        .route("/company/members/{member}", patch(set_role).delete(remove))
}

async fn company(State(host): State<Host>, Caller(caller): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    Ok(Json(json!(accounts::company(&mut tx, caller.company_id).await?)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompanyChange {
    #[serde(default, deserialize_with = "input::given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "input::nullable")]
    logo_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::given")]
    billing_model: Option<String>,
}

/// What is changed of how it pays goes for sessions that begin later.
async fn change_company(
    State(host): State<Host>,
    Admin(caller): Admin,
    Body(change): Body<CompanyChange>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let mut company = accounts::company_to_change(&mut tx, caller.company_id).await?;
    if let Some(name) = change.name {
        company.name = input::name("/name", &name)?;
    }
    if let Some(logo) = change.logo_url {
        if logo.as_deref().is_some_and(|logo| !is_https(logo)) {
            return Err(Error::field("/logoUrl", "must be an https address of at most 2000 bytes"));
        }
        company.logo_url = logo;
    }
    if let Some(model) = change.billing_model {
        if !["wallet", "subscription"].contains(&&*model) {
            return Err(Error::field("/billingModel", "must be wallet or subscription"));
        }
        company.billing_model = model;
    }
    accounts::change_company(&mut tx, &company).await?;
    tx.commit().await?;
    Ok(Json(json!(company)))
}

fn is_https(text: &str) -> bool {
    text.len() <= 2_000 && url::Url::parse(text).is_ok_and(|url| url.scheme() == "https")
}

async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<MemberId>()?);
    let mut tx = host.db.look().await?;
    let found = members::list(&mut tx, caller.company_id, before, limit + 1).await?;
    Ok(page::answer(found, limit, |member| member.id.to_string(), |member| json!(member)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    role: String,
}

async fn set_role(
    State(host): State<Host>,
    Admin(caller): Admin,
    Path(id): Path<String>,
    Body(change): Body<Role>,
) -> Result<Json<Value>> {
    let id = input::id(&id, "member")?;
    let role = role("/role", &change.role)?;
    let mut tx = host.db.write().await?;
    let member = members::set_role(&mut tx, caller.company_id, id, role).await?;
    tx.commit().await?;
    Ok(Json(json!(member)))
}

pub(super) fn role(pointer: &str, text: &str) -> Result<&'static str> {
    match text {
        "admin" => Ok("admin"),
        "member" => Ok("member"),
        _ => Err(Error::field(pointer, "must be admin or member")),
    }
}

/// An admin removes anybody; everybody may leave. His sessions go on: they are the
/// company's.
async fn remove(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = input::id::<MemberId>(&id, "member")?;
    if !caller.is_admin() && id != caller.member_id {
        return Err(Error::forbidden("not_an_admin", "this is for the company's admins"));
    }
    let mut tx = host.db.write().await?;
    members::remove(&mut tx, &host.clock, caller.company_id, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
