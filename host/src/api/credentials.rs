//! What a user signs in with, and where he is signed in.

use super::{
    caller::Oneself,
    input::{self, Body},
    page::{self, Listed},
    peer::Peer,
    rate,
};
use crate::{
    accounts::{
        self, Identity, User, links,
        sign_ins::{self, SignIn},
        totp,
    },
    error::{Error, Kind, Result},
    host::Host,
    mails::{self, Content},
    storage::Tx,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(change_password))
        .routes(routes!(forgot))
        .routes(routes!(reset))
        .routes(routes!(change_email))
        .routes(routes!(confirm_email))
        .routes(routes!(begin_totp, turn_off_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(signed_in, sign_out_elsewhere))
        .routes(routes!(sign_out))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordChange {
    #[schema(format = "password")]
    current_password: String,
    #[schema(format = "password", min_length = 8, max_length = 256)]
    new_password: String,
}

/// Changes one's password.
///
/// Who is signed in elsewhere has to sign in again.
#[utoipa::path(
    post, path = "/auth/password", request_body = PasswordChange,
    responses(
        (status = 204),
        (status = 403, description = "wrong_password"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn change_password(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(new): Body<PasswordChange>,
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
pub(super) async fn proven(
    host: &Host,
    caller: &Identity,
    pointer: &str,
    password: String,
) -> Result<()> {
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForgottenPassword {
    #[schema(format = "email", max_length = 254)]
    email: String,
}

/// Mails a link to choose a new password with.
///
/// It is good for an hour, and mailed if somebody has signed up with the address: who asks
/// is told nothing of it, also not by how long it takes.
#[utoipa::path(
    post, path = "/auth/password/forgot", security(()), request_body = ForgottenPassword,
    responses(
        (status = 202),
        (status = 429, description = "too_many_sign_ins, too_many_links"),
    ),
)]
async fn forgot(
    State(host): State<Host>,
    peer: Peer,
    Body(given): Body<ForgottenPassword>,
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordReset {
    /// What came with the link.
    token: String,
    #[schema(format = "password", min_length = 8, max_length = 256)]
    password: String,
}

/// Sets a new password with a mailed link.
///
/// The link is good once. Whoever is signed in as the user has to sign in again.
#[utoipa::path(
    post, path = "/auth/password/reset", security(()), request_body = PasswordReset,
    responses(
        (status = 204),
        (status = 404, description = "not_found"),
        (status = 410, description = "link_used, link_expired"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn reset(
    State(host): State<Host>,
    peer: Peer,
    Body(given): Body<PasswordReset>,
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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmailChange {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(format = "password")]
    password: String,
}

/// Asks for another mail address to sign in with.
///
/// Mails a link to the new address, which is good for a day; the old address is good until
/// the link is followed.
#[utoipa::path(
    post, path = "/auth/email", request_body = EmailChange,
    responses(
        (status = 202),
        (status = 403, description = "wrong_password"),
        (status = 429, description = "too_many_sign_ins, too_many_links"),
    ),
)]
async fn change_email(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(new): Body<EmailChange>,
) -> Result<StatusCode> {
    let email = accounts::email(&new.email)?;
    rate::check(&host.pace.links, &email, "too_many_links", "links mailed to one address")?;
    proven(&host, &caller, "/password", new.password).await?;
    let mut tx = host.db.write().await?;
    links::for_email(&mut tx, &host.clock, caller.user_id, &email).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmailConfirmation {
    /// What came with the link.
    token: String,
}

/// The user, with the new address.
#[derive(Serialize, ToSchema)]
struct ConfirmedEmail {
    user: User,
}

/// Confirms a new mail address with a mailed link.
///
/// It is the user's from here on, and the old address is told. The link is good once.
#[utoipa::path(
    post, path = "/auth/email/confirm", security(()), request_body = EmailConfirmation,
    responses(
        (status = 200, body = ConfirmedEmail),
        (status = 404, description = "not_found"),
        (status = 409, description = "email_taken"),
        (status = 410, description = "link_used, link_expired"),
    ),
)]
async fn confirm_email(
    State(host): State<Host>,
    Body(given): Body<EmailConfirmation>,
) -> Result<Json<ConfirmedEmail>> {
    let mut tx = host.db.write().await?;
    let user = links::confirm_email(&mut tx, &host.clock, &host.key, &given.token).await?;
    committed(&host, tx).await?;
    Ok(Json(ConfirmedEmail { user }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnPassword {
    #[schema(format = "password")]
    pub(super) password: String,
}

/// What the user puts into an app that makes codes.
#[derive(Serialize, ToSchema)]
struct TotpSecret {
    /// In base 32.
    secret: String,
    /// The same as an address, for a QR code.
    #[schema(examples("otpauth://totp/Aiybiz:ada%40example.com?secret=…&issuer=Aiybiz"))]
    url: String,
}

/// Begins to turn on the second factor, and tells its secret.
///
/// It is in force once a code was shown: `POST /auth/totp/confirm`. Asked for again before,
/// it is another secret.
#[utoipa::path(
    post, path = "/auth/totp", request_body = OwnPassword,
    responses(
        (status = 200, body = TotpSecret),
        (status = 403, description = "wrong_password"),
        (status = 409, description = "totp_on"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn begin_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<OwnPassword>,
) -> Result<Json<TotpSecret>> {
    proven(&host, &caller, "/password", given.password).await?;
    let mut tx = host.db.write().await?;
    let (secret, url) = totp::begin(&mut tx, &host.clock, &host.key, caller.user_id).await?;
    tx.commit().await?;
    Ok(Json(TotpSecret { secret, url }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TotpCode {
    /// The six digits of this half minute.
    #[schema(examples("123456"))]
    code: String,
}

/// Codes for one who has lost what makes them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecoveryCodes {
    /// Ten; each is good once. They are told this once.
    recovery_codes: Vec<String>,
}

/// Turns on the second factor with its first code, and tells the recovery codes.
///
/// From here on, signing in takes a code as well. The user is told by mail.
#[utoipa::path(
    post, path = "/auth/totp/confirm", request_body = TotpCode,
    responses(
        (status = 200, body = RecoveryCodes),
        (status = 409, description = "totp_on, totp_not_begun"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn confirm_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<TotpCode>,
) -> Result<Json<RecoveryCodes>> {
    let mut tx = host.db.write().await?;
    let email = accounts::user(&mut tx, caller.user_id).await?.email;
    rate::check(&host.pace.sign_ins, &email, "too_many_sign_ins", "tries of one account's code")?;
    let codes = totp::confirm(&mut tx, &host.clock, &host.key, caller.user_id, &given.code).await?;
    committed(&host, tx).await?;
    Ok(Json(RecoveryCodes { recovery_codes: codes }))
}

/// Turns off the second factor.
///
/// Its recovery codes are good for nothing any more. The user is told by mail.
#[utoipa::path(
    delete, path = "/auth/totp", request_body = OwnPassword,
    responses(
        (status = 204),
        (status = 403, description = "wrong_password"),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn turn_off_totp(
    State(host): State<Host>,
    Oneself(caller): Oneself,
    Body(given): Body<OwnPassword>,
) -> Result<StatusCode> {
    proven(&host, &caller, "/password", given.password).await?;
    let mut tx = host.db.write().await?;
    totp::turn_off(&mut tx, &host.clock, caller.user_id).await?;
    committed(&host, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A device or a program that the user has signed in with.
#[derive(Serialize, ToSchema)]
struct OwnSignIn {
    #[serde(flatten)]
    sign_in: SignIn,
    /// It is the one that asks.
    current: bool,
}

/// Lists where the user is signed in, newest first.
///
/// There are a hundred at most, all on one page.
#[utoipa::path(get, path = "/auth/sessions", responses((status = 200, body = Listed<OwnSignIn>)))]
async fn signed_in(State(host): State<Host>, Oneself(caller): Oneself) -> Result<Json<Value>> {
    let mut tx = host.db.look().await?;
    let found = sign_ins::list(&mut tx, caller.user_id, host.clock.now()).await?;
    let shown = found.into_iter().map(|sign_in| {
        let current = Some(sign_in.id) == caller.sign_in();
        OwnSignIn { sign_in, current }
    });
    let all: Vec<_> = shown.collect();
    Ok(page::of(&all, false, |it| it.sign_in.id.to_string(), |it| json!(it)))
}

/// Signs the user out on one device or program.
#[utoipa::path(delete, path = "/auth/sessions/{id}", responses((status = 204)))]
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

/// Signs the user out everywhere but where he asks from.
#[utoipa::path(delete, path = "/auth/sessions", responses((status = 204)))]
async fn sign_out_elsewhere(
    State(host): State<Host>,
    Oneself(caller): Oneself,
) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    sign_ins::end_all_but(&mut tx, caller.user_id, caller.sign_in()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
