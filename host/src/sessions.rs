//! Sessions: a conversation between one member of a company and one agent.
//!
//! A session is a numbered log ([`log`]). Everything a client sees, live or later,
//! is read from it, and nothing is told to a client before it is in it. Entries
//! that the agent must learn of are delivered by the session's lane ([`lane`]),
//! one at a time and in order.

pub mod attempts;
pub mod cancel;
pub mod closing;
pub mod cron;
pub mod direct;
pub mod drafts;
pub mod lane;
pub mod lines;
pub mod log;
pub mod memory;
mod notice;
pub mod overview;
pub mod receipts;
pub mod rentals;
pub mod replays;
pub mod replies;
pub mod shared;
pub mod sockets;
pub mod suspended;
pub mod tickets;
pub mod withdrawn;

use crate::{
    billing::{charges, subscriptions, wallet},
    catalog::{self, Template, canaries},
    clock::Clock,
    error::{Error, Kind, Result},
    id::{AgentId, BuilderId, ClaimId, CompanyId, MemberId, SessionId},
    storage::{Tx, gone},
    timestamp::Timestamp,
};
use lane::Lease;
use log::{Entry, New};
use serde::Serialize;
use serde_json::json;

/// The longest message of a client, in bytes.
pub const MESSAGE_BYTES: usize = 64 << 10;

/// Events that may wait for one agent. A client that writes faster than its agent
/// answers is told to slow down.
const QUEUED: i64 = 1_000;

/// One rental: a conversation between a member of a company and an agent.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub agent_name: String,
    #[serde(skip)]
    pub company_id: CompanyId,
    /// Who in the company opened it.
    pub member_id: MemberId,
    /// `provisioning`, `active`, `paused`, `completed`.
    pub status: String,
    /// `wallet`, `subscription`, `free`.
    pub billing_model: String,
    /// As it was when the session was opened.
    pub price_cents_per_hour: i64,
    pub created_at: Timestamp,
    /// When the agent was ready. It is billed from then on.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// `client`, `low_balance`, `stale`, `provisioning_timeout`, `agent_failed`, `operator`,
    /// `plan_lapsed`, `agent_withdrawn`.
    pub end_reason: Option<String>,
    /// What it cost, known when it is over.
    pub billed_cents: Option<i64>,
    /// The number of the last entry in its log.
    pub last_seq: i64,
    #[serde(skip)]
    pub delivery: String,
    /// None: the agent is one of the platform's own.
    #[serde(skip)]
    pub builder_id: Option<BuilderId>,
}

impl Session {
    pub fn over(&self) -> bool {
        self.status == "completed"
    }
}

macro_rules! session_columns {
    () => {
        "id, agent_id, agent_name, company_id, member_id, status, billing_model,
         price_cents_per_hour, created_at, started_at, ended_at, end_reason, billed_cents,
         last_seq, delivery, builder_id"
    };
}
use session_columns;

/// What became of a change: the entry that tells of it, and whether the one who
/// made it now drives the lane.
pub struct Told {
    pub entry: Entry,
    pub claimed: bool,
}

/// Who opens a session, and how.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub company: CompanyId,
    pub member: MemberId,
    pub lease: Lease,
    /// It costs nothing: its own builder tries a draft.
    pub free: bool,
    /// No instance is kept between events.
    pub fresh: bool,
    /// Cents that it costs at least, if it costs anything.
    pub least_cents: i64,
}

/// Opens a session with a template that the caller may use. 402 when the company's wallet
/// does not cover an hour, or its subscription is not good; 429 when its seats are taken.
pub async fn open(
    tx: &mut Tx,
    clock: &Clock,
    template: &Template,
    opening: Opening,
) -> Result<(Session, Told)> {
    let Opening { company, member, lease, free, fresh, least_cents } = opening;
    let model = if free { "free".to_owned() } else { wallet::model(tx, company).await? };
    if model == "subscription" {
        subscriptions::seat(tx, company).await?;
    }
    if let Some(most) = template.max_sessions {
        // The template's row is the queue for its places.
        tx.query_locked("SELECT id FROM agents WHERE id = $1").bind(template.id).run().await?;
        let sql = "SELECT COUNT(*) FROM sessions WHERE agent_id = $1 AND status <> 'completed'";
        let (running,): (i64,) = tx.query(sql).bind(template.id).one().await?;
        if running >= most {
            let detail = format!("all {most} places of this agent are taken");
            return Err(Error::conflict("agent_full", detail));
        }
    }
    let canary = canaries::draw(tx, clock, template.id).await?;
    let now = clock.now();
    let sql = concat!(
        "INSERT INTO sessions (id, agent_id, company_id, member_id, status, agent_name, delivery,
             billing_model, price_cents_per_hour, created_at, last_seq, queued, lane_claim,
             lane_until, lane_due, version, pinned_since, canary_id, fresh, builder_id)
         VALUES ($1, $2, $3, $4, 'provisioning', $5, $6, $16, $7, $8, 1, 1, $9, $10, $8, $11,
             $12, $13, $14, $15)
         RETURNING ",
        session_columns!()
    );
    let session = tx
        .query(sql)
        .bind(clock.id::<SessionId>())
        .bind(template.id)
        .bind(company)
        .bind(member)
        .bind(template.name.as_str())
        .bind(template.delivery.as_str())
        .bind(template.price_cents_per_hour)
        .bind(now)
        .bind(lease.claim)
        .bind(lease.until)
        .bind(template.active_version)
        .bind(template.pinned_since)
        .bind(canary)
        .bind(fresh)
        .bind(template.builder_id)
        .bind(&*model)
        .one()
        .await;
    let session: Session = gone(session)?.ok_or(Error::not_found("agent"))?;
    if model == "wallet" {
        let (session, builder) = (session.id, session.builder_id);
        let price_cents = template.price_cents_per_hour;
        let new = charges::New { session, company, builder, price_cents, least_cents };
        charges::begin(tx, clock, new).await?;
    }
    catalog::still_there(tx, template.id).await?;
    let new = New::of("session_started", json!({})).running();
    let entry = log::insert(tx, session.id, 1, clock.id(), new, now).await?;
    Ok((session, Told { entry, claimed: true }))
}

pub async fn find(tx: &mut Tx, id: SessionId) -> Result<Option<Session>> {
    let sql = concat!("SELECT ", session_columns!(), " FROM sessions WHERE id = $1");
    Ok(tx.query(sql).bind(id).optional().await?)
}

/// The session, if it is this company's; otherwise it does not exist.
pub async fn owned_by(tx: &mut Tx, id: SessionId, company: CompanyId) -> Result<Session> {
    let found = find(tx, id).await?.filter(|session| session.company_id == company);
    found.ok_or(Error::not_found("session"))
}

/// A page of a company's sessions, newest first.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<Session>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE company_id = $1 AND ($2 IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3"
    );
    Ok(tx.query(sql).bind(company).bind(before).bind(limit).all().await?)
}

/// Stores a client's message and, in the same statement, promises its delivery.
/// When the lane is idle, the caller drives it from now on.
pub async fn say(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    company: CompanyId,
    content: &str,
    lease: Lease,
) -> Result<Told> {
    let now = clock.now();
    let numbered = match number(tx, id, company, lease, now).await? {
        Some(numbered) => Some(numbered),
        None => {
            // It may have become ready, or its lane emptier, in this moment: nobody
            // changes it from here on.
            tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(id).run().await?;
            number(tx, id, company, lease, now).await?
        }
    };
    let Some((seq, holder)) = numbered else { return Err(cannot_say(tx, id, company).await?) };
    let claimed = holder == Some(lease.claim);
    let new = New::of("message", json!({ "role": "user", "content": content }));
    let new = if claimed { new.running() } else { new.queued() };
    let entry = log::insert(tx, id, seq, clock.id(), new, now).await?;
    Ok(Told { entry, claimed })
}

/// Takes the next number for a message, and the lane if it is idle.
async fn number(
    tx: &mut Tx,
    id: SessionId,
    company: CompanyId,
    lease: Lease,
    now: Timestamp,
) -> Result<Option<(i64, Option<ClaimId>)>> {
    let numbered = tx.query(
        "UPDATE sessions SET last_seq = last_seq + 1, queued = queued + 1,
             lane_claim = CASE WHEN queued = 0 THEN $3 ELSE lane_claim END,
             lane_until = CASE WHEN queued = 0 THEN $4 ELSE lane_until END,
             lane_due = CASE WHEN queued = 0 THEN $5 ELSE lane_due END
         WHERE id = $1 AND company_id = $2 AND status = 'active' AND queued < $6
         RETURNING last_seq, lane_claim",
    );
    let numbered = numbered.bind(id).bind(company).bind(lease.claim).bind(lease.until);
    Ok(numbered.bind(now).bind(QUEUED).optional().await?)
}

async fn cannot_say(tx: &mut Tx, id: SessionId, company: CompanyId) -> Result<Error> {
    let session = owned_by(tx, id, company).await?;
    Ok(match session.status.as_str() {
        "active" => {
            let detail = format!("{QUEUED} events wait for the agent; let it catch up");
            Error::new(Kind::TooMany(1), "session_queue_full", detail)
        }
        "completed" => Error::conflict("session_ended", "the session is over"),
        _ => Error::conflict("session_not_active", "the session is not active yet"),
    })
}

/// A company's sessions on seats that are not over.
pub async fn on_seats(tx: &mut Tx, company: CompanyId) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions
               WHERE company_id = $1 AND billing_model = 'subscription' AND status <> 'completed'";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(company).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// An agent's sessions that are not over.
pub async fn running(tx: &mut Tx, agent: AgentId) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE agent_id = $1 AND status <> 'completed'";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(agent).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Can its agent be reached? One that has had a socket: as that says, and `offline` when
/// it is closed. One that has none: `degraded` when the last try failed; `offline` when
/// nothing is sent for now; `online` again after either. None for one that always could.
pub async fn presence(tx: &mut Tx, id: SessionId) -> Result<Option<&'static str>> {
    let found = tx.query(
        "SELECT COALESCE(o.status, ''), w.agent_id IS NOT NULL,
                w.held_until IS NOT NULL OR w.disabled_at IS NOT NULL, w.recovered_at IS NULL
         FROM sessions s
         LEFT JOIN sockets o ON o.session_id = s.id
         LEFT JOIN endpoints w ON w.agent_id = s.agent_id
         WHERE s.id = $1",
    );
    let found: Option<(String, bool, bool, bool)> = found.bind(id).optional().await?;
    let Some((socket, known, held, failing)) = found else { return Ok(None) };
    Ok(match (socket.as_str(), known, held, failing) {
        ("online", ..) => Some("online"),
        ("degraded", ..) => Some("degraded"),
        ("offline", ..) | (_, true, true, _) => Some("offline"),
        (_, true, false, true) => Some("degraded"),
        (_, true, false, false) => Some("online"),
        (_, false, ..) => None,
    })
}

/// Sessions that were opened before `until` and whose agent is not ready yet.
pub async fn provisioning_since(
    tx: &mut Tx,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE status = 'provisioning' AND created_at < $1
               ORDER BY created_at LIMIT $2";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(until).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Is its agent still not ready? It stays so until the transaction ends.
pub async fn still_provisioning(tx: &mut Tx, id: SessionId) -> Result<bool> {
    let sql = "SELECT id FROM sessions WHERE id = $1 AND status = 'provisioning'";
    let found: Option<(SessionId,)> = tx.query_locked(sql).bind(id).optional().await?;
    Ok(found.is_some())
}

/// Is it going on? It stays so until the transaction ends.
pub async fn still_active(tx: &mut Tx, id: SessionId) -> Result<bool> {
    let sql = "SELECT id FROM sessions WHERE id = $1 AND status = 'active'";
    let found: Option<(SessionId,)> = tx.query_locked(sql).bind(id).optional().await?;
    Ok(found.is_some())
}

/// Tells who opened it that the next hour is not covered.
pub async fn warn_of_low_balance(tx: &mut Tx, clock: &Clock, id: SessionId) -> Result<()> {
    notice::low_balance(tx, clock, id).await
}

/// The agent is ready. None when it was already, or when the session is over.
pub async fn activate(tx: &mut Tx, clock: &Clock, id: SessionId) -> Result<Option<Entry>> {
    let now = clock.now();
    let sql = concat!(
        "UPDATE sessions SET status = 'active', started_at = $2, last_seq = last_seq + 1
         WHERE id = $1 AND status = 'provisioning' RETURNING ",
        session_columns!()
    );
    let session: Option<Session> = tx.query(sql).bind(id).bind(now).optional().await?;
    let Some(session) = session else { return Ok(None) };
    charges::began(tx, id, now).await?;
    let seq = session.last_seq;
    let new = New::of("session", json!({ "session": session }));
    Ok(Some(log::insert(tx, id, seq, clock.id(), new, now).await?))
}

/// Ends a session: what waits for the agent is cancelled, secrets are forgotten, and
/// the last it hears is `session_ended`. Who opened it is told, unless the client ended
/// it. None when it was over already.
pub async fn end(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    reason: &str,
    lease: Lease,
) -> Result<Option<Told>> {
    let now = clock.now();
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE id = $1 AND status <> 'completed'"
    );
    let session: Option<Session> = tx.query_locked(sql).bind(id).optional().await?;
    let Some(session) = session else { return Ok(None) };
    let settled = charges::settle(tx, clock, id, &session.agent_name, session.started_at).await?;
    let (ended_at, billed) = settled.map_or((now, 0), |s| (s.ended_at, s.billed_cents));
    let ended = tx.query(
        "UPDATE sessions SET status = 'completed', ended_at = $2, end_reason = $3,
             billed_cents = $4, last_seq = last_seq + 1
         WHERE id = $1 RETURNING last_seq",
    );
    let (seq,): (i64,) = ended.bind(id).bind(ended_at).bind(reason).bind(billed).one().await?;
    // Nobody can finish them any more.
    drafts::delete_all(tx, id).await?;
    shared::purge(tx, id).await?;
    sockets::forget(tx, id).await?;
    let sql =
        "UPDATE events SET delivery = 'cancelled' WHERE session_id = $1 AND delivery = 'queued'";
    let cancelled = tx.query(sql).bind(id).run().await?;
    let queued = tx.query(
        "UPDATE sessions SET queued = queued - $2 + 1,
             lane_claim = CASE WHEN queued = $2 THEN $3 ELSE lane_claim END,
             lane_until = CASE WHEN queued = $2 THEN $4 ELSE lane_until END,
             lane_due = $5
         WHERE id = $1 RETURNING lane_claim",
    );
    let cancelled = i64::try_from(cancelled).unwrap_or(i64::MAX);
    let queued = queued.bind(id).bind(cancelled).bind(lease.claim).bind(lease.until).bind(now);
    let (holder,): (Option<ClaimId>,) = queued.one().await?;
    let claimed = holder == Some(lease.claim);
    let new = New::of("session_ended", json!({ "reason": reason, "billedCents": billed }));
    let new = if claimed { new.running() } else { new.queued() };
    let entry = log::insert(tx, id, seq, clock.id(), new, now).await?;
    if reason != "client" {
        notice::ended(tx, clock, id, reason).await?;
    }
    Ok(Some(Told { entry, claimed }))
}
