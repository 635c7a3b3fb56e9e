//! API keys: what a user's programs show instead of signing in.
//!
//! A key is its user, narrowed to what its scopes name: it can do nothing that he could
//! not, and loses what he loses. Its text is told once and only a digest of it stored; it
//! is 256 random bits, so nothing slower than a digest is needed.

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{ApiKeyId, CompanyId, UserId},
    seal,
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Keys that one user may have: far more than anybody can tell apart.
const MOST: i64 = 100;

pub(super) const PREFIX: &str = "ak_";

/// What people are shown of a key's text.
const START: usize = 10;

/// What a key may be good for. To write is also to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema, Deserialize)]
pub enum Scope {
    #[serde(rename = "sessions:read")]
    SessionsRead,
    #[serde(rename = "sessions:write")]
    SessionsWrite,
    #[serde(rename = "files:read")]
    FilesRead,
    #[serde(rename = "files:write")]
    FilesWrite,
    #[serde(rename = "billing:read")]
    BillingRead,
    #[serde(rename = "billing:write")]
    BillingWrite,
    #[serde(rename = "company:read")]
    CompanyRead,
    #[serde(rename = "company:write")]
    CompanyWrite,
    #[serde(rename = "builder:read")]
    BuilderRead,
    #[serde(rename = "builder:write")]
    BuilderWrite,
    #[serde(rename = "admin:read")]
    AdminRead,
    #[serde(rename = "admin:write")]
    AdminWrite,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// Whose it is.
    pub user_id: UserId,
    pub name: String,
    /// How its text begins.
    pub start: String,
    #[sqlx(json)]
    pub scopes: Vec<Scope>,
    pub created_at: Timestamp,
    /// Null: when it is deleted.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to some minutes.
    pub seen_at: Option<Timestamp>,
}

/// A key about to be made.
pub struct New {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub expires_at: Option<Timestamp>,
}

/// Makes one; with its text, which is told this once.
pub async fn create(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    new: New,
) -> Result<(ApiKey, String)> {
    // The user's row is the queue for his places.
    tx.query_locked("SELECT id FROM users WHERE id = $1").bind(user).run().await?;
    let sql = "SELECT COUNT(*) FROM api_keys WHERE user_id = $1";
    let (count,): (i64,) = tx.query(sql).bind(user).one().await?;
    if count >= MOST {
        let detail = format!("you have {MOST} keys; delete one that you no longer use");
        return Err(Error::conflict("too_many_keys", detail));
    }
    let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(clock.random::<32>()));
    let made = tx.query(
        "INSERT INTO api_keys (id, hash, user_id, name, start, scopes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         RETURNING id, user_id, name, start, scopes, created_at, expires_at, seen_at",
    );
    let made = made.bind(clock.id::<ApiKeyId>()).bind(seal::digest(&text)).bind(user);
    let made = made.bind(new.name).bind(&text[..START]).bind(Json(new.scopes));
    Ok((made.bind(clock.now()).bind(new.expires_at).one().await?, text))
}

/// Those of everybody in the company, or of one user only; newest first.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    user: Option<UserId>,
    before: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>> {
    let found = tx.query(
        "SELECT k.id, k.user_id, k.name, k.start, k.scopes, k.created_at, k.expires_at, k.seen_at
         FROM api_keys k JOIN members m ON m.user_id = k.user_id
         WHERE m.company_id = $1 AND ($2 IS NULL OR k.user_id = $2) AND ($3 IS NULL OR k.id < $3)
         ORDER BY k.id DESC LIMIT $4",
    );
    Ok(found.bind(company).bind(user).bind(before).bind(limit).all().await?)
}

/// Deletes one of the company's, or of this user's only.
pub async fn delete(
    tx: &mut Tx,
    company: CompanyId,
    user: Option<UserId>,
    id: ApiKeyId,
) -> Result<()> {
    let sql = "DELETE FROM api_keys WHERE id = $1 AND ($3 IS NULL OR user_id = $3)
               AND user_id IN (SELECT user_id FROM members WHERE company_id = $2)";
    if tx.query(sql).bind(id).bind(company).bind(user).run().await? == 0 {
        return Err(Error::not_found("API key"));
    }
    Ok(())
}

/// Whoever is no longer in a company takes none of its keys along.
pub(super) async fn delete_all(tx: &mut Tx, user: UserId) -> Result<()> {
    tx.query("DELETE FROM api_keys WHERE user_id = $1").bind(user).run().await?;
    Ok(())
}
