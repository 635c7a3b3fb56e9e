//! How things stand at this moment, here and everywhere.

use crate::{error::Result, host::Host, metrics::Standing, timestamp::Timestamp};
use uuid::Uuid;

/// How far back postings are counted.
const LATELY_MILLIS: u64 = 60_000;

/// A transaction that changes something, and is given up: the database takes what is
/// written. Its schema was brought up to date before this process began to serve.
pub async fn writes(host: &Host) -> Result<()> {
    let mut tx = host.db.write().await?;
    tx.query("UPDATE inboxes SET last_seq = last_seq WHERE user_id IS NULL").run().await?;
    Ok(())
}

pub async fn now(host: &Host) -> Result<Standing> {
    let now = host.clock.now();
    let mut tx = host.db.read().await?;
    // There is an index of those with these very words.
    let sql =
        "SELECT COUNT(*), MIN(created_at) FROM events WHERE delivery IN ('queued', 'running')";
    let (events_waiting, oldest): (i64, Option<Timestamp>) = tx.query(sql).one().await?;
    let sql = "SELECT (SELECT COUNT(*) FROM sessions WHERE status <> 'completed'),
                      (SELECT COUNT(*) FROM mails WHERE state = 'due'),
                      (SELECT COUNT(*) FROM transfers WHERE due_at IS NOT NULL),
                      (SELECT COUNT(*) FROM ledger_postings WHERE id > $1)";
    // Ids begin with the time at which they were made.
    let since = host.clock.machine().as_millis().saturating_sub(LATELY_MILLIS);
    let since = Uuid::from_u128(u128::from(since) << 80);
    let (sessions_running, mails_due, transfers_due, postings) =
        tx.query(sql).bind(since).one().await?;
    let (all, warm) = (host.sandbox.standing_in_all(), host.sandbox.waiting());
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(Standing {
        events_waiting,
        oldest_event: oldest.map(|oldest| now.since(oldest)).unwrap_or_default(),
        sessions_running,
        mails_due,
        transfers_due,
        postings,
        streams: host.streams.count().into(),
        guests_running: signed(all.running),
        guests_waiting: signed(all.waiting),
        instances: signed(host.sandbox.instances() as u64),
        slots: signed(host.config.pool.instances),
        warm_bytes: signed(warm.bytes),
    })
}
