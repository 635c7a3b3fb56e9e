//! Sending events again that their webhook did not take, or took and lost: one, or all
//! that died in a span of time.
//!
//! An event that is sent again goes back into its session's lane, where its number puts
//! it before all that came later. It keeps its id, so a receiver that has seen it knows.

use super::{attempts, lane::Lease, log::Entry};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{AgentId, AttemptId, ClaimId, EventId, ReplayId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// Events put back in one transaction: their sessions' rows are locked meanwhile.
pub const BATCH: i64 = 20;

/// Ranges that may be replayed for one agent at a time.
const RUNNING: i64 = 5;

/// A span of time, being replayed.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    pub id: ReplayId,
    #[serde(skip)]
    pub agent_id: AgentId,
    /// Of this session only; null for all.
    pub session_id: Option<SessionId>,
    pub since: Timestamp,
    pub until: Timestamp,
    /// `running`, `done`, `cancelled`.
    pub state: String,
    /// Dead events in the span when it began.
    pub total: i64,
    /// Those that were put back to be sent again.
    pub replayed: i64,
    /// Those that were not: they arrived meanwhile, or their session is over.
    pub skipped: i64,
    #[serde(skip)]
    pub last_seen: Option<AttemptId>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

macro_rules! replay_columns {
    () => {
        "id, agent_id, session_id, since, until, state, total, replayed, skipped, last_seen,
         created_at, finished_at"
    };
}

/// Which dead events.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub session: Option<SessionId>,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// Puts an event back into its lane. True when the caller now drives it with `lease`.
pub async fn again(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    event: EventId,
    lease: Lease,
) -> Result<bool> {
    // The session's row is the queue for all that changes its lane.
    let sql = "SELECT status, queued FROM sessions WHERE id = $1";
    let found: Option<(String, i64)> = tx.query_locked(sql).bind(session).optional().await?;
    let (status, queued) = found.ok_or(Error::not_found("session"))?;
    let sql = "SELECT session_id, seq, id, type, body, created_at, delivery FROM events
               WHERE session_id = $1 AND id = $2 AND delivery IS NOT NULL";
    let entry: Option<Entry> = tx.query(sql).bind(session).bind(event).optional().await?;
    let entry = entry.ok_or(Error::not_found("event"))?;
    if status == "completed" && entry.kind != "session_ended" {
        let detail = "the session is over, and with it the token by which its agent answers";
        return Err(Error::conflict("session_ended", detail));
    }
    let now = clock.now();
    match entry.delivery.as_deref() {
        Some("running") => {
            return Err(Error::conflict("delivery_running", "the event is being sent just now"));
        }
        // It waits for another try, which is now.
        Some("queued") => {}
        _ if queued >= super::QUEUED => {
            let detail = format!("{} events wait for the agent; let it catch up", super::QUEUED);
            return Err(Error::new(Kind::TooMany(1), "session_queue_full", detail));
        }
        _ => {
            let sql = "UPDATE sessions SET queued = queued + 1 WHERE id = $1";
            tx.query(sql).bind(session).run().await?;
        }
    }
    let sql = "UPDATE events SET delivery = 'queued', failures = 0, replayed = TRUE
               WHERE session_id = $1 AND seq = $2";
    tx.query(sql).bind(session).bind(entry.seq).run().await?;
    let claimed: Option<(Option<ClaimId>,)> = tx
        .query(
            "UPDATE sessions SET lane_due = $2, lane_claim = $3, lane_until = $4
             WHERE id = $1 AND (lane_claim IS NULL OR lane_until < $2) RETURNING lane_claim",
        )
        .bind(session)
        .bind(now)
        .bind(lease.claim)
        .bind(lease.until)
        .optional()
        .await?;
    Ok(claimed.is_some())
}

/// How many tries a range has whose event died with them.
pub async fn count(tx: &mut Tx, agent: AgentId, range: Range) -> Result<i64> {
    let found = tx.query(
        "SELECT COUNT(*) FROM attempts
         WHERE agent_id = $1 AND outcome = 'dead' AND cause <> 'test'
           AND created_at >= $2 AND created_at < $3 AND ($4 IS NULL OR session_id = $4)",
    );
    let found = found.bind(agent).bind(range.since).bind(range.until).bind(range.session);
    let (count,): (i64,) = found.one().await?;
    Ok(count)
}

/// Begins to replay a range.
pub async fn begin(tx: &mut Tx, clock: &Clock, agent: AgentId, range: Range) -> Result<Replay> {
    // The agent's row is the queue for the places.
    tx.query_locked("SELECT id FROM agents WHERE id = $1").bind(agent).run().await?;
    let sql = "SELECT COUNT(*) FROM replays WHERE agent_id = $1 AND state = 'running'";
    let (running,): (i64,) = tx.query(sql).bind(agent).one().await?;
    if running >= RUNNING {
        let detail = format!("{RUNNING} ranges of this agent are being replayed already");
        return Err(Error::conflict("too_many_replays", detail));
    }
    let total = count(tx, agent, range).await?;
    let sql = concat!(
        "INSERT INTO replays (id, agent_id, session_id, since, until, state, total, created_at)
         VALUES ($1, $2, $3, $4, $5, 'running', $6, $7) RETURNING ",
        replay_columns!()
    );
    let begun = tx.query(sql).bind(clock.id::<ReplayId>()).bind(agent).bind(range.session);
    let begun = begun.bind(range.since).bind(range.until).bind(total).bind(clock.now());
    Ok(begun.one().await?)
}

/// One of an agent's.
pub async fn find(tx: &mut Tx, agent: AgentId, id: ReplayId) -> Result<Replay> {
    let sql =
        concat!("SELECT ", replay_columns!(), " FROM replays WHERE agent_id = $1 AND id = $2");
    let found = tx.query(sql).bind(agent).bind(id).optional().await?;
    found.ok_or(Error::not_found("replay"))
}

/// Those of an agent, newest first.
pub async fn list(
    tx: &mut Tx,
    agent: AgentId,
    before: Option<ReplayId>,
    limit: i64,
) -> Result<Vec<Replay>> {
    let sql = concat!(
        "SELECT ",
        replay_columns!(),
        " FROM replays WHERE agent_id = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    );
    Ok(tx.query(sql).bind(agent).bind(before).bind(limit).all().await?)
}

/// Stops it where it is; what was put back stays so. A second time changes nothing.
pub async fn cancel(tx: &mut Tx, clock: &Clock, id: ReplayId) -> Result<()> {
    finish(tx, clock, id, "cancelled").await
}

/// Goes on with one that runs, by a batch: the sessions whose lanes the caller now
/// drives. None when there is nothing to do.
pub async fn step(
    tx: &mut Tx,
    clock: &Clock,
    lease: impl Fn() -> Lease,
) -> Result<Option<Vec<(SessionId, ClaimId)>>> {
    let sql = concat!(
        "SELECT ",
        replay_columns!(),
        " FROM replays WHERE state = 'running' ORDER BY id LIMIT 1"
    );
    let Some(replay): Option<Replay> = tx.query_skip_locked(sql).optional().await? else {
        return Ok(None);
    };
    let dead = attempts::dead(tx, &replay, BATCH).await?;
    let (mut claimed, mut put_back) = (Vec::new(), 0);
    for (_, session, event) in &dead {
        let lease = lease();
        let claim = lease.claim;
        if !died(tx, *session, *event).await? {
            continue;
        }
        match again(tx, clock, *session, *event, lease).await {
            Ok(drives) => {
                put_back += 1;
                claimed.extend(drives.then_some((*session, claim)));
            }
            Err(error) if matches!(error.kind, Kind::Internal | Kind::Unavailable(_)) => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    let seen = i64::try_from(dead.len()).unwrap_or(BATCH);
    let sql = "UPDATE replays SET replayed = replayed + $2, skipped = skipped + $3, last_seen = $4
               WHERE id = $1";
    let last = dead.last().map(|(attempt, ..)| *attempt).or(replay.last_seen);
    let done = tx.query(sql).bind(replay.id).bind(put_back).bind(seen - put_back).bind(last);
    done.run().await?;
    if seen < BATCH {
        finish(tx, clock, replay.id, "done").await?;
    }
    Ok(Some(claimed))
}

/// Is it still as it was left: given up?
async fn died(tx: &mut Tx, session: SessionId, event: EventId) -> Result<bool> {
    let sql = "SELECT seq FROM events WHERE session_id = $1 AND id = $2 AND delivery = 'failed'";
    let found: Option<(i64,)> = tx.query(sql).bind(session).bind(event).optional().await?;
    Ok(found.is_some())
}

async fn finish(tx: &mut Tx, clock: &Clock, id: ReplayId, state: &str) -> Result<()> {
    let sql = "UPDATE replays SET state = $2, finished_at = $3 WHERE id = $1 AND state = 'running'";
    tx.query(sql).bind(id).bind(state).bind(clock.now()).run().await?;
    Ok(())
}
