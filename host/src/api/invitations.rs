//! Inviting people into one's company, and following an invitation.

use super::{
    accounts::signed_in,
    caller::{self, Admin},
    company,
    input::{self, Body, Params},
    once::Once,
    page::{self, Page},
    peer::SeenFrom,
};
use crate::{
    accounts::{
        self,
        invitations::{self, Inviter},
    },
    error::Result,
    host::Host,
    id::InvitationId,
};
use axum::{
    Json, Router,
    extract::{FromRequest, Path, Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/company/invitations", post(invite).get(list))
        .route("/company/invitations/{invitation}", delete(cancel))
        .route("/company/invitations/{invitation}/resend", post(resend))
        .route("/invitations/{token}", get(show))
        .route("/invitations/{token}/accept", post(accept))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    email: String,
    #[serde(default, deserialize_with = "input::given")]
    role: Option<String>,
}

async fn invite(
    State(host): State<Host>,
    Admin(caller): Admin,
    once: Once,
    Body(new): Body<New>,
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
async fn show(State(host): State<Host>, Path(token): Path<String>) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let invitation = invitations::look(&mut tx, host.clock.now(), &host.key, &token).await?;
    let company = accounts::company(&mut tx, invitation.company_id).await?;
    let known = accounts::by_email(&mut tx, &invitation.email).await?.is_some();
    Ok(Json(json!({
        "company": { "name": company.name, "logoUrl": company.logo_url },
        "email": invitation.email, "role": invitation.role,
        "expiresAt": invitation.expires_at, "hasAccount": known,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Newcomer {
    name: String,
    password: String,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

/// Signed in with the invited address, or with a name and a password to sign up with.
async fn accept(
    State(host): State<Host>,
    Path(token): Path<String>,
    SeenFrom(from): SeenFrom,
    once: Once,
    request: Request,
) -> Result<Response> {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    if caller::token(&Method::POST, &headers)?.is_some() {
        let caller = caller::identity(&host, &Method::POST, &path, &headers).await?;
        let mut tx = host.db.write().await?;
        let invitation = invitations::open(&mut tx, host.clock.now(), &host.key, &token).await?;
        let user = accounts::user(&mut tx, caller.user_id).await?;
        invitations::accept(&mut tx, &host.clock, &invitation, &user).await?;
        let company = accounts::company_of(&mut tx, user.id).await?;
        tx.commit().await?;
        return Ok(Json(json!({ "user": user, "company": company })).into_response());
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
    let Json(answer) = answer;
    let (status, answer) = once.commit(tx, StatusCode::CREATED, answer).await?;
    Ok((status, cookie, answer).into_response())
}
