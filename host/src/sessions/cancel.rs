//! A client does not want to wait any longer: what its agent is at is broken off, and
//! what was already shown of a reply stays as it is.
//!
//! Hanging up is no cancelling: only this is.

use super::{
    drafts,
    log::{self, Entry, New},
    owned_by,
    replies::{self, Speaker},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{ClaimId, CompanyId, EventId, SessionId},
    storage::Tx,
};
use serde_json::json;

/// What was cancelled.
pub struct Cancelled {
    /// The message that the agent was at. Whoever drives the lane breaks it off.
    pub event: Option<EventId>,
    /// Replies that were being written, as far as they had come.
    pub replies: Vec<Entry>,
}

/// Asks for what the agent is at to be broken off: the event it has been sent, be it that
/// it is being tried now or waits for another try, and the replies that arrive in pieces.
pub async fn ask(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    company: CompanyId,
) -> Result<Cancelled> {
    // The row is the queue for all that changes the session.
    tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(id).run().await?;
    let session = owned_by(tx, id, company).await?;
    match session.status.as_str() {
        "active" => {}
        "completed" => return Err(Error::conflict("session_ended", "the session is over")),
        _ => return Err(Error::conflict("session_not_active", "the session is not active yet")),
    }
    let sql = "SELECT id FROM events
               WHERE session_id = $1 AND delivery IN ('queued', 'running')
                 AND type = 'message' AND attempt > 0
               ORDER BY seq LIMIT 1";
    let event: Option<(EventId,)> = tx.query(sql).bind(id).optional().await?;
    let event = event.map(|(event,)| event);
    if let Some(event) = event {
        // What waits for another try is due now, and then not tried.
        let sql = "UPDATE sessions SET cancelled_event = $2,
                       lane_due = CASE WHEN lane_claim IS NULL THEN $3 ELSE lane_due END
                   WHERE id = $1";
        tx.query(sql).bind(id).bind(event).bind(clock.now()).run().await?;
    }
    let mut replies = Vec::new();
    for draft in drafts::take_all(tx, id).await? {
        let new = partial(&draft.content, Some(format!("stream:{}", draft.stream_id)));
        replies.extend(keep(tx, clock, id, Speaker::Token, draft.message_id, new).await?);
    }
    Ok(Cancelled { event, replies })
}

/// Keeps what was shown of a component's reply before it was broken off.
pub async fn keep_partial(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    claim: ClaimId,
    message: EventId,
    text: &str,
) -> Result<Option<Entry>> {
    keep(tx, clock, id, Speaker::Lane(claim), message, partial(text, None)).await
}

/// A reply as far as it had come. Under the name of its stream, a piece that comes late
/// finds it finished.
fn partial(text: &str, reply_key: Option<String>) -> New {
    let body = json!({ "role": "agent", "content": text, "cancelled": true });
    let mut new = New::of("message", body);
    new.reply_key = reply_key;
    new
}

async fn keep(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    speaker: Speaker,
    message: EventId,
    new: New,
) -> Result<Option<Entry>> {
    let Some(seq) = replies::next_seq(tx, id, speaker).await? else { return Ok(None) };
    Ok(Some(log::insert(tx, id, seq, message, new, clock.now()).await?))
}
