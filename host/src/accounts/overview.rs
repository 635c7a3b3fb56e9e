//! What operators see of companies and users, and do with them.

use super::Company;
use crate::{
    error::{Error, Result},
    id::{CompanyId, UserId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct CompanyRow {
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub company: Company,
    /// Since when it may look and change nothing.
    pub suspended_at: Option<Timestamp>,
    /// Nobody is in it any more.
    pub closed_at: Option<Timestamp>,
    /// What it had stored is deleted.
    pub emptied_at: Option<Timestamp>,
    pub members: i64,
    pub running_sessions: i64,
}

/// Companies that meet a condition.
macro_rules! companies {
    ($condition:literal) => {
        concat!(
            "SELECT c.id, c.name, c.logo_url, c.billing_model, c.created_at, c.suspended_at,
                 c.closed_at, c.emptied_at,
                 (SELECT COUNT(*) FROM members m WHERE m.company_id = c.id) AS members,
                 (SELECT COUNT(*) FROM sessions s WHERE s.company_id = c.id
                      AND s.status <> 'completed') AS running_sessions
             FROM companies c WHERE ",
            $condition
        )
    };
}

/// Those whose name, or the address of one of whose members, holds the pattern; newest
/// first.
pub async fn companies(
    tx: &mut Tx,
    pattern: Option<&str>,
    before: Option<CompanyId>,
    limit: i64,
) -> Result<Vec<CompanyRow>> {
    let found = tx.query(companies!(
        "($1 IS NULL OR c.id < $1)
           AND ($2 IS NULL OR LOWER(c.name) LIKE LOWER($2) ESCAPE '!' OR EXISTS (
               SELECT 1 FROM members m JOIN users u ON u.id = m.user_id
               WHERE m.company_id = c.id AND u.email LIKE LOWER($2) ESCAPE '!'))
         ORDER BY c.id DESC LIMIT $3"
    ));
    Ok(found.bind(before).bind(pattern).bind(limit).all().await?)
}

/// One of them.
pub async fn company(tx: &mut Tx, id: CompanyId) -> Result<CompanyRow> {
    let found = tx.query(companies!("c.id = $1")).bind(id).optional().await?;
    found.ok_or(Error::not_found("company"))
}

/// Suspends a company, or with `None` lets it go on; false when it was so already.
pub async fn suspend(tx: &mut Tx, id: CompanyId, since: Option<Timestamp>) -> Result<bool> {
    let sql = "SELECT suspended_at FROM companies WHERE id = $1";
    let found: Option<(Option<Timestamp>,)> = tx.query_locked(sql).bind(id).optional().await?;
    let (before,) = found.ok_or(Error::not_found("company"))?;
    if before.is_some() == since.is_some() {
        return Ok(false);
    }
    let sql = "UPDATE companies SET suspended_at = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(since).run().await?;
    Ok(true)
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct UserRow {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub operator: bool,
    pub created_at: Timestamp,
    pub company_id: CompanyId,
    /// In the company: `admin` or `member`.
    pub role: String,
    /// It is on.
    pub second_factor: bool,
    /// When he was last seen, to some minutes.
    pub seen_at: Option<Timestamp>,
}

/// Those whose name or address holds the pattern; newest first.
pub async fn users(
    tx: &mut Tx,
    pattern: Option<&str>,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserRow>> {
    let found = tx.query(
        "SELECT u.id, u.email, u.name, u.operator, u.created_at, m.company_id, m.role,
             u.totp_since IS NOT NULL AS second_factor,
             (SELECT MAX(s.seen_at) FROM sign_ins s WHERE s.user_id = u.id) AS seen_at
         FROM users u JOIN members m ON m.user_id = u.id
         WHERE ($1 IS NULL OR u.id < $1)
           AND ($2 IS NULL OR LOWER(u.name) LIKE LOWER($2) ESCAPE '!'
                OR u.email LIKE LOWER($2) ESCAPE '!')
         ORDER BY u.id DESC LIMIT $3",
    );
    Ok(found.bind(before).bind(pattern).bind(limit).all().await?)
}
