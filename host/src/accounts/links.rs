//! Links that are mailed: to choose a new password, to confirm an address.
//!
//! A link's token is derived from the platform's key and the link's id, so it need not
//! be stored anywhere. It is good once, and for a while.

use super::{User, sign_ins, user};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{InvitationId, LinkId, UserId},
    mails::{self, Content},
    seal::Key,
    storage::Tx,
    timestamp::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::Duration;
use uuid::Uuid;

/// How long a new password may be chosen: OWASP's Forgot Password Cheat Sheet asks for a
/// short while.
const PASSWORD_LIFE: Duration = Duration::from_hours(1);

const EMAIL_LIFE: Duration = Duration::from_hours(24);

/// How long it is kept that a link was used.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// What a token is good for: the first word under which the platform's key makes it.
const PURPOSE: &str = "mailed link";

#[derive(sqlx::FromRow)]
struct Link {
    id: LinkId,
    kind: String,
    user_id: UserId,
    email: Option<String>,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

/// The token of a link to choose a password or confirm an address.
pub fn token(key: &Key, link: LinkId) -> String {
    write(key, link.0, 0)
}

/// The token of the `number`th link that was mailed for an invitation.
pub fn invitation_token(key: &Key, invitation: InvitationId, number: i64) -> String {
    write(key, invitation.0, number)
}

fn write(key: &Key, id: Uuid, number: i64) -> String {
    let tag = key.tag(PURPOSE, &[id.as_bytes(), &number.to_be_bytes()]);
    let text: Vec<u8> = id.as_bytes().iter().chain(&tag).copied().collect();
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A token that was shown: whose it says that it is, and the proof.
pub struct Shown {
    pub id: Uuid,
    tag: Vec<u8>,
}

impl Shown {
    /// None: it cannot be one.
    pub fn read(token: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, tag) = bytes.split_at_checked(16)?;
        Some(Self { id: Uuid::from_slice(id).ok()?, tag: tag.to_vec() })
    }

    pub fn is_good(&self, key: &Key, number: i64) -> bool {
        key.made(&self.tag, PURPOSE, &[self.id.as_bytes(), &number.to_be_bytes()])
    }
}

/// Makes a link with which this user may choose a new password.
pub async fn for_password(tx: &mut Tx, clock: &Clock, user: UserId) -> Result<LinkId> {
    make(tx, clock, user, "password", None, PASSWORD_LIFE).await
}

/// Mails a link to the address that is to become the user's.
pub async fn for_email(tx: &mut Tx, clock: &Clock, user: UserId, email: &str) -> Result<()> {
    let link = make(tx, clock, user, "email", Some(email), EMAIL_LIFE).await?;
    mails::post(tx, clock, email, Content::EmailChange { link }).await
}

async fn make(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    kind: &'static str,
    email: Option<&str>,
    life: Duration,
) -> Result<LinkId> {
    let (id, now) = (clock.id::<LinkId>(), clock.now());
    let sql = "INSERT INTO links (id, kind, user_id, email, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let made = tx.query(sql).bind(id).bind(kind).bind(user).bind(email);
    made.bind(now).bind(now + life).run().await?;
    Ok(id)
}

/// The user has a new password: every link to choose one is used, and everybody signs in
/// again.
pub async fn reset_password(
    tx: &mut Tx,
    clock: &Clock,
    key: &Key,
    token: &str,
    hash: String,
) -> Result<()> {
    let link = redeem(tx, clock, key, token, "password").await?;
    set_password(tx, clock, link.user_id, hash).await?;
    sign_ins::end_all_but(tx, link.user_id, None).await?;
    Ok(())
}

/// Whatever link was mailed to choose another one is good for nothing any more.
pub async fn set_password(tx: &mut Tx, clock: &Clock, id: UserId, hash: String) -> Result<()> {
    let sql = "UPDATE users SET password_hash = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(hash).run().await?;
    let sql = "UPDATE links SET used_at = $2
               WHERE user_id = $1 AND kind = 'password' AND used_at IS NULL";
    tx.query(sql).bind(id).bind(clock.now()).run().await?;
    let email = user(tx, id).await?.email;
    mails::post(tx, clock, &email, Content::PasswordChanged).await
}

/// The address that the link was mailed to is the user's now; the old one is told.
pub async fn confirm_email(tx: &mut Tx, clock: &Clock, key: &Key, token: &str) -> Result<User> {
    let link = redeem(tx, clock, key, token, "email").await?;
    let before = user(tx, link.user_id).await?;
    let email = link.email.ok_or(Error::not_found("link"))?;
    let sql = "UPDATE users SET email = $2 WHERE id = $1
               AND NOT EXISTS (SELECT 1 FROM users WHERE email = $2 AND id <> $1)";
    if tx.query(sql).bind(link.user_id).bind(&*email).run().await? == 0 {
        return Err(super::taken());
    }
    mails::post(tx, clock, &before.email, Content::EmailChanged { to: email }).await?;
    user(tx, link.user_id).await
}

async fn redeem(tx: &mut Tx, clock: &Clock, key: &Key, token: &str, kind: &str) -> Result<Link> {
    let unknown = || Error::not_found("link");
    let shown = Shown::read(token).filter(|shown| shown.is_good(key, 0)).ok_or_else(unknown)?;
    let sql = "SELECT id, kind, user_id, email, expires_at, used_at FROM links WHERE id = $1";
    let link: Option<Link> = tx.query_locked(sql).bind(shown.id).optional().await?;
    let link = link.filter(|link| link.kind == kind).ok_or_else(unknown)?;
    let now = clock.now();
    if link.used_at.is_some() {
        return Err(Error::new(Kind::Gone, "link_used", "this link was used, or a newer one was"));
    }
    if link.expires_at <= now {
        return Err(Error::new(
            Kind::Gone,
            "link_expired",
            "this link is too old; ask for another",
        ));
    }
    tx.query("UPDATE links SET used_at = $2 WHERE id = $1").bind(link.id).bind(now).run().await?;
    Ok(link)
}

/// Forgets links that are good for nothing any more.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    Ok(tx.query("DELETE FROM links WHERE expires_at < $1").bind(now - KEPT).run().await?)
}
