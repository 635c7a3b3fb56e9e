//! Sessions whose agent was withdrawn are ended, and what was stored with it is deleted.
//!
//! The template's row is marked first, by whoever withdraws it. What follows may break
//! off at any point: the next round of tidying up goes on from there.

use super::overdue;
use crate::{
    catalog::withdrawal,
    error::Result,
    host::Host,
    id::{AgentId, SessionId},
    sessions::withdrawn,
};

/// Sessions, and templates, that are looked for at once.
const ROUND: i64 = 100;

/// Begins at once with what the next round would do for this agent.
pub fn begin(host: &Host, agent: AgentId) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        if let Err(error) = end_sessions(&worker, agent).await {
            tracing::error!(%error, %agent, "sessions of a withdrawn agent end later");
        }
    });
}

/// Goes on with all that were withdrawn and are not empty yet.
pub(super) async fn finish(host: &Host) -> Result<()> {
    let mut after = None;
    loop {
        let templates = {
            let mut tx = host.db.look().await?;
            withdrawal::unfinished(&mut tx, after, ROUND).await?
        };
        for template in &templates {
            end_sessions(host, template.id).await?;
            if template.has_had_its_time(host.clock.now()) {
                let mut tx = host.db.look().await?;
                let waiting = withdrawn::waiting(&mut tx, template.id, ROUND).await?;
                drop(tx);
                give_up(host, waiting).await?;
            }
            let mut tx = host.db.write().await?;
            withdrawal::empty(&mut tx, &host.clock, template.id).await?;
            tx.commit().await?;
            after = Some(template.id);
        }
        if (templates.len() as i64) < ROUND || host.stopping.is_cancelled() {
            return Ok(());
        }
    }
}

/// Each in a transaction of its own, so that nobody waits for all of them.
async fn end_sessions(host: &Host, agent: AgentId) -> Result<()> {
    loop {
        let running = {
            let mut tx = host.db.look().await?;
            withdrawn::running(&mut tx, agent, ROUND).await?
        };
        for session in &running {
            if host.stopping.is_cancelled() {
                return Ok(());
            }
            let tx = host.db.write().await?;
            overdue::finish(host, tx, *session, "agent_withdrawn").await?;
        }
        if (running.len() as i64) < ROUND {
            return Ok(());
        }
    }
}

/// Gives up what could not be delivered of sessions that are over, some of it in each round.
pub(super) async fn give_up(host: &Host, sessions: Vec<SessionId>) -> Result<()> {
    for session in sessions {
        let mut tx = host.db.write().await?;
        withdrawn::give_up(&mut tx, session).await?;
        tx.commit().await?;
    }
    Ok(())
}
