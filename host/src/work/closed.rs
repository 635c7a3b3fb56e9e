//! What a company has stored is deleted after it has closed.
//!
//! Its row is marked first. What follows may break off at any point: the next round of
//! tidying up goes on from there. Each step is a transaction of its own, so that nobody
//! waits for all of them.

use super::{overdue, withdrawn};
use crate::{
    accounts::closing, error::Result, files, host::Host, id::CompanyId, sessions,
    timestamp::Timestamp,
};
use std::time::Duration;

/// Companies, and sessions, that are looked for at once.
const ROUND: i64 = 100;

/// How long agents are told that their sessions have ended, before it is given up: longer
/// than the last try of a webhook takes to come.
const PATIENCE: Duration = Duration::from_hours(48);

/// Begins at once with what the next round would do.
pub fn begin(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        if let Err(error) = finish(&worker).await {
            tracing::error!(%error, "what a closed company has stored is deleted later");
        }
    });
}

pub(super) async fn finish(host: &Host) -> Result<()> {
    let companies = closing::unemptied(&mut host.db.look().await?, ROUND).await?;
    for (company, since) in companies {
        if host.stopping.is_cancelled() {
            return Ok(());
        }
        empty(host, company, since).await?;
    }
    Ok(())
}

async fn empty(host: &Host, company: CompanyId, since: Timestamp) -> Result<()> {
    // One that began in the moment in which the company closed.
    let running = sessions::closing::running(&mut host.db.look().await?, company, ROUND).await?;
    for session in &running {
        overdue::finish(host, host.db.write().await?, *session, "client").await?;
    }
    loop {
        let mut tx = host.db.write().await?;
        let more = files::closing::forget_one(&mut tx, &host.clock, company).await?;
        tx.commit().await?;
        if !more || host.stopping.is_cancelled() {
            break;
        }
    }
    let waiting = sessions::closing::waiting(&mut host.db.look().await?, company, ROUND).await?;
    if !waiting.is_empty() {
        if since + PATIENCE < host.clock.now() {
            withdrawn::give_up(host, waiting).await?;
        }
        // Their agents are being told; what they are told is deleted afterwards.
        return Ok(());
    }
    if !running.is_empty() || host.stopping.is_cancelled() {
        return Ok(());
    }
    forget_sessions(host, company).await?;
    let mut tx = host.db.write().await?;
    closing::emptied(&mut tx, &host.clock, company).await?;
    Ok(tx.commit().await?)
}

async fn forget_sessions(host: &Host, company: CompanyId) -> Result<()> {
    let mut before = None;
    loop {
        let mut tx = host.db.look().await?;
        let found = sessions::list(&mut tx, company, before, ROUND).await?;
        drop(tx);
        for session in &found {
            let mut tx = host.db.write().await?;
            sessions::closing::forget(&mut tx, session.id).await?;
            tx.commit().await?;
        }
        before = found.last().map(|session| session.id);
        if (found.len() as i64) < ROUND {
            return Ok(());
        }
    }
}
