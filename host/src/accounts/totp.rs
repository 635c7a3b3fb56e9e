//! A second factor: codes that change every half minute (RFC 6238), and ten codes on
//! paper for whoever has lost what makes them.
//!
//! The secret is sealed at rest. It is in force once a code of it was shown, so nobody
//! locks himself out with a secret that did not arrive. A code is good once.

use super::user;
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::UserId,
    mails::{self, Content},
    reseal::Column,
    seal::{self, Key},
    storage::Tx,
    timestamp::Timestamp,
};
use totp_rs::{Builder, Totp};

/// What apps show beside the codes.
const ISSUER: &str = "Aiybiz";

/// As many as the common services give.
const RECOVERY_CODES: usize = 10;

/// For which place a user's secret is sealed.
fn place(user: UserId) -> String {
    format!("totp/{user}")
}

/// The secrets of all users.
pub const SEALED: Column = Column {
    select: "SELECT id, '' AS name, totp_sealed AS value FROM users
             WHERE totp_sealed IS NOT NULL AND SUBSTR(totp_sealed, 1, 8) <> $1 AND id > $2
               AND $3 = '' ORDER BY id LIMIT $4",
    update: "UPDATE users SET totp_sealed = $3 WHERE id = $1 AND $2 = ''",
    place: |id, _| place(UserId(id)),
};

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(rename = "totp_sealed")]
    sealed: Option<Vec<u8>>,
    #[sqlx(rename = "totp_since")]
    since: Option<Timestamp>,
    /// The last half minute whose code was used.
    #[sqlx(rename = "totp_step")]
    step: i64,
}

/// His row, which nobody else changes meanwhile.
async fn row(tx: &mut Tx, user: UserId) -> Result<Row> {
    let sql = "SELECT totp_sealed, totp_since, totp_step FROM users WHERE id = $1";
    Ok(tx.query_locked(sql).bind(user).one().await?)
}

/// What the user puts into an app: the secret in base 32, and as an `otpauth:` address.
/// Asked for again before it is in force, it is another one.
pub async fn begin(tx: &mut Tx, clock: &Clock, key: &Key, id: UserId) -> Result<(String, String)> {
    if row(tx, id).await?.since.is_some() {
        return Err(Error::conflict("totp_on", "the second factor is on; turn it off first"));
    }
    let secret: [u8; 20] = clock.random();
    let email = user(tx, id).await?.email;
    let totp = Builder::new().with_secret(secret).with_account_name(email);
    let totp = totp.with_issuer(Some(ISSUER)).build().map_err(Error::internal)?;
    let sealed = key.seal(clock, &place(id), &secret)?;
    let sql = "UPDATE users SET totp_sealed = $2, totp_step = 0 WHERE id = $1";
    tx.query(sql).bind(id).bind(sealed).run().await?;
    Ok((totp.secret().to_base32(), totp.to_url().map_err(Error::internal)?))
}

/// Puts it in force; with the recovery codes, which are told this once.
pub async fn confirm(
    tx: &mut Tx,
    clock: &Clock,
    key: &Key,
    id: UserId,
    code: &str,
) -> Result<Vec<String>> {
    let row = row(tx, id).await?;
    if row.since.is_some() {
        return Err(Error::conflict("totp_on", "the second factor is on already"));
    }
    if row.sealed.is_none() {
        return Err(Error::conflict("totp_not_begun", "ask for a secret first: POST /auth/totp"));
    }
    if !fits(tx, clock, key, id, &row, code).await? {
        return Err(Error::field("/code", "is not the code of this half minute"));
    }
    let sql = "UPDATE users SET totp_since = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(clock.now()).run().await?;
    let codes = recovery_codes(tx, clock, id).await?;
    tell(tx, clock, id, true).await?;
    Ok(codes)
}

async fn recovery_codes(tx: &mut Tx, clock: &Clock, id: UserId) -> Result<Vec<String>> {
    tx.query("DELETE FROM recovery_codes WHERE user_id = $1").bind(id).run().await?;
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        // 80 bits: nobody tries those.
        let text = seal::hex(&clock.random::<10>());
        let sql = "INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)";
        tx.query(sql).bind(id).bind(seal::digest(&text)).run().await?;
        codes.push(format!("{}-{}", &text[..10], &text[10..]));
    }
    Ok(codes)
}

/// Does the user need a code to sign in?
pub async fn is_on(tx: &mut Tx, id: UserId) -> Result<bool> {
    let sql = "SELECT totp_since FROM users WHERE id = $1";
    let (since,): (Option<Timestamp>,) = tx.query(sql).bind(id).one().await?;
    Ok(since.is_some())
}

/// Is it a code of now, or one on paper? Either is good this once.
pub async fn check(tx: &mut Tx, clock: &Clock, key: &Key, id: UserId, code: &str) -> Result<bool> {
    let row = row(tx, id).await?;
    if fits(tx, clock, key, id, &row, code).await? {
        return Ok(true);
    }
    let plain = code.trim().replace('-', "").to_ascii_lowercase();
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2";
    Ok(tx.query(sql).bind(id).bind(seal::digest(&plain)).run().await? > 0)
}

/// A code is good for its own half minute, the one before and the one after (RFC 6238,
/// section 5.2), and not again.
async fn fits(
    tx: &mut Tx,
    clock: &Clock,
    key: &Key,
    id: UserId,
    row: &Row,
    code: &str,
) -> Result<bool> {
    let Some(sealed) = &row.sealed else { return Ok(false) };
    let secret = key.open(&place(id), sealed)?;
    let totp: Totp = Builder::new().with_secret(secret).build_noncompliant();
    let seconds = u64::try_from(clock.now().as_micros() / 1_000_000).unwrap_or(0);
    let step = totp.check(code.trim(), seconds).and_then(|step| i64::try_from(step).ok());
    let Some(step) = step.filter(|step| *step > row.step) else { return Ok(false) };
    let sql = "UPDATE users SET totp_step = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(step).run().await?;
    Ok(true)
}

/// Turns it off; the user is told by mail.
pub async fn turn_off(tx: &mut Tx, clock: &Clock, id: UserId) -> Result<()> {
    let on = row(tx, id).await?.since.is_some();
    let sql = "UPDATE users SET totp_sealed = NULL, totp_since = NULL WHERE id = $1";
    tx.query(sql).bind(id).run().await?;
    tx.query("DELETE FROM recovery_codes WHERE user_id = $1").bind(id).run().await?;
    if on { tell(tx, clock, id, false).await } else { Ok(()) }
}

async fn tell(tx: &mut Tx, clock: &Clock, id: UserId, on: bool) -> Result<()> {
    let email = user(tx, id).await?.email;
    mails::post(tx, clock, &email, Content::SecondFactor { on }).await
}
