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
    accounts::{self, SignUp, User, sign_ins, totp},
    error::{Error, Kind, Result},
    host::Host,
    storage::Tx,
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::AppendHeaders,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/auth/signup", post(sign_up))
        .route("/auth/login", post(log_in))
        .route("/auth/logout", post(log_out))
        .route("/me", get(me).patch(change_me))
        .route("/builder", post(become_builder).get(builder).patch(change_builder))
}

/// What tells a browser about its cookie.
type Cookie = AppendHeaders<Option<(HeaderName, HeaderValue)>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    name: String,
    company_name: Option<String>,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

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
    let (cookie, Json(answer)) = signed_in(&mut tx, &host, &user, &from, new.cookie).await?;
    let (status, answer) = once.commit(tx, StatusCode::CREATED, answer).await?;
    Ok((status, cookie, answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
    /// Of the second factor, where it is on.
    code: Option<String>,
    /// Keep the token in a cookie instead of telling it.
    #[serde(default)]
    cookie: bool,
}

async fn log_in(
    State(host): State<Host>,
    peer: Peer,
    SeenFrom(from): SeenFrom,
    Body(given): Body<Credentials>,
) -> Result<(Cookie, Json<Value>)> {
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
    let answer = signed_in(&mut tx, &host, &user, &from, given.cookie).await?;
    tx.commit().await?;
    Ok(answer)
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
) -> Result<(Cookie, Json<Value>)> {
    let token = sign_ins::begin(tx, &host.clock, user.id, from).await?;
    let company = accounts::company_of(tx, user.id).await?;
    let mut answer = json!({ "token": token, "user": user, "company": company });
    let mut cookie = None;
    if by_cookie {
        answer["token"] = Value::Null;
        cookie = cookies::keep(&token, host.is_encrypted());
    }
    let cookie = cookie.map(|value| (header::SET_COOKIE, value));
    Ok((AppendHeaders(cookie), Json(answer)))
}

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

async fn me(State(host): State<Host>, Caller(identity): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    shown(&mut tx, &identity).await
}

async fn shown(tx: &mut Tx, identity: &accounts::Identity) -> Result<Json<Value>> {
    let user = accounts::user(tx, identity.user_id).await?;
    let company = accounts::company_of(tx, identity.user_id).await?;
    let builder = accounts::builder_of(tx, identity.user_id).await?;
    let unmailed = accounts::unmailed(tx, identity.user_id).await?;
    let second_factor = totp::is_on(tx, identity.user_id).await?;
    Ok(Json(json!({
        "user": user, "company": company, "role": identity.role, "builder": builder,
        "unmailed": unmailed, "secondFactor": second_factor,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Me {
    #[serde(default, deserialize_with = "input::given")]
    name: Option<String>,
    /// Kinds of notifications that are not to be mailed.
    #[serde(default, deserialize_with = "input::given")]
    unmailed: Option<Vec<String>>,
}

/// Kinds of notifications that a user may not want by mail; more than there are.
const KINDS: usize = 50;

async fn change_me(
    State(host): State<Host>,
    Oneself(identity): Oneself,
    Body(change): Body<Me>,
) -> Result<Json<Value>> {
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
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    display_name: String,
}

async fn become_builder(
    State(host): State<Host>,
    Caller(identity): Caller,
    once: Once,
    Body(profile): Body<Profile>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = input::text("/displayName", &profile.display_name, 1..=200)?;
    let mut tx = host.db.write().await?;
    let builder = accounts::become_builder(&mut tx, &host.clock, identity.user_id, &name).await?;
    once.commit(tx, StatusCode::CREATED, json!(builder)).await
}

async fn builder(State(host): State<Host>, Caller(identity): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let builder = accounts::builder_of(&mut tx, identity.user_id).await?;
    Ok(Json(json!(builder.ok_or(Error::not_found("builder"))?)))
}

async fn change_builder(
    State(host): State<Host>,
    Builder(id): Builder,
    Body(profile): Body<Profile>,
) -> Result<Json<Value>> {
    let name = input::text("/displayName", &profile.display_name, 1..=200)?;
    let mut tx = host.db.write().await?;
    let builder = accounts::rename_builder(&mut tx, id, &name).await?;
    tx.commit().await?;
    Ok(Json(json!(builder)))
}
