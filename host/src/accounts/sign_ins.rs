//! Signing in: a random token, told once, of which only a digest is stored.

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{SignInId, UserId},
    seal,
    storage::Tx,
    timestamp::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use std::time::Duration;

/// How long a sign-in lasts.
pub const LIFE: Duration = Duration::from_hours(30 * 24);

/// Of one user, those that were used last: others make room. A program that signs in every
/// time does not sign a browser out that is in use.
const MOST: i64 = 100;

pub(super) const PREFIX: &str = "ait_";

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    pub id: SignInId,
    /// What the program called itself.
    pub agent: String,
    pub address: String,
    pub created_at: Timestamp,
    /// To some minutes.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Who calls, as far as the connection says.
#[derive(Clone, Debug, Default)]
pub struct From {
    pub agent: String,
    pub address: String,
}

/// Makes a bearer token. It is told once; what is stored cannot be turned back.
pub async fn begin(tx: &mut Tx, clock: &Clock, user: UserId, from: &From) -> Result<String> {
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(clock.random::<32>()));
    let now = clock.now();
    let begun = tx.query(
        "INSERT INTO sign_ins (id, hash, user_id, agent, address, created_at, seen_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
    );
    let begun = begun.bind(clock.id::<SignInId>()).bind(seal::digest(&token)).bind(user);
    let begun = begun.bind(&*from.agent).bind(&*from.address).bind(now).bind(now + LIFE);
    begun.run().await?;
    let sql = "DELETE FROM sign_ins WHERE user_id = $1 AND id IN (
                   SELECT id FROM sign_ins WHERE user_id = $1
                   ORDER BY seen_at DESC, id DESC LIMIT 1000 OFFSET $2)";
    tx.query(sql).bind(user).bind(MOST).run().await?;
    Ok(token)
}

/// The user's, newest first.
pub async fn list(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<SignIn>> {
    let found = tx.query(
        "SELECT id, agent, address, created_at, seen_at, expires_at FROM sign_ins
         WHERE user_id = $1 AND expires_at > $2 ORDER BY id DESC",
    );
    Ok(found.bind(user).bind(now).all().await?)
}

pub async fn end(tx: &mut Tx, user: UserId, id: SignInId) -> Result<()> {
    let sql = "DELETE FROM sign_ins WHERE user_id = $1 AND id = $2";
    if tx.query(sql).bind(user).bind(id).run().await? == 0 {
        return Err(Error::not_found("sign-in"));
    }
    Ok(())
}

/// Signs the user out everywhere, but where he is.
pub async fn end_all_but(tx: &mut Tx, user: UserId, but: Option<SignInId>) -> Result<u64> {
    let sql = "DELETE FROM sign_ins WHERE user_id = $1 AND ($2 IS NULL OR id <> $2)";
    Ok(tx.query(sql).bind(user).bind(but).run().await?)
}

/// Forgets those that are good for nothing any more.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    Ok(tx.query("DELETE FROM sign_ins WHERE expires_at <= $1").bind(now).run().await?)
}
