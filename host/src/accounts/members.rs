//! Who is in a company.
//!
//! A user is in one company at any time, so his membership moves with him: whoever is
//! removed, or leaves, has a company of his own again. What he has begun stays with the
//! company, and so do the sessions that run.

use super::{company_to_change, keys, sign_ins};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{CompanyId, MemberId, UserId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub id: MemberId,
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    /// `admin` or `member`.
    pub role: String,
    pub joined_at: Timestamp,
}

macro_rules! members {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.user_id, u.email, u.name, m.role, m.joined_at
             FROM members m JOIN users u ON u.id = m.user_id ",
            $rest
        )
    };
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    before: Option<MemberId>,
    limit: i64,
) -> Result<Vec<Member>> {
    let found = tx.query(members!(
        "WHERE m.company_id = $1 AND ($2 IS NULL OR m.id < $2) ORDER BY m.id DESC LIMIT $3"
    ));
    Ok(found.bind(company).bind(before).bind(limit).all().await?)
}

async fn find(tx: &mut Tx, company: CompanyId, id: MemberId) -> Result<Member> {
    let found = tx.query(members!("WHERE m.company_id = $1 AND m.id = $2"));
    let found = found.bind(company).bind(id).optional().await?;
    found.ok_or(Error::not_found("member"))
}

/// A company has an admin at any time: 409 for the last one.
pub async fn set_role(tx: &mut Tx, company: CompanyId, id: MemberId, role: &str) -> Result<Member> {
    company_to_change(tx, company).await?;
    let member = find(tx, company, id).await?;
    if member.role == "admin" && role != "admin" {
        another_admin(tx, company, id).await?;
    }
    tx.query("UPDATE members SET role = $2 WHERE id = $1").bind(id).bind(role).run().await?;
    Ok(Member { role: role.to_owned(), ..member })
}

/// The user has a company of his own from here on; he signs in again, and his API keys
/// are good for nothing any more.
pub async fn remove(tx: &mut Tx, clock: &Clock, company: CompanyId, id: MemberId) -> Result<()> {
    company_to_change(tx, company).await?;
    let member = find(tx, company, id).await?;
    if member.role == "admin" {
        another_admin(tx, company, id).await?;
    }
    alone(tx, clock, member.user_id, &member.name).await
}

/// The user is in a new company of his own, signed out, and without keys.
pub(super) async fn alone(tx: &mut Tx, clock: &Clock, user: UserId, name: &str) -> Result<()> {
    let own = clock.id::<CompanyId>();
    let sql = "INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)";
    tx.query(sql).bind(own).bind(name).bind(clock.now()).run().await?;
    moves(tx, clock, user, own, "admin").await?;
    sign_ins::end_all_but(tx, user, None).await?;
    keys::delete_all(tx, user).await
}

/// The user is in that company now, and no longer in another.
pub(super) async fn moves(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    to: CompanyId,
    role: &str,
) -> Result<()> {
    let sql = "UPDATE members SET company_id = $2, role = $3, joined_at = $4 WHERE user_id = $1";
    tx.query(sql).bind(user).bind(to).bind(role).bind(clock.now()).run().await?;
    Ok(())
}

/// Is there one besides this one? The company's row is locked, so he stays.
async fn another_admin(tx: &mut Tx, company: CompanyId, besides: MemberId) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM members WHERE company_id = $1 AND role = 'admin' AND id <> $2";
    let (others,): (i64,) = tx.query(sql).bind(company).bind(besides).one().await?;
    if others == 0 {
        let detail = "a company has at least one admin; make somebody else one first";
        return Err(Error::conflict("last_admin", detail));
    }
    Ok(())
}
