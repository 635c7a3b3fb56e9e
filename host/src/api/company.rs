//! The company: what it says of itself, and who is in it.

use super::{
    caller::{Admin, Caller},
    etag::{Seen, Tagged, tagged},
    input::{self, Body, Params},
    page::{self, Listed, Page},
};
use crate::{
    accounts::{
        self, Company,
        members::{self, Member},
    },
    error::{Error, Result},
    host::Host,
    id::MemberId,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(company, change_company))
        .routes(routes!(list))
        .routes(routes!(set_role, remove))
}

/// Shows the caller's company.
#[utoipa::path(
    get, path = "/company", responses((status = 200, body = Company, headers(("ETag" = String)))),
)]
async fn company(State(host): State<Host>, Caller(caller): Caller) -> Result<Tagged<Company>> {
    let mut tx = host.db.look().await?;
    let company = accounts::company(&mut tx, caller.company_id).await?;
    tagged(company)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompanyChange {
    /// One line.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// An https address of at most 2000 bytes; null for none.
    #[serde(default, deserialize_with = "input::nullable")]
    #[schema(
        value_type = Option<String>,
        max_length = 2000,
        pattern = r"^https://\S+$",
        examples("https://example.com/logo.png")
    )]
    logo_url: Option<Option<String>>,
    /// How its next sessions are paid.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, pattern = "^(wallet|subscription)$")]
    billing_model: Option<String>,
}

/// Changes what the company says of itself, and how it pays.
///
/// What is changed of how it pays goes for sessions that begin later.
#[utoipa::path(
    patch, path = "/company", security(("user" = ["admin"])), request_body = CompanyChange,
    responses(
        (status = 200, body = Company, headers(("ETag" = String))),
        (status = 412, description = "changed_since"),
    ),
)]
async fn change_company(
    State(host): State<Host>,
    Admin(caller): Admin,
    seen: Seen,
    Body(change): Body<CompanyChange>,
) -> Result<Tagged<Company>> {
    let mut tx = host.db.write().await?;
    let mut company = accounts::company_to_change(&mut tx, caller.company_id).await?;
    seen.check(&company)?;
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
    tagged(company)
}

fn is_https(text: &str) -> bool {
    text.len() <= 2_000 && url::Url::parse(text).is_ok_and(|url| url.scheme() == "https")
}

/// Lists the company's members, newest first.
#[utoipa::path(
    get, path = "/company/members", params(Page), responses((status = 200, body = Listed<Member>)),
)]
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleChange {
    #[schema(pattern = "^(admin|member)$")]
    role: String,
}

/// Makes a member an admin, or an admin a member.
///
/// A company has an admin at any time: the last one stays.
#[utoipa::path(
    patch, path = "/company/members/{member}", security(("user" = ["admin"])),
    request_body = RoleChange,
    responses((status = 200, body = Member), (status = 409, description = "last_admin")),
)]
async fn set_role(
    State(host): State<Host>,
    Admin(caller): Admin,
    Path(id): Path<String>,
    Body(change): Body<RoleChange>,
) -> Result<Json<Member>> {
    let id = input::id(&id, "member")?;
    let role = role("/role", &change.role)?;
    let mut tx = host.db.write().await?;
    let member = members::set_role(&mut tx, caller.company_id, id, role).await?;
    tx.commit().await?;
    Ok(Json(member))
}

pub(super) fn role(pointer: &str, text: &str) -> Result<&'static str> {
    match text {
        "admin" => Ok("admin"),
        "member" => Ok("member"),
        _ => Err(Error::field(pointer, "must be admin or member")),
    }
}

/// Removes a member.
///
/// An admin removes anybody; everybody may leave. Who is removed has a company of his own
/// again, has to sign in again, and his API keys are deleted. His sessions go on: they are
/// the company's.
#[utoipa::path(
    delete, path = "/company/members/{member}",
    responses(
        (status = 204),
        (status = 403, description = "not_an_admin"),
        (status = 409, description = "last_admin"),
    ),
)]
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
