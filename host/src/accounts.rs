//! Who is who: users, their company, what they may do, and how they sign in.
//!
//! A user has one company; signing up makes it. The same user may become a
//! builder, and an operator when the operator's command says so.

pub mod closing;
mod identity;
pub mod invitations;
pub mod keys;
pub mod links;
pub mod members;
pub mod overview;
mod password;
pub mod sign_ins;
pub mod totp;

pub use identity::{Identity, Via, identify, seen, still};
pub use password::Passwords;

use crate::{
    audit::{self, Decision},
    clock::Clock,
    error::{Error, Result},
    id::{BuilderId, CompanyId, MemberId, UserId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::json;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    /// One of the platform's operators.
    pub operator: bool,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    pub id: CompanyId,
    pub name: String,
    pub logo_url: Option<String>,
    /// How its next sessions are paid: `wallet` or `subscription`.
    pub billing_model: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    pub id: BuilderId,
    pub display_name: String,
    pub created_at: Timestamp,
}

/// A sign-up whose fields have been looked at.
pub struct SignUp {
    pub email: String,
    pub name: String,
    pub company: String,
    pub password_hash: String,
}

/// An address as it is compared: without blanks around it, in lower case. Only ASCII:
/// most mail servers take nothing else, and letters that look alike would be two
/// addresses; a domain of other letters is written as its `xn--` name.
pub fn email(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let edge = |c: char| c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with(edge)
            && !label.ends_with(edge)
    };
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        // What RFC 5322 takes without quotes, section 3.2.3.
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        let atoms = |atoms: &str| !atoms.is_empty() && atoms.chars().all(atom);
        // Lengths of RFC 5321, section 4.5.3.1.
        local.len() <= 64
            && local.split('.').all(atoms)
            && domain.contains('.')
            && domain.split('.').all(label)
    });
    if !well_formed || text.len() > 254 {
        return Err(Error::field("/email", "must be a mail address"));
    }
    Ok(text)
}

/// Makes the user and the company with the user as its admin.
pub async fn sign_up(tx: &mut Tx, clock: &Clock, new: SignUp) -> Result<User> {
    let company = clock.id::<CompanyId>();
    let sql = "INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)";
    tx.query(sql).bind(company).bind(&*new.company).bind(clock.now()).run().await?;
    enter(tx, clock, new, company, "admin").await
}

/// Makes the user and his place in a company that is there.
async fn enter(
    tx: &mut Tx,
    clock: &Clock,
    new: SignUp,
    company: CompanyId,
    role: &str,
) -> Result<User> {
    let (id, now) = (clock.id::<UserId>(), clock.now());
    let sql = "INSERT INTO users (id, email, name, password_hash, created_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (email) DO NOTHING";
    let made = tx.query(sql).bind(id).bind(&*new.email).bind(&*new.name);
    if made.bind(new.password_hash).bind(now).run().await? == 0 {
        return Err(taken());
    }
    let sql = "INSERT INTO members (id, company_id, user_id, role, joined_at)
               VALUES ($1, $2, $3, $4, $5)";
    let member = tx.query(sql).bind(clock.id::<MemberId>()).bind(company).bind(id);
    member.bind(role).bind(now).run().await?;
    Ok(User { id, email: new.email, name: new.name, operator: false, created_at: now })
}

fn taken() -> Error {
    Error::conflict("email_taken", "there is an account with this mail address")
}

/// The user says how he is called.
pub async fn rename(tx: &mut Tx, id: UserId, name: &str) -> Result<()> {
    tx.query("UPDATE users SET name = $2 WHERE id = $1").bind(id).bind(name).run().await?;
    Ok(())
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

/// Kinds of notifications that the user does not want by mail.
pub async fn unmailed(tx: &mut Tx, id: UserId) -> Result<Vec<String>> {
    let sql = "SELECT unmailed FROM users WHERE id = $1";
    let (Json(unmailed),): (Json<Vec<String>>,) = tx.query(sql).bind(id).one().await?;
    Ok(unmailed)
}

pub async fn set_unmailed(tx: &mut Tx, id: UserId, kinds: &[String]) -> Result<()> {
    let sql = "UPDATE users SET unmailed = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(Json(kinds)).run().await?;
    Ok(())
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
