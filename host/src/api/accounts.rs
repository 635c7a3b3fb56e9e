//! Signing up, in and out; who am I; becoming a builder.

use super::{
    caller::{self, Admin, Builder, Caller},
    input::{self, Body},
};
use crate::{
    accounts::{self, SignUp, User},
    error::{Error, Result},
    host::Host,
    storage::Tx,
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/auth/signup", post(sign_up))
        .route("/auth/login", post(log_in))
        .route("/auth/logout", post(log_out))
        .route("/me", get(me))
        .route("/company", get(company).patch(change_company))
        .route("/builder", post(become_builder).get(builder).patch(change_builder))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    name: String,
    company_name: Option<String>,
}

async fn sign_up(
    State(host): State<Host>,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<Value>)> {
    let email = accounts::email(&new.email)?;
    let name = input::text("/name", &new.name, 1..=200)?;
    let company = match &new.company_name {
        Some(company) => input::text("/companyName", company, 1..=200)?,
        None => name.clone(),
    };
    let password_hash = host.passwords.hash(new.password).await?;
    let mut tx = host.db.write().await?;
    let user = SignUp { email, name, company, password_hash };
    let user = accounts::sign_up(&mut tx, &host.clock, user).await?;
    let answer = signed_in(&mut tx, &host, &user).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

async fn log_in(State(host): State<Host>, Body(given): Body<Credentials>) -> Result<Json<Value>> {
    let refused = || Error::unauthenticated("the mail address or the password is wrong");
    let found = match accounts::email(&given.email) {
        Ok(email) => accounts::by_email(&mut host.db.read().await?, &email).await?,
        // Nobody has signed up with what is no address.
        Err(_) => None,
    };
    let (user, hash) = found.unzip();
    if !host.passwords.verify(given.password, hash).await? {
        return Err(refused());
    }
    let user = user.ok_or_else(refused)?;
    let mut tx = host.db.write().await?;
    let answer = signed_in(&mut tx, &host, &user).await?;
    tx.commit().await?;
    Ok(answer)
}

async fn signed_in(tx: &mut Tx, host: &Host, user: &User) -> Result<Json<Value>> {
    let token = accounts::issue_token(tx, &host.clock, user.id).await?;
    let company = accounts::company_of(tx, user.id).await?;
    Ok(Json(json!({ "token": token, "user": user, "company": company })))
}

async fn log_out(State(host): State<Host>, _: Caller, headers: HeaderMap) -> Result<StatusCode> {
    let mut tx = host.db.write().await?;
    accounts::revoke_token(&mut tx, caller::bearer(&headers).unwrap_or_default()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(State(host): State<Host>, Caller(identity): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let user = accounts::user(&mut tx, identity.user_id).await?;
    let company = accounts::company_of(&mut tx, identity.user_id).await?;
    let builder = accounts::builder_of(&mut tx, identity.user_id).await?;
    Ok(Json(json!({
        "user": user, "company": company, "role": identity.role, "builder": builder,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    display_name: String,
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
        company.name = input::text("/name", &name, 1..=200)?;
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

async fn become_builder(
    State(host): State<Host>,
    Caller(identity): Caller,
    Body(profile): Body<Profile>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = input::text("/displayName", &profile.display_name, 1..=200)?;
    let mut tx = host.db.write().await?;
    let builder = accounts::become_builder(&mut tx, &host.clock, identity.user_id, &name).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(json!(builder))))
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
