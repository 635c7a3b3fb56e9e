//! What the platform has to tell a user outside of any conversation.
//!
//! Whoever changes something that a user must learn of tells it in the same
//! transaction. A user's notifications are numbered in the order in which they are
//! committed, so one who knows the last number he has seen misses none.

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{NotificationId, SessionId, UserId},
    mails::{self, Content},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::Serialize;

/// What there is to tell: what a user may not want by mail.
pub const KINDS: [&str; 4] = ["low_balance", "payment_failed", "session_ended", "webhook_disabled"];

/// A user's newest, which are kept; an older one makes room.
const KEPT: i64 = 1_000;

/// Rows deleted in one transaction.
pub const BATCH: i64 = 500;

/// Users who are told of in one look.
const USERS: i64 = 10_000;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub id: NotificationId,
    /// Its number among those of this user.
    pub seq: i64,
    /// Stable, for programs: `low_balance`, `payment_failed`, `session_ended` or
    /// `webhook_disabled`.
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    pub session_id: Option<SessionId>,
    /// For people.
    pub text: String,
    pub created_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// Tells the user something. His inbox is locked from here to the end of the
/// transaction, so make it the last thing, or nearly; and whoever tells several users in
/// one transaction tells them in the order of their ids.
pub async fn tell(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    kind: &'static str,
    session: Option<SessionId>,
    text: impl Into<String>,
) -> Result<Notification> {
    let now = clock.now();
    let numbered = tx.query(
        "INSERT INTO inboxes (user_id, last_seq, told_at) VALUES ($1, 1, $2)
         ON CONFLICT (user_id)
         DO UPDATE SET last_seq = inboxes.last_seq + 1, told_at = excluded.told_at
         RETURNING last_seq",
    );
    let (seq,): (i64,) = numbered.bind(user).bind(now).one().await?;
    let sql = "DELETE FROM notifications WHERE user_id = $1 AND seq <= $2";
    tx.query(sql).bind(user).bind(seq - KEPT).run().await?;
    let told = tx.query(
        "INSERT INTO notifications (user_id, seq, id, type, session_id, text, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING id, seq, type, session_id, text, created_at, read_at",
    );
    let told = told.bind(user).bind(seq).bind(clock.id::<NotificationId>()).bind(kind);
    let told: Notification = told.bind(session).bind(text.into()).bind(now).one().await?;
    mail(tx, clock, user, &told).await?;
    Ok(told)
}

/// Mails it too, unless the user does not want that.
async fn mail(tx: &mut Tx, clock: &Clock, user: UserId, told: &Notification) -> Result<()> {
    let sql = "SELECT email, unmailed FROM users WHERE id = $1";
    let (email, Json(unmailed)): (String, Json<Vec<String>>) =
        tx.query(sql).bind(user).one().await?;
    if unmailed.contains(&told.kind) {
        return Ok(());
    }
    let about = match &*told.kind {
        "low_balance" => "Your balance is low",
        "payment_failed" => "A payment has failed",
        "session_ended" => "A session has ended",
        "webhook_disabled" => "Your webhook is disabled",
        _ => "News from Aiybiz",
    };
    let content = Content::Notification { about: about.into(), text: told.text.clone() };
    mails::post(tx, clock, &email, content).await
}

/// A page of the user's, newest first.
pub async fn list(
    tx: &mut Tx,
    user: UserId,
    only_unread: bool,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Notification>> {
    let found = tx.query(
        "SELECT id, seq, type, session_id, text, created_at, read_at FROM notifications
         WHERE user_id = $1 AND ($2 IS NULL OR seq < $2) AND (NOT $3 OR read_at IS NULL)
         ORDER BY seq DESC LIMIT $4",
    );
    Ok(found.bind(user).bind(before).bind(only_unread).bind(limit).all().await?)
}

/// Notes that the user has read it; the first time is the one that counts.
pub async fn read(
    tx: &mut Tx,
    clock: &Clock,
    user: UserId,
    id: NotificationId,
) -> Result<Notification> {
    let read = tx.query(
        "UPDATE notifications SET read_at = COALESCE(read_at, $3) WHERE id = $1 AND user_id = $2
         RETURNING id, seq, type, session_id, text, created_at, read_at",
    );
    let read = read.bind(id).bind(user).bind(clock.now());
    read.optional().await?.ok_or(Error::not_found("notification"))
}

/// The number of the newest one; zero when the user was never told anything.
pub async fn last_seq(tx: &mut Tx, user: UserId) -> Result<i64> {
    let sql = "SELECT last_seq FROM inboxes WHERE user_id = $1";
    let found: Option<(i64,)> = tx.query(sql).bind(user).optional().await?;
    Ok(found.map_or(0, |(seq,)| seq))
}

/// Those after number `after`, oldest first.
pub async fn after(tx: &mut Tx, user: UserId, after: i64, limit: i64) -> Result<Vec<Notification>> {
    let found = tx.query(
        "SELECT id, seq, type, session_id, text, created_at, read_at FROM notifications
         WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    );
    Ok(found.bind(user).bind(after).bind(limit).all().await?)
}

/// Who was told something since `since`, and the number of the newest of each.
pub async fn told_since(tx: &mut Tx, since: Timestamp) -> Result<Vec<(UserId, i64)>> {
    let sql = "SELECT user_id, last_seq FROM inboxes WHERE told_at >= $1
               ORDER BY told_at DESC LIMIT $2";
    Ok(tx.query(sql).bind(since).bind(USERS).all().await?)
}

/// Deletes some that were read and are from before `until`; says how many.
pub async fn sweep(tx: &mut Tx, until: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM notifications WHERE id IN (
                   SELECT id FROM notifications WHERE read_at IS NOT NULL AND created_at < $1
                   ORDER BY created_at LIMIT $2)";
    Ok(tx.query(sql).bind(until).bind(BATCH).run().await?)
}
