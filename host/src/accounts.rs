//! Who is who: users, their company, what they may do, and how they sign in.
//!
//! A user has one company; signing up makes it. The same user may become a
//! builder, and an operator when the operator's command says so.

mod password;

pub use password::Passwords;

use crate::{
    audit::{self, Decision},
    clock::Clock,
    error::{Error, Result},
    id::{BuilderId, CompanyId, MemberId, UserId},
    seal,
    storage::Tx,
    timestamp::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// How long a sign-in lasts.
const TOKEN_LIFE: Duration = Duration::from_hours(30 * 24);

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub operator: bool,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    pub id: CompanyId,
    pub name: String,
    pub logo_url: Option<String>,
    /// How its next sessions are paid: `wallet` or `subscription`.
    pub billing_model: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    pub id: BuilderId,
    pub display_name: String,
    pub created_at: Timestamp,
}

/// The user behind a token and what he is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Identity {
    pub user_id: UserId,
    pub company_id: CompanyId,
    pub member_id: MemberId,
    pub role: String,
    pub operator: bool,
    pub builder_id: Option<BuilderId>,
}

/// A sign-up whose fields have been looked at.
pub struct SignUp {
    pub email: String,
    pub name: String,
    pub company: String,
    pub password_hash: String,
}

/// An address as it is compared: without blanks around it, in lower case.
pub fn email(text: &str) -> Result<String> {
    let text = text.trim().to_lowercase();
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
    });
    let odd = text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>,;\"\\".contains(c));
    if !well_formed || odd || text.matches('@').count() != 1 || text.len() > 254 {
        return Err(Error::field("/email", "must be a mail address"));
    }
    Ok(text)
}

/// Makes the user and the company with the user as its admin.
pub async fn sign_up(tx: &mut Tx, clock: &Clock, new: SignUp) -> Result<User> {
    let (id, company, now) = (clock.id::<UserId>(), clock.id::<CompanyId>(), clock.now());
    let made = tx
        .query(
            "INSERT INTO users (id, email, name, password_hash, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO NOTHING",
        )
        .bind(id)
        .bind(new.email.as_str())
        .bind(new.name.as_str())
        .bind(new.password_hash)
        .bind(now)
        .run()
        .await?;
    if made == 0 {
        return Err(Error::conflict("email_taken", "there is an account with this mail address"));
    }
    tx.query("INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(company)
        .bind(new.company)
        .bind(now)
        .run()
        .await?;
    tx.query(
        "INSERT INTO members (id, company_id, user_id, role, joined_at)
         VALUES ($1, $2, $3, 'admin', $4)",
    )
    .bind(clock.id::<MemberId>())
    .bind(company)
    .bind(id)
    .bind(now)
    .run()
    .await?;
    Ok(User { id, email: new.email, name: new.name, operator: false, created_at: now })
}

/// The user with this address and the hash of the password, if there is one.
pub async fn by_email(tx: &mut Tx, email: &str) -> Result<Option<(User, String)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        user: User,
        password_hash: String,
    }
    let found: Option<Row> = tx
        .query(
            "SELECT id, email, name, operator, created_at, password_hash FROM users
             WHERE email = $1",
        )
        .bind(email)
        .optional()
        .await?;
    Ok(found.map(|row| (row.user, row.password_hash)))
}

pub async fn user(tx: &mut Tx, id: UserId) -> Result<User> {
    let sql = "SELECT id, email, name, operator, created_at FROM users WHERE id = $1";
    tx.query(sql).bind(id).optional().await?.ok_or(Error::not_found("user"))
}

/// The company a user belongs to.
pub async fn company_of(tx: &mut Tx, user: UserId) -> Result<Company> {
    let sql = "SELECT c.id, c.name, c.logo_url, c.billing_model, c.created_at FROM companies c
               JOIN members m ON m.company_id = c.id WHERE m.user_id = $1";
    tx.query(sql).bind(user).optional().await?.ok_or(Error::not_found("company"))
}

pub async fn company(tx: &mut Tx, id: CompanyId) -> Result<Company> {
    let sql = "SELECT id, name, logo_url, billing_model, created_at FROM companies WHERE id = $1";
    tx.query(sql).bind(id).optional().await?.ok_or(Error::not_found("company"))
}

/// The company, which nobody else changes meanwhile.
pub async fn company_to_change(tx: &mut Tx, id: CompanyId) -> Result<Company> {
    let sql = "SELECT id, name, logo_url, billing_model, created_at FROM companies WHERE id = $1";
    tx.query_locked(sql).bind(id).optional().await?.ok_or(Error::not_found("company"))
}

/// Writes what a company says of itself, and how its next sessions are paid.
pub async fn change_company(tx: &mut Tx, company: &Company) -> Result<()> {
    let sql = "UPDATE companies SET name = $2, logo_url = $3, billing_model = $4 WHERE id = $1";
    let changed = tx.query(sql).bind(company.id).bind(&*company.name);
    changed.bind(company.logo_url.as_deref()).bind(&*company.billing_model).run().await?;
    Ok(())
}

/// Its name, and the mail address of the admin who was there first.
pub async fn payer(tx: &mut Tx, id: CompanyId) -> Result<(String, String)> {
    let sql = "SELECT c.name, u.email FROM companies c
               JOIN members m ON m.company_id = c.id AND m.role = 'admin'
               JOIN users u ON u.id = m.user_id
               WHERE c.id = $1 ORDER BY m.joined_at LIMIT 1";
    tx.query(sql).bind(id).optional().await?.ok_or(Error::not_found("company"))
}

/// Makes a bearer token. It is told once; what is stored cannot be turned back.
pub async fn issue_token(tx: &mut Tx, clock: &Clock, user: UserId) -> Result<String> {
    let token = format!("ait_{}", BASE64_URL_SAFE_NO_PAD.encode(clock.random::<32>()));
    let now = clock.now();
    tx.query("INSERT INTO tokens (hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(seal::digest(&token))
        .bind(user)
        .bind(now)
        .bind(now + TOKEN_LIFE)
        .run()
        .await?;
    Ok(token)
}

/// Whose token this is, unless it has expired or was revoked.
pub async fn identify(tx: &mut Tx, token: &str, now: Timestamp) -> Result<Option<Identity>> {
    let found = tx.query(
        "SELECT u.id AS user_id, m.company_id, m.id AS member_id, m.role, u.operator,
                b.id AS builder_id
         FROM tokens t
         JOIN users u ON u.id = t.user_id
         JOIN members m ON m.user_id = u.id
         LEFT JOIN builders b ON b.user_id = u.id
         WHERE t.hash = $1 AND t.expires_at > $2",
    );
    Ok(found.bind(seal::digest(token)).bind(now).optional().await?)
}

pub async fn revoke_token(tx: &mut Tx, token: &str) -> Result<()> {
    tx.query("DELETE FROM tokens WHERE hash = $1").bind(seal::digest(token)).run().await?;
    Ok(())
}

/// Forgets tokens that are good for nothing any more.
pub async fn sweep_tokens(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    Ok(tx.query("DELETE FROM tokens WHERE expires_at <= $1").bind(now).run().await?)
}

/// Makes the user a builder. One who is already keeps what he has: 409.
pub async fn become_builder(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    name: &str,
) -> Result<Builder> {
    let builder =
        Builder { id: clock.id(), display_name: name.to_owned(), created_at: clock.now() };
    let made = tx
        .query(
            "INSERT INTO builders (id, user_id, display_name, created_at)
             VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(builder.id)
        .bind(user)
        .bind(name)
        .bind(builder.created_at)
        .run()
        .await?;
    if made == 0 {
        return Err(Error::conflict("already_builder", "this user is a builder already"));
    }
    Ok(builder)
}

pub async fn builder_of(tx: &mut Tx, user: UserId) -> Result<Option<Builder>> {
    let sql = "SELECT id, display_name, created_at FROM builders WHERE user_id = $1";
    Ok(tx.query(sql).bind(user).optional().await?)
}

pub async fn rename_builder(tx: &mut Tx, id: BuilderId, name: &str) -> Result<Builder> {
    let sql = "UPDATE builders SET display_name = $2 WHERE id = $1
               RETURNING id, display_name, created_at";
    Ok(tx.query(sql).bind(id).bind(name).one().await?)
}

/// Makes the user with this address an operator, and records that the command did; false
/// when there is none.
pub async fn grant_operator(tx: &mut Tx, clock: &Clock, email: &str) -> Result<bool> {
    let found = tx.query_locked("SELECT id, operator FROM users WHERE email = $1").bind(email);
    let Some((id, operator)) = found.optional::<(UserId, bool)>().await? else { return Ok(false) };
    if !operator {
        tx.query("UPDATE users SET operator = TRUE WHERE id = $1").bind(id).run().await?;
        let decision = Decision {
            actor: None,
            action: "operator.granted",
            target: &format!("user/{id}"),
            before: json!({ "operator": false }),
            after: json!({ "operator": true }),
        };
        audit::record(tx, clock, decision).await?;
    }
    Ok(true)
}
