//! Canaries: a version on trial with a share of the new sessions, which stay with it
//! for as long as the trial runs.
//!
//! A trial ends in one of three ways: the builder stops it, the builder activates its
//! version (it is promoted), or it fails too many events and is rolled back by the
//! one who writes down the event that is one too many. A session names the trial it
//! was drawn for, not a version: when the trial is over, no session has to be
//! changed.

use super::components;
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{AgentId, CanaryId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// How a trial is run. Each is per cent, or a number of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Of the new sessions, 1 to 99: none is no trial, and all is activation.
    pub share_percent: i64,
    /// Rolled back when so many of its events failed, 1 to 100.
    pub trap_percent: i64,
    /// Not judged before so many of its events came to an end.
    pub min_events: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            // Nine of ten clients never meet a version that is bad.
            share_percent: 10,
            // Two of the first twenty: one may be bad luck, or a hostile client.
            trap_percent: 10,
            min_events: 20,
        }
    }
}

/// The most events a trial may wait for before it is judged.
pub const MOST_EVENTS: i64 = 1_000_000;

/// A trial, and how it goes.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    #[serde(skip)]
    pub id: CanaryId,
    pub version: i64,
    /// `running`, `stopped`, `promoted` or `rolled_back`.
    pub state: String,
    /// Of the new sessions.
    pub share_percent: i64,
    /// Rolled back when so many of its events failed.
    pub trap_percent: i64,
    /// Not judged before so many of its events came to an end.
    pub min_events: i64,
    /// Events that came to an end; those at which the platform failed do not count.
    pub events: i64,
    /// Of these, the ones that the component crashed at or used up a limit for.
    pub failures: i64,
    pub created_at: Timestamp,
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
}

impl Canary {
    /// Why it is over, if it was not the builder who ended it.
    pub fn reason(&self) -> Option<String> {
        let Self { failures, events, version, trap_percent, .. } = self;
        (self.state == "rolled_back").then(|| {
            format!(
                "version {version} failed at {failures} of {events} events, \
                 which reaches trapPercent ({trap_percent})"
            )
        })
    }
}

macro_rules! columns {
    () => {
        "id, version, state, share_percent, trap_percent, min_events, events, failures, created_at,
         ended_at"
    };
}

/// Puts a version on trial, or changes the terms of the trial that runs; what was
/// counted so far goes on counting.
pub async fn start(
    tx: &mut Tx,
    clock: &Clock,
    agent: AgentId,
    version: i64,
    terms: Terms,
) -> Result<Canary> {
    // Whoever activates a version meanwhile is waited for.
    let sql = "SELECT active_version FROM agents WHERE id = $1 AND deleted_at IS NULL";
    let locked = tx.query_locked(sql).bind(agent);
    let (active,): (Option<i64>,) = locked.optional().await?.ok_or(Error::not_found("agent"))?;
    components::ready(tx, agent, version).await?;
    match active {
        None => {
            let detail = "activate a version first: the other sessions need one";
            return Err(Error::conflict("no_active_version", detail));
        }
        Some(active) if active == version => {
            let detail = format!("version {version} is active, every session has it already");
            return Err(Error::conflict("version_active", detail));
        }
        Some(_) => {}
    }
    match running(tx, agent).await? {
        Some(canary) if canary.version != version => {
            let detail = format!("version {} is on trial; stop that first", canary.version);
            Err(Error::conflict("canary_running", detail))
        }
        Some(canary) => {
            let sql = concat!(
                "UPDATE canaries SET share_percent = $2, trap_percent = $3, min_events = $4
                 WHERE id = $1 RETURNING ",
                columns!()
            );
            let changed = tx.query(sql).bind(canary.id).bind(terms.share_percent);
            Ok(changed.bind(terms.trap_percent).bind(terms.min_events).one().await?)
        }
        None => begin(tx, clock, agent, version, terms).await,
    }
}

async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    agent: AgentId,
    version: i64,
    terms: Terms,
) -> Result<Canary> {
    let sql = concat!(
        "INSERT INTO canaries (id, agent_id, version, state, share_percent, trap_percent,
             min_events, created_at)
         VALUES ($1, $2, $3, 'running', $4, $5, $6, $7) RETURNING ",
        columns!()
    );
    let begun = tx
        .query(sql)
        .bind(clock.id::<CanaryId>())
        .bind(agent)
        .bind(version)
        .bind(terms.share_percent)
        .bind(terms.trap_percent)
        .bind(terms.min_events)
        .bind(clock.now());
    Ok(begun.one().await?)
}

async fn running(tx: &mut Tx, agent: AgentId) -> Result<Option<Canary>> {
    let sql =
        concat!("SELECT ", columns!(), " FROM canaries WHERE agent_id = $1 AND state = 'running'");
    Ok(tx.query(sql).bind(agent).optional().await?)
}

/// The newest trial of an agent, over or not.
pub async fn newest(tx: &mut Tx, agent: AgentId) -> Result<Option<Canary>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM canaries WHERE agent_id = $1 ORDER BY id DESC LIMIT 1"
    );
    Ok(tx.query(sql).bind(agent).optional().await?)
}

/// Ends the trial of this version: `stopped` or `promoted`. False when none runs.
pub async fn end(
    tx: &mut Tx,
    agent: AgentId,
    version: i64,
    state: &'static str,
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE canaries SET state = $3, ended_at = $4
               WHERE agent_id = $1 AND version = $2 AND state = 'running'";
    let ended = tx.query(sql).bind(agent).bind(version).bind(state).bind(now);
    Ok(ended.run().await? == 1)
}

/// Draws lots for a new session: the trial it takes part in, if it does.
pub async fn draw(tx: &mut Tx, clock: &Clock, agent: AgentId) -> Result<Option<CanaryId>> {
    let sql = "SELECT id, share_percent FROM canaries WHERE agent_id = $1 AND state = 'running'";
    let running: Option<(CanaryId, i64)> = tx.query(sql).bind(agent).optional().await?;
    // Of 2^64 numbers, sixteen too many fall on the first ones: nobody will notice.
    let lot = || (u64::from_le_bytes(clock.random()) % 100) as i64;
    Ok(running.filter(|(_, share)| lot() < *share).map(|(id, _)| id))
}

/// Counts an event of a session on trial that came to an end. The one that is one
/// failure too many ends the trial; then, the trial as it ended.
pub async fn count(
    tx: &mut Tx,
    id: CanaryId,
    failed: bool,
    now: Timestamp,
) -> Result<Option<Canary>> {
    // One statement, so that it is right with many writers.
    let sql = concat!(
        "UPDATE canaries SET events = events + 1, failures = failures + $2,
             state = CASE WHEN events + 1 >= min_events
                           AND (failures + $2) * 100 >= trap_percent * (events + 1)
                     THEN 'rolled_back' ELSE state END,
             ended_at = CASE WHEN events + 1 >= min_events
                              AND (failures + $2) * 100 >= trap_percent * (events + 1)
                        THEN $3 ELSE ended_at END
         WHERE id = $1 AND state = 'running' RETURNING ",
        columns!()
    );
    let counted = tx.query(sql).bind(id).bind(i64::from(failed)).bind(now);
    let counted: Option<Canary> = counted.optional().await?;
    Ok(counted.filter(|canary| canary.state == "rolled_back"))
}
