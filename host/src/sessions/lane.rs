//! The lane of a session: its events reach the agent one at a time and in order,
//! driven by exactly one worker anywhere.
//!
//! Whoever drives holds a claim, written on the session's row with the time until
//! which it is good. Everything a driver does names its claim; when the claim was
//! taken over meanwhile, the row no longer matches and nothing happens.

use super::{log::Entry, sockets::SILENCE};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{AgentId, CanaryId, ClaimId, CompanyId, EventId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;
use uuid::Uuid;

/// How long a claim is good without being renewed. The lane of a driver that is
/// gone for good stands still for as long.
pub const LEASE: Duration = Duration::from_secs(20);

/// How often a driver renews: three times within a lease.
pub const RENEW: Duration = Duration::from_secs(6);

/// Names a process that drives lanes, and its successors on the same data folder.
/// The first half of each of its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeKey(pub [u8; 8]);

/// A claim about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub claim: ClaimId,
    pub until: Timestamp,
}

impl Lease {
    pub fn new(clock: &Clock, node: NodeKey) -> Self {
        Self { claim: node.claim(clock.random()), until: clock.now() + LEASE }
    }
}

impl NodeKey {
    /// The first and the last of all claims that this node may ever make.
    pub fn claims(self) -> (ClaimId, ClaimId) {
        (self.claim([0; 8]), self.claim([0xff; 8]))
    }

    fn claim(self, rest: [u8; 8]) -> ClaimId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0);
        bytes[8..].copy_from_slice(&rest);
        ClaimId(Uuid::from_bytes(bytes))
    }
}

/// Lets go of every lane that this node's dead predecessor was driving, so that
/// nobody waits for its claims to run out. Call it before driving anything.
pub async fn release_all(tx: &mut Tx, node: NodeKey) -> Result<u64> {
    let sql = "UPDATE sessions SET lane_claim = NULL, lane_until = NULL
               WHERE lane_claim >= $1 AND lane_claim <= $2";
    let (first, last) = node.claims();
    Ok(tx.query(sql).bind(first).bind(last).run().await?)
}

/// What is to be delivered now, and for the how-manieth time.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Due {
    #[sqlx(flatten)]
    pub entry: Entry,
    pub attempt: i64,
    /// Tries of it that failed: fewer than there were, when the platform died in one.
    pub failures: i64,
    /// Its builder has asked for it again.
    pub replayed: bool,
}

impl Due {
    /// An entry whose first try this is.
    pub fn first(entry: Entry) -> Self {
        Self { entry, attempt: 1, failures: 0, replayed: false }
    }
}

/// Takes over up to `limit` lanes that have something due and no living driver. Those of
/// agents whose socket another process has are left to that one.
pub async fn claim_due(
    tx: &mut Tx,
    clock: &Clock,
    node: NodeKey,
    limit: i64,
) -> Result<Vec<(SessionId, ClaimId)>> {
    let now = clock.now();
    let due: Vec<(SessionId,)> = tx
        .query_skip_locked(
            "SELECT id FROM sessions
             WHERE queued > 0 AND lane_due <= $1 AND (lane_until IS NULL OR lane_until < $1)
               AND id IN (SELECT session_id FROM events WHERE delivery IN ('queued', 'running'))
               AND NOT EXISTS (SELECT 1 FROM sockets k WHERE k.session_id = sessions.id
                                   AND k.node <> $3 AND k.heard_at >= $4 AND k.status <> 'offline')
             ORDER BY lane_due LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .bind(node.0.to_vec())
        .bind(now - SILENCE)
        .all()
        .await?;
    let mut claimed = Vec::with_capacity(due.len());
    for (session,) in due {
        let lease = Lease::new(clock, node);
        tx.query("UPDATE sessions SET lane_claim = $2, lane_until = $3 WHERE id = $1")
            .bind(session)
            .bind(lease.claim)
            .bind(lease.until)
            .run()
            .await?;
        claimed.push((session, lease.claim));
    }
    Ok(claimed)
}

/// What waits for another try is due now: the agent has come. False when the session is
/// over.
pub async fn hurry(tx: &mut Tx, session: SessionId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE sessions SET lane_due =
                   CASE WHEN queued > 0 AND lane_claim IS NULL AND lane_due > $2 THEN $2
                        ELSE lane_due END
               WHERE id = $1 AND status <> 'completed'";
    Ok(tx.query(sql).bind(session).bind(now).run().await? == 1)
}

/// The first event that waits, counted as tried once more. Only for the driver.
pub async fn next(tx: &mut Tx, session: SessionId, claim: ClaimId) -> Result<Option<Due>> {
    let found = tx.query(
        "UPDATE events SET delivery = 'running', attempt = attempt + 1
         WHERE session_id = $1
           AND seq = (SELECT MIN(seq) FROM events
                      WHERE session_id = $1 AND delivery IN ('queued', 'running'))
           AND EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND lane_claim = $2)
         RETURNING session_id, seq, id, type, body, created_at, delivery, attempt,
                   failures, replayed",
    );
    Ok(found.bind(session).bind(claim).optional().await?)
}

/// Whom the lane leads to, as it is now.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Target {
    pub agent_id: AgentId,
    pub company_id: CompanyId,
    pub status: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub delivery: String,
    pub retry_policy: String,
    #[sqlx(flatten)]
    pub webhook: Webhook,
    /// The version of the component that the next event goes to.
    pub version: Option<i64>,
    pub sha256: Option<String>,
    /// Whether an instance may be kept for the session's next event.
    pub warm: bool,
    /// The number of the last event that was handled well; only where one is kept.
    pub last_delivered: Option<i64>,
    /// What operators have set for the platform and for this agent, as JSON.
    pub platform_limits: String,
    pub own_limits: Option<String>,
    /// The trial that this event counts for.
    pub canary_id: Option<CanaryId>,
    /// The client was told that the agent cannot be reached.
    pub failing: bool,
    /// The client does not want this one answered any more.
    pub cancelled_event: Option<EventId>,
    /// Which process has the agent's socket, if it has one, and when it was last heard.
    pub socket_node: Option<Vec<u8>>,
    pub socket_heard_at: Option<Timestamp>,
}

/// What a webhook agent is reached by.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Webhook {
    #[sqlx(rename = "webhook_url")]
    pub url: Option<String>,
    #[sqlx(rename = "webhook_secret")]
    pub secret: Option<Vec<u8>>,
    /// Others may go on signing beside it.
    pub rotated: bool,
    /// It has failed last time, and what follows from that (`catalog/endpoints.rs`).
    pub ailing: bool,
    pub held_until: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

pub async fn target(tx: &mut Tx, session: SessionId) -> Result<Target> {
    let found = tx.query(
        // A session keeps the version of a trial while it runs, and when it was promoted
        // if it keeps its version at all; else the one it is pinned to; else it follows
        // the active one.
        "SELECT s.agent_id, s.company_id, s.status, s.created_at, s.started_at, a.delivery,
                a.retry_policy, a.webhook_url, a.webhook_secret,
                EXISTS (SELECT 1 FROM former_secrets f WHERE f.agent_id = a.id) AS rotated,
                c.version, c.sha256,
                CASE WHEN k.state = 'running' THEN k.id END AS canary_id,
                COALESCE(c.warm, FALSE) AND NOT s.fresh AS warm,
                CASE WHEN c.warm THEN (SELECT MAX(e.seq) FROM events e
                                       WHERE e.session_id = s.id AND e.delivery = 'delivered')
                    END AS last_delivered,
                CAST(p.limits AS TEXT) AS platform_limits, CAST(l.limits AS TEXT) AS own_limits,
                s.failing, s.cancelled_event, w.agent_id IS NOT NULL AND w.recovered_at IS NULL AS ailing, w.held_until, w.disabled_at,
                o.node AS socket_node, o.heard_at AS socket_heard_at
         FROM sessions s
         JOIN agents a ON a.id = s.agent_id
         CROSS JOIN policy p
         LEFT JOIN agent_limits l ON l.agent_id = a.id
         LEFT JOIN endpoints w ON w.agent_id = a.id
         LEFT JOIN canaries k ON k.id = s.canary_id
         LEFT JOIN sockets o ON o.session_id = s.id AND o.status <> 'offline'
         LEFT JOIN components c ON c.agent_id = a.id AND c.version =
             CASE WHEN k.state = 'running' THEN k.version
                  WHEN s.pinned_since = a.pinned_since THEN
                      CASE WHEN k.state = 'promoted' THEN k.version ELSE s.version END
                  ELSE a.active_version END
         WHERE s.id = $1",
    );
    found.bind(session).optional().await?.ok_or(Error::not_found("session"))
}

/// Keeps the claim for another lease; none when it was lost, else the event that the
/// client has cancelled last.
pub async fn renew(
    tx: &mut Tx,
    session: SessionId,
    lease: Lease,
) -> Result<Option<Option<EventId>>> {
    let sql = "UPDATE sessions SET lane_until = $3 WHERE id = $1 AND lane_claim = $2
               RETURNING cancelled_event";
    let renewed = tx.query(sql).bind(session).bind(lease.claim).bind(lease.until);
    let renewed: Option<(Option<EventId>,)> = renewed.optional().await?;
    Ok(renewed.map(|(cancelled,)| cancelled))
}

/// How the delivery of an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Delivered,
    Failed,
    Cancelled,
}

/// Takes the event off the lane. The claim goes on when more is waiting. `None`
/// when the claim was lost: then nothing was written.
pub async fn finish(
    tx: &mut Tx,
    session: SessionId,
    lease: Lease,
    seq: i64,
    ending: Ending,
) -> Result<Option<Waiting>> {
    let left: Option<(i64,)> = tx
        .query(
            "UPDATE sessions SET queued = queued - 1,
                 lane_claim = CASE WHEN queued > 1 THEN lane_claim ELSE NULL END,
                 lane_until = CASE WHEN queued > 1 THEN $3 ELSE NULL END
             WHERE id = $1 AND lane_claim = $2 RETURNING queued",
        )
        .bind(session)
        .bind(lease.claim)
        .bind(lease.until)
        .optional()
        .await?;
    let Some((left,)) = left else { return Ok(None) };
    let ending = match ending {
        Ending::Delivered => "delivered",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
    };
    let sql =
        "UPDATE events SET delivery = $3, replayed = FALSE WHERE session_id = $1 AND seq = $2";
    tx.query(sql).bind(session).bind(seq).bind(ending).run().await?;
    Ok(Some(if left > 0 { Waiting::More } else { Waiting::Nothing }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    More,
    Nothing,
}

/// Puts the event back to be tried again at `due`, and lets go of the lane. What
/// came after it waits too.
pub async fn postpone(
    tx: &mut Tx,
    session: SessionId,
    claim: ClaimId,
    seq: i64,
    due: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE sessions SET lane_claim = NULL, lane_until = NULL, lane_due = $3
               WHERE id = $1 AND lane_claim = $2";
    if tx.query(sql).bind(session).bind(claim).bind(due).run().await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE events SET delivery = 'queued', failures = failures + 1
               WHERE session_id = $1 AND seq = $2";
    tx.query(sql).bind(session).bind(seq).run().await?;
    Ok(true)
}

/// Like [`postpone`], for an event that was not even tried.
pub async fn untried(
    tx: &mut Tx,
    session: SessionId,
    claim: ClaimId,
    seq: i64,
    due: Timestamp,
) -> Result<bool> {
    let kept = postpone(tx, session, claim, seq, due).await?;
    if kept {
        let sql = "UPDATE events SET attempt = attempt - 1, failures = failures - 1
                   WHERE session_id = $1 AND seq = $2";
        tx.query(sql).bind(session).bind(seq).run().await?;
    }
    Ok(kept)
}

/// Remembers what the client was told of its agent: that it cannot be reached, or that
/// it can again.
pub async fn failing(tx: &mut Tx, session: SessionId, failing: bool) -> Result<()> {
    let sql = "UPDATE sessions SET failing = $2 WHERE id = $1";
    tx.query(sql).bind(session).bind(failing).run().await?;
    Ok(())
}

/// Brings forward what waits for this agent, since it can be reached again.
pub async fn resume(tx: &mut Tx, agent: AgentId, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE sessions SET lane_due = $2
               WHERE agent_id = $1 AND queued > 0 AND lane_claim IS NULL AND lane_due > $2";
    Ok(tx.query(sql).bind(agent).bind(now).run().await?)
}

/// Events that wait for this agent.
pub async fn waiting(tx: &mut Tx, agent: AgentId) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(queued), 0) AS BIGINT) FROM sessions
               WHERE agent_id = $1 AND queued > 0";
    let (waiting,): (i64,) = tx.query(sql).bind(agent).one().await?;
    Ok(waiting)
}

/// What waits for this agent has all its tries again.
pub async fn forgive(tx: &mut Tx, agent: AgentId) -> Result<()> {
    let sql = "UPDATE events SET failures = 0
               WHERE delivery = 'queued' AND failures > 0 AND session_id IN
                   (SELECT id FROM sessions WHERE agent_id = $1 AND queued > 0)";
    tx.query(sql).bind(agent).run().await?;
    Ok(())
}
