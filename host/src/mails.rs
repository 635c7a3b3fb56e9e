//! What is to be mailed: an outbox.
//!
//! Whoever gives reason to a mail posts it in the same transaction, so there is no mail
//! about what did not happen, and none is forgotten. `work::outbox` sends it. What is
//! stored says everything but the secret of a link, which is derived when the mail is
//! written out: a copy of this table lets nobody in.

use crate::{
    clock::Clock,
    error::Result,
    id::{InvitationId, LinkId, MailId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a sender may take with one mail before another takes it over: longer than a
/// mail server does, which is given a minute.
const LEASE: Duration = Duration::from_mins(2);

/// Waits between tries; most refusals are greylisting, which RFC 6647 lets end within
/// minutes. After the last one it is given up.
const WAITS: [Duration; 6] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(6),
    Duration::from_hours(12),
];

/// How long it is kept that a mail was sent.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// Rows deleted in one transaction.
const BATCH: i64 = 500;

/// The longest reason that is kept of a mail server's.
const ERROR_CHARS: usize = 500;

/// What a mail is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    Invitation {
        invitation: InvitationId,
        number: i64,
        company: String,
        by: String,
    },
    /// Somebody, perhaps nobody we know, says that he has forgotten his password.
    PasswordForgotten,
    PasswordReset {
        link: LinkId,
    },
    PasswordChanged,
    /// To the new address.
    EmailChange {
        link: LinkId,
    },
    /// To the old address.
    EmailChanged {
        to: String,
    },
    SecondFactor {
        on: bool,
    },
    Notification {
        about: String,
        text: String,
    },
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Mail {
    pub id: MailId,
    pub email: String,
    pub content: Json<Content>,
    pub state: String,
    pub attempts: i64,
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

/// A mail as people read it: plain text.
pub struct Letter {
    pub subject: String,
    pub text: String,
}

pub async fn post(tx: &mut Tx, clock: &Clock, email: &str, content: Content) -> Result<()> {
    let sql = "INSERT INTO mails (id, email, content, state, due_at, created_at)
               VALUES ($1, $2, $3, 'due', $4, $4)";
    let posted = tx.query(sql).bind(clock.id::<MailId>()).bind(email).bind(Json(content));
    posted.bind(clock.now()).run().await?;
    Ok(())
}

/// Takes some that are due, the oldest first. They are due again when their sender does
/// not say what became of them.
pub async fn claim(tx: &mut Tx, clock: &Clock, limit: i64) -> Result<Vec<Mail>> {
    let now = clock.now();
    let claimed = tx.query(
        "UPDATE mails SET due_at = $2, attempts = attempts + 1
         WHERE state = 'due' AND due_at <= $1 AND id IN (
             SELECT id FROM mails WHERE state = 'due' AND due_at <= $1 ORDER BY due_at LIMIT $3)
         RETURNING id, email, content, state, attempts, error, created_at, sent_at",
    );
    Ok(claimed.bind(now).bind(now + LEASE).bind(limit).all().await?)
}

/// It says something else now: who asked is known.
pub async fn becomes(tx: &mut Tx, id: MailId, content: &Content) -> Result<()> {
    let sql = "UPDATE mails SET content = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(Json(content)).run().await?;
    Ok(())
}

/// Nobody is to get it.
pub async fn drop(tx: &mut Tx, id: MailId) -> Result<()> {
    tx.query("DELETE FROM mails WHERE id = $1").bind(id).run().await?;
    Ok(())
}

pub async fn sent(tx: &mut Tx, clock: &Clock, id: MailId) -> Result<()> {
    let sql = "UPDATE mails SET state = 'sent', sent_at = $2, error = NULL WHERE id = $1";
    tx.query(sql).bind(id).bind(clock.now()).run().await?;
    Ok(())
}

/// There is no mail server: an operator passes it on.
pub async fn shown(tx: &mut Tx, id: MailId) -> Result<()> {
    tx.query("UPDATE mails SET state = 'shown' WHERE id = $1").bind(id).run().await?;
    Ok(())
}

/// The mail server did not take it: it is tried again, unless for good or too often.
pub async fn failed(
    tx: &mut Tx,
    clock: &Clock,
    mail: &Mail,
    error: &str,
    for_good: bool,
) -> Result<()> {
    let tried = usize::try_from(mail.attempts).unwrap_or(usize::MAX);
    let wait = WAITS.get(tried.saturating_sub(1)).filter(|_| !for_good);
    let state = if wait.is_some() { "due" } else { "failed" };
    let due = clock.now() + wait.copied().unwrap_or_default();
    let error: String = error.chars().take(ERROR_CHARS).collect();
    let sql = "UPDATE mails SET state = $2, due_at = $3, error = $4 WHERE id = $1";
    tx.query(sql).bind(mail.id).bind(state).bind(due).bind(error).run().await?;
    Ok(())
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    state: Option<&str>,
    before: Option<MailId>,
    limit: i64,
) -> Result<Vec<Mail>> {
    let found = tx.query(
        "SELECT id, email, content, state, attempts, error, created_at, sent_at FROM mails
         WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3",
    );
    Ok(found.bind(state).bind(before).bind(limit).all().await?)
}

/// Deletes some that were done with long ago.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM mails WHERE id IN (
                   SELECT id FROM mails WHERE state <> 'due' AND created_at < $1 LIMIT $2)";
    Ok(tx.query(sql).bind(now - KEPT).bind(BATCH).run().await?)
}

impl Content {
    /// As people read it; `link` is where its link leads, if it has one.
    pub fn letter(&self, link: &str) -> Letter {
        let (subject, text) = match self {
            Self::Invitation { company, by, .. } => (
                format!("{by} invites you to {company}"),
                format!(
                    "{by} invites you to work with {company} on Aiybiz.\n\nAccept within seven \
                     days:\n{link}\n\nIf you do not know {company}, do nothing."
                ),
            ),
            Self::PasswordForgotten | Self::PasswordReset { .. } => (
                "Choose a new password".to_owned(),
                format!(
                    "Somebody, you we hope, wants a new password for your account on Aiybiz.\n\n\
                     Choose one within an hour:\n{link}\n\nIf it was not you, do nothing: your \
                     password stays as it is."
                ),
            ),
            Self::PasswordChanged => (
                "Your password was changed".to_owned(),
                "The password of your account on Aiybiz was changed, and whoever was signed in \
                 with the old one has to sign in again.\n\nIf it was not you, ask for a new \
                 password now and tell the platform's operator."
                    .to_owned(),
            ),
            Self::EmailChange { .. } => (
                "Confirm your mail address".to_owned(),
                format!(
                    "This address is to become that of an account on Aiybiz.\n\nConfirm it within \
                     a day:\n{link}\n\nIf it was not you, do nothing."
                ),
            ),
            Self::EmailChanged { to } => (
                "Your mail address was changed".to_owned(),
                format!(
                    "The mail address of your account on Aiybiz is {to} now.\n\nIf it was not \
                     you, tell the platform's operator."
                ),
            ),
            Self::SecondFactor { on } => {
                let state = if *on { "on" } else { "off" };
                (
                    format!("Signing in with a second factor is {state}"),
                    format!(
                        "The second factor of your account on Aiybiz was turned {state}.\n\nIf it \
                         was not you, choose a new password now."
                    ),
                )
            }
            Self::Notification { about, text } => (about.clone(), text.clone()),
        };
        Letter { subject, text }
    }
}
