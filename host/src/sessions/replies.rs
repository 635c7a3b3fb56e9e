//! What an agent says, stored once however often it is said.
//!
//! A reply has a key: `<event>:<ordinal>` for a component, what the agent chose for
//! a webhook. The same key again finds the first one, so an event that is delivered
//! twice cannot say anything twice.

use super::{
    find,
    log::{self, Entry, New},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{ClaimId, EventId, SessionId},
    storage::Tx,
};
use serde_json::json;

/// Who says something for the agent.
#[derive(Clone, Copy)]
pub enum Speaker {
    /// The driver of the lane; a late one has another claim and is refused.
    Lane(ClaimId),
    /// A webhook agent, known by the session's token.
    Token,
}

/// What makes a repeated reply the same reply.
pub struct ReplyKey {
    pub text: String,
    /// It may have been used before. When that cannot be, a look is spared.
    pub maybe_used: bool,
}

/// Stores what the agent says. The same key again finds the first one.
pub async fn reply(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    speaker: Speaker,
    message: EventId,
    content: &str,
    key: Option<ReplyKey>,
) -> Result<Replied> {
    if let Some(key) = &key
        && let Some(entry) = replied(tx, id, key).await?
    {
        return Ok(Replied::Before(entry));
    }
    let now = clock.now();
    let Some(seq) = next_seq(tx, id, speaker).await? else {
        return Ok(match find(tx, id).await?.ok_or(Error::not_found("session"))? {
            session if session.over() => Replied::Ended,
            _ => Replied::Superseded,
        });
    };
    let mut new = New::of("message", json!({ "role": "agent", "content": content }));
    new.reply_key = key.map(|key| key.text);
    Ok(Replied::Now(log::insert(tx, id, seq, message, new, now).await?))
}

/// What was said under this key before. Whoever asks at the same time waits until
/// this transaction ends: the session's row is the queue.
pub async fn replied(tx: &mut Tx, id: SessionId, key: &ReplyKey) -> Result<Option<Entry>> {
    if !key.maybe_used {
        return Ok(None);
    }
    tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(id).run().await?;
    log::by_reply_key(tx, id, &key.text).await
}

pub enum Replied {
    Now(Entry),
    /// This reply was stored by an earlier try.
    Before(Entry),
    Ended,
    Superseded,
}

/// Adds an entry that only the client learns of. None when the session is over or
/// the lane has another driver.
pub async fn note(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    speaker: Speaker,
    new: New,
) -> Result<Option<Entry>> {
    let now = clock.now();
    let Some(seq) = next_seq(tx, id, speaker).await? else { return Ok(None) };
    Ok(Some(log::insert(tx, id, seq, clock.id(), new, now).await?))
}

/// The next number of a log that is still open.
pub(super) async fn next_seq(tx: &mut Tx, id: SessionId, speaker: Speaker) -> Result<Option<i64>> {
    let numbered: Option<(i64,)> = match speaker {
        Speaker::Lane(claim) => {
            let sql = "UPDATE sessions SET last_seq = last_seq + 1
                       WHERE id = $1 AND status <> 'completed' AND lane_claim = $2
                       RETURNING last_seq";
            tx.query(sql).bind(id).bind(claim).optional().await?
        }
        Speaker::Token => {
            let sql = "UPDATE sessions SET last_seq = last_seq + 1
                       WHERE id = $1 AND status <> 'completed' RETURNING last_seq";
            tx.query(sql).bind(id).optional().await?
        }
    };
    Ok(numbered.map(|(seq,)| seq))
}
