//! Inviting people into one's company, and following an invitation.

use super::{
    accounts::{SignedIn, signed_in},
    caller::{self, Admin},
    company,
    input::{self, Body, Params},
    once::Once,
    page::{self, Listed, Page},
    peer::SeenFrom,
};
use crate::{
    accounts::{
        self, Company, User,
        invitations::{self, Invitation, Inviter},
    },
    error::Result,
    host::Host,
    id::InvitationId,
    timestamp::Timestamp,
};
use axum::{
    Json,
    extract::{FromRequest, Path, Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(invite, list))
        .routes(routes!(cancel))
        .routes(routes!(resend))
        .routes(routes!(show))
        .routes(routes!(accept))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvitation {
    #[schema(format = "email", max_length = 254)]
    email: String,
    /// `member`, when it is left out.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, pattern = "^(admin|member)$")]
    role: Option<String>,
}

/// Invites somebody to become a member of the company.
///
/// A link is mailed to the address; it is good for seven days. At most 200 invitations of a
/// company are pending.
#[utoipa::path(
    post, path = "/company/invitations", security(("user" = ["admin"])),
    request_body = NewInvitation,
    responses(
        (status = 201, body = Invitation),
        (status = 409, description = "already_a_member, already_invited, too_many_invitations"),
    ),
)]
async fn invite(
    State(host): State<Host>,
    Admin(caller): Admin,
    once: Once,
    Body(new): Body<NewInvitation>,
) -> Result<(StatusCode, Json<Value>)> {
    let email = accounts::email(&new.email)?;
    let role = company::role("/role", new.role.as_deref().unwrap_or("member"))?;
    let mut tx = host.db.write().await?;
    let name = accounts::user(&mut tx, caller.user_id).await?.name;
    let by = Inviter { company: caller.company_id, user: caller.user_id, name: &name };
    let made = invitations::invite(&mut tx, &host.clock, &by, &email, role).await?;
    let answer = once.commit(tx, StatusCode::CREATED, json!(made)).await?;
    host.posted.notify_one();
    Ok(answer)
}

/// Lists the company's invitations, newest first.
#[utoipa::path(
    get, path = "/company/invitations", security(("user" = ["admin"])), params(Page),
    responses((status = 200, body = Listed<Invitation>)),
)]
async fn list(
    State(host): State<Host>,
    Admin(caller): Admin,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<InvitationId>()?);
    let (mut tx, now) = (host.db.look().await?, host.clock.now());
    let found = invitations::list(&mut tx, now, caller.company_id, before, limit + 1).await?;
    Ok(page::answer(found, limit, |it| it.id.to_string(), |it| json!(it)))
}

/// Cancels an invitation: its link is good for nothing any more.
///
/// Cancelling twice changes nothing; one that was accepted cannot be cancelled.
#[utoipa::path(
    delete, path = "/company/invitations/{invitation}", security(("user" = ["admin"])),
    responses((status = 204), (status = 409, description = "invitation_over")),
)]
async fn cancel(
    State(host): State<Host>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = input::id(&id, "invitation")?;
    let mut tx = host.db.write().await?;
    invitations::cancel(&mut tx, caller.company_id, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mails a new link for an invitation.
///
/// It is good for seven days; the link before is good for nothing any more.
#[utoipa::path(
    post, path = "/company/invitations/{invitation}/resend", security(("user" = ["admin"])),
    responses((status = 200, body = Invitation), (status = 409, description = "invitation_over")),
)]
async fn resend(
    State(host): State<Host>,
    Admin(caller): Admin,
    Path(id): Path<String>,
    once: Once,
) -> Result<(StatusCode, Json<Value>)> {
    let id = input::id(&id, "invitation")?;
    let mut tx = host.db.write().await?;
    let name = accounts::user(&mut tx, caller.user_id).await?.name;
    let by = Inviter { company: caller.company_id, user: caller.user_id, name: &name };
    let sent = invitations::resend(&mut tx, &host.clock, &by, id).await?;
    let answer = once.commit(tx, StatusCode::OK, json!(sent)).await?;
    host.posted.notify_one();
    Ok(answer)
}

/// What the one who holds the link is shown before he accepts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Invited {
    company: InvitingCompany,
    /// Whom it is for.
    email: String,
    /// What he becomes: `admin` or `member`.
    role: String,
    expires_at: Timestamp,
    /// There is an account with this address: sign in, and accept then.
    has_account: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvitingCompany {
    name: String,
    logo_url: Option<String>,
}

/// Shows an invitation to the one who holds its link, before he accepts.
#[utoipa::path(
    get, path = "/invitations/{token}", security(()),
    responses(
        (status = 200, body = Invited),
        (status = 404, description = "not_found"),
        (
            status = 410,
            description = "invitation_used, invitation_cancelled, invitation_replaced, \
                invitation_expired"
        ),
    ),
)]
async fn show(State(host): State<Host>, Path(token): Path<String>) -> Result<Json<Invited>> {
    let mut tx = host.db.read().await?;
    let invitation = invitations::look(&mut tx, host.clock.now(), &host.key, &token).await?;
    let company = accounts::company(&mut tx, invitation.company_id).await?;
    let known = accounts::by_email(&mut tx, &invitation.email).await?.is_some();
    Ok(Json(Invited {
        company: InvitingCompany { name: company.name, logo_url: company.logo_url },
        email: invitation.email,
        role: invitation.role,
        expires_at: invitation.expires_at,
        has_account: known,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Newcomer {
    /// One line; not for one who is signed in.
    #[schema(
        required = false,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    #[schema(required = false, format = "password", min_length = 8, max_length = 256)]
    password: String,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

/// An invitation that a user has accepted.
#[derive(Serialize, ToSchema)]
struct Accepted {
    user: User,
    company: Company,
}

/// Accepts an invitation.
///
/// Either signed in with the invited address, with a token or a cookie and without a body:
/// 200. Or with a name and a password to sign up with: 201, and signed in at once. Who is
/// signed in leaves his own company, in which nothing may have happened yet, and his API
/// keys are deleted.
#[utoipa::path(
    post, path = "/invitations/{token}/accept", security(()), request_body = Option<Newcomer>,
    responses(
        (status = 200, body = Accepted),
        (status = 201, body = SignedIn),
        (status = 401, description = "unauthenticated"),
        (
            status = 403,
            description = "another_address, company_suspended, cross_site, not_with_a_key"
        ),
        (status = 404, description = "not_found"),
        (status = 409, description = "company_in_use, email_taken, sign_in_first"),
        (
            status = 410,
            description = "invitation_used, invitation_cancelled, invitation_replaced, \
                invitation_expired"
        ),
    ),
)]
async fn accept(
    State(host): State<Host>,
    Path(token): Path<String>,
    SeenFrom(from): SeenFrom,
    once: Once,
    request: Request,
) -> Result<Response> {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    if caller::token(&host, &Method::POST, &headers)?.is_some() {
        let caller = caller::identity(&host, &Method::POST, &path, &headers).await?;
        let mut tx = host.db.write().await?;
        let invitation = invitations::open(&mut tx, host.clock.now(), &host.key, &token).await?;
        let user = accounts::user(&mut tx, caller.user_id).await?;
        invitations::accept(&mut tx, &host.clock, &invitation, &user).await?;
        let company = accounts::company_of(&mut tx, user.id).await?;
        tx.commit().await?;
        return Ok(Json(Accepted { user, company }).into_response());
    }
    // Before a password is hashed for nothing.
    let mut looking = host.db.read().await?;
    invitations::look(&mut looking, host.clock.now(), &host.key, &token).await?;
    drop(looking);
    let Body(new) = Body::<Newcomer>::from_request(request, &host).await?;
    let name = input::name("/name", &new.name)?;
    let hash = host.passwords.hash("/password", new.password).await?;
    let mut tx = host.db.write().await?;
    let invitation = invitations::open(&mut tx, host.clock.now(), &host.key, &token).await?;
    let user = invitations::join(&mut tx, &host.clock, &invitation, name, hash).await?;
    let (cookie, answer) = signed_in(&mut tx, &host, &user, &from, new.cookie).await?;
    let (status, answer) = once.commit(tx, StatusCode::CREATED, json!(answer)).await?;
    Ok((status, cookie, answer).into_response())
}
