//! Signing up, in and out; who am I; becoming a builder.

use super::{
    caller::{Builder, Caller, Oneself},
    cookies,
    input::{self, Body},
    once::Once,
    peer::{Peer, SeenFrom},
    rate,
};
use crate::{
    accounts::{self, Company, SignUp, User, sign_ins, totp},
    error::{Error, Kind, Result},
    host::Host,
    storage::Tx,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::AppendHeaders,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(log_out))
        .routes(routes!(me, change_me))
        .routes(routes!(become_builder, builder, change_builder))
}

/// What tells a browser about its cookie.
type Cookie = AppendHeaders<Option<(HeaderName, HeaderValue)>>;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(format = "password", min_length = 8, max_length = 256)]
    password: String,
    /// One line.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// One line; the user's name, when it is left out.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    company_name: Option<String>,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

/// A sign-in that has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedIn {
    /// Good for 30 days. Null when it is kept in a cookie.
    token: Option<String>,
    user: User,
    company: Company,
}

/// Signs up: makes a user, and a company whose admin the user is.
///
/// The user is signed in at once.
#[utoipa::path(
    post, path = "/auth/signup", security(()), request_body = NewUser,
    responses(
        (status = 201, body = SignedIn),
        (status = 409, description = "email_taken"),
        (status = 429, description = "too_many_sign_ups"),
    ),
)]
async fn sign_up(
    State(host): State<Host>,
    peer: Peer,
    SeenFrom(from): SeenFrom,
    once: Once,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Cookie, Json<Value>)> {
    let (rate, peer) = (&host.pace.sign_ups, peer.counted());
    rate::check(rate, &peer, "too_many_sign_ups", "sign-ups from one address")?;
    let email = accounts::email(&new.email)?;
    let name = input::name("/name", &new.name)?;
    let company = match &new.company_name {
        Some(company) => input::name("/companyName", company)?,
        None => name.clone(),
    };
    let password_hash = host.passwords.hash("/password", new.password).await?;
    let mut tx = host.db.write().await?;
    let user = SignUp { email, name, company, password_hash };
    let user = accounts::sign_up(&mut tx, &host.clock, user).await?;
    let (cookie, answer) = signed_in(&mut tx, &host, &user, &from, new.cookie).await?;
    let (status, answer) = once.commit(tx, StatusCode::CREATED, json!(answer)).await?;
    Ok((status, cookie, answer))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(format = "password")]
    password: String,
    /// Of the second factor, where it is on; or a recovery code.
    #[schema(examples("123456"))]
    code: Option<String>,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

/// Signs in with a mail address and a password.
///
/// Where the second factor is on, `code` is needed as well: without it the answer is
/// `code_required`. A code is good once. Tries are counted by account and by address.
#[utoipa::path(
    post, path = "/auth/login", security(()), request_body = Credentials,
    responses(
        (status = 200, body = SignedIn),
        (status = 401, description = "unauthenticated, code_required, code_wrong"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn log_in(
    State(host): State<Host>,
    peer: Peer,
    SeenFrom(from): SeenFrom,
    Body(given): Body<Credentials>,
) -> Result<(Cookie, Json<SignedIn>)> {
    let (rate, peer) = (&host.pace.sign_ins_from, peer.counted());
    rate::check(rate, &peer, "too_many_sign_ins", "tries from one address")?;
    let found = match accounts::email(&given.email) {
        Ok(email) => {
            // Known or not: what is counted says nothing of it.
            let rate = &host.pace.sign_ins;
            rate::check(rate, &email, "too_many_sign_ins", "tries to sign in to one account")?;
            accounts::by_email(&mut host.db.read().await?, &email).await?
        }
        // Nobody has signed up with what is no address.
        Err(_) => None,
    };
    let refused = || Error::unauthenticated("the mail address or the password is wrong");
    let (user, hash) = found.unzip();
    if !host.passwords.verify(given.password, hash).await? {
        return Err(refused());
    }
    let user = user.ok_or_else(refused)?;
    let mut tx = host.db.write().await?;
    second_factor(&mut tx, &host, &user, given.code.as_deref()).await?;
    let (cookie, answer) = signed_in(&mut tx, &host, &user, &from, given.cookie).await?;
    tx.commit().await?;
    Ok((cookie, Json(answer)))
}

async fn second_factor(tx: &mut Tx, host: &Host, user: &User, code: Option<&str>) -> Result<()> {
    if !totp::is_on(tx, user.id).await? {
        return Ok(());
    }
    let refused = |code, detail| Err(Error::new(Kind::Unauthenticated, code, detail));
    let Some(code) = code else {
        return refused("code_required", "this account has a second factor: send its code as well");
    };
    if !totp::check(tx, &host.clock, &host.key, user.id, code).await? {
        return refused("code_wrong", "the code is wrong, too old, or was used");
    }
    Ok(())
}

/// Signs the user in, and shows him who he is.
pub(super) async fn signed_in(
    tx: &mut Tx,
    host: &Host,
    user: &User,
    from: &sign_ins::From,
    by_cookie: bool,
) -> Result<(Cookie, SignedIn)> {
    let token = sign_ins::begin(tx, &host.clock, user.id, from).await?;
    let company = accounts::company_of(tx, user.id).await?;
    let cookie = by_cookie.then(|| cookies::keep(&token, host.is_encrypted())).flatten();
    let cookie = cookie.map(|value| (header::SET_COOKIE, value));
    let token = (!by_cookie).then_some(token);
    Ok((AppendHeaders(cookie), SignedIn { token, user: user.clone(), company }))
}

/// Signs out: the token is good for nothing any more, and a browser forgets its cookie.
#[utoipa::path(
    post, path = "/auth/logout",
    responses((status = 204), (status = 404, description = "not_found")),
)]
async fn log_out(
    State(host): State<Host>,
    Oneself(identity): Oneself,
) -> Result<(StatusCode, Cookie)> {
    let mut tx = host.db.write().await?;
    if let Some(id) = identity.sign_in() {
        sign_ins::end(&mut tx, identity.user_id, id).await?;
    }
    tx.commit().await?;
    let cookie = cookies::forget(host.is_encrypted()).map(|value| (header::SET_COOKIE, value));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(cookie)))
}

/// Who is signed in, or whose key it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    user: User,
    company: Company,
    /// In the company: `admin` or `member`.
    role: String,
    /// Null for one who is no builder.
    builder: Option<accounts::Builder>,
    /// Kinds of notifications that are not mailed.
    unmailed: Vec<String>,
    /// The second factor is on.
    second_factor: bool,
}

/// Shows who one is: the user, the company and one's role in it.
#[utoipa::path(get, path = "/me", responses((status = 200, body = Me)))]
async fn me(State(host): State<Host>, Caller(identity): Caller) -> Result<Json<Me>> {
    let mut tx = host.db.read().await?;
    Ok(Json(shown(&mut tx, &identity).await?))
}

async fn shown(tx: &mut Tx, identity: &accounts::Identity) -> Result<Me> {
    let user = accounts::user(tx, identity.user_id).await?;
    let company = accounts::company_of(tx, identity.user_id).await?;
    let builder = accounts::builder_of(tx, identity.user_id).await?;
    let unmailed = accounts::unmailed(tx, identity.user_id).await?;
    let second_factor = totp::is_on(tx, identity.user_id).await?;
    let role = identity.role.clone();
    Ok(Me { user, company, role, builder, unmailed, second_factor })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MeChange {
    /// One line.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// Kinds of notifications that are not to be mailed.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(
        nullable = false,
        max_items = 50,
        pattern = "^(low_balance|payment_failed|session_ended|webhook_disabled)$"
    )]
    unmailed: Option<Vec<String>>,
}

/// Kinds of notifications that a user may not want by mail; more than there are.
const KINDS: usize = 50;

/// Changes one's name, and what one is not sent by mail.
#[utoipa::path(patch, path = "/me", request_body = MeChange, responses((status = 200, body = Me)))]
async fn change_me(
    State(host): State<Host>,
    Oneself(identity): Oneself,
    Body(change): Body<MeChange>,
) -> Result<Json<Me>> {
    let mut tx = host.db.write().await?;
    if let Some(name) = change.name {
        accounts::rename(&mut tx, identity.user_id, &input::name("/name", &name)?).await?;
    }
    if let Some(unmailed) = change.unmailed {
        let odd = |kind: &String| !crate::notifications::KINDS.contains(&kind.as_str());
        if let Some(place) = unmailed.iter().position(odd) {
            let kinds = crate::notifications::KINDS.join(", ");
            return Err(Error::field(&format!("/unmailed/{place}"), format!("is none of {kinds}")));
        }
        if unmailed.len() > KINDS {
            return Err(Error::field("/unmailed", format!("has more than {KINDS}")));
        }
        accounts::set_unmailed(&mut tx, identity.user_id, &unmailed).await?;
    }
    let answer = shown(&mut tx, &identity).await?;
    tx.commit().await?;
    Ok(Json(answer))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BuilderProfile {
    /// What clients read beside the builder's agents.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    display_name: String,
}

/// Makes the user a builder, who may publish agents.
#[utoipa::path(
    post, path = "/builder", security(("user" = [])), request_body = BuilderProfile,
    responses(
        (status = 201, body = accounts::Builder),
        (status = 409, description = "already_builder"),
    ),
)]
async fn become_builder(
    State(host): State<Host>,
    Caller(identity): Caller,
    once: Once,
    Body(profile): Body<BuilderProfile>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = input::text("/displayName", &profile.display_name, 1..=200)?;
    let mut tx = host.db.write().await?;
    let builder = accounts::become_builder(&mut tx, &host.clock, identity.user_id, &name).await?;
    once.commit(tx, StatusCode::CREATED, json!(builder)).await
}

/// Shows the builder that the user is; 404 for one who is none.
#[utoipa::path(
    get, path = "/builder", security(("user" = [])),
    responses(
        (status = 200, body = accounts::Builder),
        (status = 404, description = "not_found"),
    ),
)]
async fn builder(
    State(host): State<Host>,
    Caller(identity): Caller,
) -> Result<Json<accounts::Builder>> {
    let mut tx = host.db.read().await?;
    let builder = accounts::builder_of(&mut tx, identity.user_id).await?;
    Ok(Json(builder.ok_or(Error::not_found("builder"))?))
}

/// Changes what clients read of the builder.
#[utoipa::path(
    patch, path = "/builder", request_body = BuilderProfile,
    responses((status = 200, body = accounts::Builder)),
)]
async fn change_builder(
    State(host): State<Host>,
    Builder(id): Builder,
    Body(profile): Body<BuilderProfile>,
) -> Result<Json<accounts::Builder>> {
    let name = input::text("/displayName", &profile.display_name, 1..=200)?;
    let mut tx = host.db.write().await?;
    let builder = accounts::rename_builder(&mut tx, id, &name).await?;
    tx.commit().await?;
    Ok(Json(builder))
}
