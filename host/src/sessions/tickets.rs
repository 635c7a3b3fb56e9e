//! Tickets for the event stream: a browser's EventSource can send no header, so it
//! shows one of these in the URL, once, within a minute.

use crate::{clock::Clock, error::Result, id::SessionId, seal, storage::Tx};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::Duration;

pub const LIFE: Duration = Duration::from_mins(1);

pub async fn issue(tx: &mut Tx, clock: &Clock, session: SessionId) -> Result<String> {
    let ticket = BASE64_URL_SAFE_NO_PAD.encode(clock.random::<24>());
    let now = clock.now();
    // Those nobody used are swept by the next one.
    tx.query("DELETE FROM stream_tickets WHERE expires_at <= $1").bind(now).run().await?;
    tx.query("INSERT INTO stream_tickets (hash, session_id, expires_at) VALUES ($1, $2, $3)")
        .bind(seal::digest(&ticket))
        .bind(session)
        .bind(now + LIFE)
        .run()
        .await?;
    Ok(ticket)
}

/// Uses the ticket up. True when it was good for this session.
pub async fn redeem(tx: &mut Tx, clock: &Clock, session: SessionId, ticket: &str) -> Result<bool> {
    let sql = "DELETE FROM stream_tickets WHERE hash = $1 AND session_id = $2 AND expires_at > $3";
    let used = tx.query(sql).bind(seal::digest(ticket)).bind(session).bind(clock.now());
    Ok(used.run().await? == 1)
}
