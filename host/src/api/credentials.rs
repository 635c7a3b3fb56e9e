//! What a user signs in with, and where he is signed in.

use super::{
    caller::Oneself,
    input::{self, Body},
    peer::Peer,
    rate,
};
use crate::{
    accounts::{self, Identity, links, sign_ins, totp},
    error::{Error, Kind, Result},
    host::Host,
    mails::{self, Content},
    storage::Tx,
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
        .route("/auth/password", post(change_password))
        .route("/auth/password/forgot", post(forgot))
        .route("/auth/password/reset", post(reset))
        .route("/auth/email", post(change_email))
        .route("/auth/email/confirm", post(confirm_email))
        .route("/auth/totp", post(begin_totp).delete(turn_off_totp))
        .route("/auth/totp/confirm", post(confirm_totp))
        .route("/auth/sessions", get(signed_in).delete(sign_out_elsewhere))
        .route("/auth/sessions/{id}", delete(sign_out))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPassword {
    current_password: String,
    new_password: String,
}

/// Who is signed in elsewhere has to sign in again.
async fn change_password(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode> {
    proven(&host, &caller, "/currentPassword", new.current_password).await?;
    let hash = host.passwords.hash("/newPassword", new.new_password).await?;
    let mut tx = host.db.write().await?;
    links::set_password(&mut tx, &host.clock, caller.user_id, hash).await?;
    sign_ins::end_all_but(&mut tx, caller.user_id, caller.sign_in()).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does he know his password? Tries are counted with those to sign in.
async fn proven(host: &Host, caller: &Identity, pointer: &str, password: String) -> Result<()> {
    let (email, hash) = {
        let mut tx = host.db.read().await?;
        let email = accounts::user(&mut tx, caller.user_id).await?.email;
        let found = accounts::by_email(&mut tx, &email).await?;
        (email, found.map(|(_, hash)| hash))
    };
    let rate = &host.pace.sign_ins;
    rate::check(rate, &email, "too_many_sign_ins", "tries of one account's password")?;
    if !host.passwords.verify(password, hash).await? {
        let mut error = Error::field(pointer, "is not your password");
        (error.kind, error.code) = (Kind::Forbidden, "wrong_password");
        return Err(error);
    }
    Ok(())
}

/// Commits what has posted a mail.
async fn committed(host: &Host, tx: Tx) -> Result<()> {
    tx.commit().await?;
    host.posted.notify_one();
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    email: String,
}

/// Mails a link, if somebody has signed up with the address: who asks is told nothing of
/// it, also not by how long it takes.
async fn forgot(
    State(host): State<Host>,
    peer: Peer,
    Body(given): Body<Address>,
) -> Result<StatusCode> {
    let (rate, peer) = (&host.pace.sign_ins_from, peer.counted());
    rate::check(rate, &peer, "too_many_sign_ins", "tries from one address")?;
    let email = accounts::email(&given.email)?;
    rate::check(&host.pace.links, &email, "too_many_links", "links mailed to one address")?;
    let mut tx = host.db.write().await?;
    mails::post(&mut tx, &host.clock, &email, Content::PasswordForgotten).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    token: String,
    password: String,
}

async fn reset(
    State(host): State<Host>,
    peer: Peer,
    Body(given): Body<Reset>,
) -> Result<StatusCode> {
    let (rate, peer) = (&host.pace.sign_ins_from, peer.counted());
    rate::check(rate, &peer, "too_many_sign_ins", "tries from one address")?;
    if !links::Shown::read(&given.token).is_some_and(|shown| shown.is_good(&host.key, 0)) {
        return Err(Error::not_found("link"));
    }
    let hash = host.passwords.hash("/password", given.password).await?;
    let mut tx = host.db.write().await?;
    links::reset_password(&mut tx, &host.clock, &host.key, &given.token, hash).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAddress {
    email: String,
    password: String,
}

/// Mails a link to the new address; the old one is good until it is followed.
async fn change_email(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(new): Body<NewAddress>,
) -> Result<StatusCode> {
    let email = accounts::email(&new.email)?;
    rate::check(&host.pace.links, &email, "too_many_links", "links mailed to one address")?;
    proven(&host, &caller, "/password", new.password).await?;
    let mut tx = host.db.write().await?;
    links::for_email(&mut tx, &host.clock, caller.user_id, &email).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: String,
}

async fn confirm_email(State(host): State<Host>, Body(given): Body<Token>) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let user = links::confirm_email(&mut tx, &host.clock, &host.key, &given.token).await?;
    committed(&host, tx).await?;
    Ok(Json(json!({ "user": user })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

async fn begin_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<Password>,
) -> Result<Json<Value>> {
    proven(&host, &caller, "/password", given.password).await?;
    let mut tx = host.db.write().await?;
    let (secret, url) = totp::begin(&mut tx, &host.clock, &host.key, caller.user_id).await?;
    tx.commit().await?;
    Ok(Json(json!({ "secret": secret, "url": url })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

async fn confirm_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<Code>,
) -> Result<Json<Value>> {
    let mut tx = host.db.write().await?;
    let email = accounts::user(&mut tx, caller.user_id).await?.email;
    rate::check(&host.pace.sign_ins, &email, "too_many_sign_ins", "tries of one account's code")?;
    let codes = totp::confirm(&mut tx, &host.clock, &host.key, caller.user_id, &given.code).await?;
    committed(&host, tx).await?;
    Ok(Json(json!({ "recoveryCodes": codes })))
}

async fn turn_off_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<Password>,
) -> Result<StatusCode> {
    proven(&host, &caller, "/password", given.password).await?;
    let mut tx = host.db.write().await?;
    totp::turn_off(&mut tx, &host.clock, caller.user_id).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Newest first; there are a hundred at most.
async fn signed_in(State(host): State<Host>, Oneself(caller): Oneself) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    let found = sign_ins::list(&mut tx, caller.user_id, host.clock.now()).await?;
    let shown = found.iter().map(|sign_in| {
        let mut shown = json!(sign_in);
        shown["current"] = (Some(sign_in.id) == caller.sign_in()).into();
        shown
    });
    Ok(Json(json!({ "data": shown.collect::<Vec<_>>(), "nextCursor": null })))
}

async fn sign_out(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = input::id(&id, "sign-in")?;
    let mut tx = host.db.write().await?;
    sign_ins::end(&mut tx, caller.user_id, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_out_elsewhere(
    State(host): State<Host>,
    Oneself(caller): Oneself,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    sign_ins::end_all_but(&mut tx, caller.user_id, caller.sign_in()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
