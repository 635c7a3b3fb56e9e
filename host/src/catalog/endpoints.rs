//! How an agent's webhook does: answering, failing, held back by its breaker, or
//! disabled.
//!
//! A webhook that answers well has no row, and costs nothing. A failure makes one; after
//! a success it says for some time that all is well. When most tries of a minute have failed (`delivery/window.rs`
//! counts them), the breaker opens: events stay where they are, and one at a time is
//! sent to see whether the webhook is back.

use crate::{clock::Clock, error::Result, id::AgentId, storage::Tx, timestamp::Timestamp};
use std::time::Duration;

/// How long a breaker stays open the first time; then twice as long each time.
const OPEN: Duration = Duration::from_secs(30);

/// No longer than this: who mends his server does not want to wait for it.
const OPEN_MOST: Duration = Duration::from_mins(10);

/// What one try may take, and a little more: after that another may be sent to see.
const PROBE: Duration = Duration::from_secs(15);

/// How long it is known that a webhook is well again: whoever reads a session's stream
/// comes back every few minutes.
const REMEMBERED: Duration = Duration::from_hours(24);

/// A webhook that fails for long is disabled only after so many failures: one that is
/// hardly ever called has not proved much.
pub const FAILURES: i64 = 20;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Endpoint {
    pub failing_since: Timestamp,
    pub failures: i64,
    pub held_until: Option<Timestamp>,
    pub probing: bool,
    pub trips: i64,
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<String>,
    pub recovered_at: Option<Timestamp>,
}

/// Whether something may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// The breaker is open, but the time has come to see.
    Probe(Timestamp),
    HeldUntil(Timestamp),
    Disabled,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    None,
    Opened,
    Disabled,
}

impl Endpoint {
    /// For its builder.
    pub fn state(&self) -> &'static str {
        match (self.disabled_at, self.held_until) {
            (Some(_), _) => "disabled",
            (None, Some(_)) if self.probing => "half_open",
            (None, Some(_)) => "open",
            (None, None) if self.recovered_at.is_some() => "ok",
            (None, None) => "failing",
        }
    }
}

pub fn gate(disabled: Option<Timestamp>, held: Option<Timestamp>, now: Timestamp) -> Gate {
    match (disabled, held) {
        (Some(_), _) => Gate::Disabled,
        (None, None) => Gate::Open,
        (None, Some(until)) if until > now => Gate::HeldUntil(until),
        (None, Some(until)) => Gate::Probe(until),
    }
}

/// None for a webhook that answers well.
pub async fn find(tx: &mut Tx, agent: AgentId) -> Result<Option<Endpoint>> {
    let sql = "SELECT failing_since, failures, held_until, probing, trips, disabled_at,
                      disabled_reason, recovered_at
               FROM endpoints WHERE agent_id = $1";
    Ok(tx.query(sql).bind(agent).optional().await?)
}

/// Takes the right to send one event through a breaker that was open until `until`.
/// False when somebody else has taken it.
pub async fn probe(tx: &mut Tx, clock: &Clock, agent: AgentId, until: Timestamp) -> Result<bool> {
    let sql = "UPDATE endpoints SET probing = TRUE, held_until = $3
               WHERE agent_id = $1 AND held_until = $2 AND disabled_at IS NULL";
    let taken = tx.query(sql).bind(agent).bind(until).bind(clock.now() + PROBE);
    Ok(taken.run().await? == 1)
}

/// What is known of a try that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// It answered 410: it is gone for good.
    pub gone: bool,
    /// It was sent to see whether the webhook is back.
    pub probe: bool,
    /// With it, most of the last minute's tries have failed.
    pub trips: bool,
    /// For how long a webhook may fail before it is disabled.
    pub patience: Duration,
}

pub async fn failed(
    tx: &mut Tx,
    clock: &Clock,
    agent: AgentId,
    how: Failed,
) -> Result<Consequence> {
    let now = clock.now();
    let counted = tx.query(
        "INSERT INTO endpoints (agent_id, failing_since, failures) VALUES ($1, $2, 1)
         ON CONFLICT (agent_id) DO UPDATE SET failures = endpoints.failures + 1,
             failing_since = CASE WHEN endpoints.recovered_at IS NULL
                                  THEN endpoints.failing_since ELSE $2 END,
             recovered_at = NULL
         RETURNING failing_since, failures, held_until, probing, trips, disabled_at,
                   disabled_reason, recovered_at",
    );
    let endpoint: Endpoint = counted.bind(agent).bind(now).one().await?;
    if endpoint.disabled_at.is_some() {
        return Ok(Consequence::None);
    }
    let for_long = endpoint.failing_since + how.patience <= now && endpoint.failures >= FAILURES;
    if how.gone || for_long {
        let reason = if how.gone { "gone" } else { "failing" };
        let sql = "UPDATE endpoints SET disabled_at = $2, disabled_reason = $3, held_until = NULL,
                          probing = FALSE
                   WHERE agent_id = $1";
        tx.query(sql).bind(agent).bind(now).bind(reason).run().await?;
        return Ok(Consequence::Disabled);
    }
    let already = endpoint.held_until.is_some();
    if !(how.probe || how.trips && !already) {
        return Ok(Consequence::None);
    }
    let sql = "UPDATE endpoints SET held_until = $2, probing = FALSE, trips = trips + 1
               WHERE agent_id = $1";
    tx.query(sql).bind(agent).bind(now + open_for(endpoint.trips)).run().await?;
    Ok(if already { Consequence::None } else { Consequence::Opened })
}

/// A try went well: true if that was news.
pub async fn recovered(tx: &mut Tx, clock: &Clock, agent: AgentId) -> Result<bool> {
    // One that was disabled meanwhile stays so: its builder shall look at it.
    let sql = "UPDATE endpoints SET recovered_at = $2, failures = 0, held_until = NULL,
                      probing = FALSE, trips = 0
               WHERE agent_id = $1 AND recovered_at IS NULL AND disabled_at IS NULL";
    Ok(tx.query(sql).bind(agent).bind(clock.now()).run().await? == 1)
}

/// Its builder says that it is well again.
pub async fn enable(tx: &mut Tx, clock: &Clock, agent: AgentId) -> Result<()> {
    let sql = "UPDATE endpoints SET disabled_at = NULL, disabled_reason = NULL, told = FALSE
               WHERE agent_id = $1";
    tx.query(sql).bind(agent).run().await?;
    recovered(tx, clock, agent).await?;
    Ok(())
}

/// Disabled ones of which their builders were not told yet, and why.
pub async fn untold(tx: &mut Tx) -> Result<Vec<(AgentId, String)>> {
    let sql = "SELECT agent_id, disabled_reason FROM endpoints
               WHERE disabled_at IS NOT NULL AND NOT told
                 AND agent_id IN (SELECT id FROM agents WHERE deleted_at IS NULL)
               LIMIT 100";
    Ok(tx.query(sql).all().await?)
}

/// Its builder is told in this transaction. False when he was told before.
pub async fn told(tx: &mut Tx, agent: AgentId) -> Result<bool> {
    let sql = "UPDATE endpoints SET told = TRUE
               WHERE agent_id = $1 AND disabled_at IS NOT NULL AND NOT told";
    Ok(tx.query(sql).bind(agent).run().await? == 1)
}

/// Forgets those that have been well for long.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<()> {
    let sql = "DELETE FROM endpoints WHERE recovered_at < $1";
    tx.query(sql).bind(now - REMEMBERED).run().await?;
    Ok(())
}

fn open_for(trips: i64) -> Duration {
    let doublings = u32::try_from(trips).unwrap_or(u32::MAX).min(16);
    (OPEN * 2_u32.pow(doublings)).min(OPEN_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_for_twice_as_long_each_time_and_ten_minutes_at_most() {
        let seconds: Vec<_> = (0..7).map(|trips| open_for(trips).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(open_for(i64::MAX), OPEN_MOST);
    }
}
