//! Tickets for the event stream: a browser's EventSource can send no header, so it
//! shows one of these in the URL, once, within a minute.

use crate::{clock::Clock, error::Result, id::SessionId, seal, storage::Tx};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::Duration;
use uuid::Uuid;

pub const LIFE: Duration = Duration::from_mins(1);

/// `via` is what the caller has shown of himself: a sign-in or a key.
pub async fn issue(tx: &mut Tx, clock: &Clock, session: SessionId, via: Uuid) -> Result<String> {
    let ticket = BASE64_URL_SAFE_NO_PAD.encode(clock.random::<24>());
    let now = clock.now();
    // Those nobody used are swept by the next one.
    tx.query("DELETE FROM stream_tickets WHERE expires_at <= $1").bind(now).run().await?;
    let sql = "INSERT INTO stream_tickets (hash, session_id, expires_at, via)
               VALUES ($1, $2, $3, $4)";
    let issued = tx.query(sql).bind(seal::digest(&ticket)).bind(session);
    issued.bind(now + LIFE).bind(via).run().await?;
    Ok(ticket)
}

/// Uses the ticket up. When it was good for this session: by what it was asked for.
pub async fn redeem(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    ticket: &str,
) -> Result<Option<Uuid>> {
    let sql = "DELETE FROM stream_tickets
               WHERE hash = $1 AND session_id = $2 AND expires_at > $3 AND via IS NOT NULL
               RETURNING via";
    let used = tx.query(sql).bind(seal::digest(ticket)).bind(session).bind(clock.now());
    let used: Option<(Uuid,)> = used.optional().await?;
    Ok(used.map(|(via,)| via))
}
