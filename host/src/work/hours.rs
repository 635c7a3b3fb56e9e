//! Holds the next hour of sessions that are paid from a wallet, before it begins; warns
//! when it cannot be held, and ends them with the hour that was.

use super::overdue;
use crate::{
    billing::charges,
    error::{Kind, Result},
    host::Host,
    id::SessionId,
    sessions,
};
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(1);

/// Read at a time.
const ROUND: i64 = 200;

pub(super) fn start(host: &Host) {
    let host = host.clone();
    host.tasks.clone().spawn(async move {
        while !host.stopping.is_cancelled() {
            if let Err(error) = check(&host).await {
                tracing::error!(%error, "the next hours of sessions cannot be held");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = host.stopping.cancelled() => {}
            }
        }
    });
}

/// Looks at every session whose paid time ends soon.
pub async fn check(host: &Host) -> Result<()> {
    let until = host.clock.now() + charges::LEAD;
    let mut after = None;
    while !host.stopping.is_cancelled() {
        let due = charges::due(&mut host.db.look().await?, until, after, ROUND).await?;
        for (_, session) in &due {
            if let Err(error) = one(host, *session).await {
                tracing::error!(%error, %session, "the next hour of a session cannot be held");
            }
        }
        after = due.last().copied();
        if (due.len() as i64) < ROUND {
            break;
        }
    }
    Ok(())
}

/// Each in a transaction of its own; two processes that look at once do it once.
async fn one(host: &Host, session: SessionId) -> Result<()> {
    let mut tx = host.db.write().await?;
    // In the order in which everybody locks them.
    if !sessions::still_active(&mut tx, session).await? {
        return Ok(());
    }
    let Some(charge) = charges::find(&mut tx, session).await? else { return Ok(()) };
    match charges::extend(&mut tx, &host.clock, &charge).await {
        Ok(true) => return Ok(tx.commit().await?),
        Ok(false) => {}
        // Another session was quicker in this moment.
        Err(error) if error.kind == Kind::Payment => return Ok(()),
        Err(error) => return Err(error),
    }
    if charge.paid_until.is_some_and(|until| until <= host.clock.now()) {
        return overdue::finish(host, tx, session, "low_balance").await;
    }
    if !charge.warned {
        charges::warned(&mut tx, session).await?;
        sessions::warn_of_low_balance(&mut tx, &host.clock, session).await?;
        tx.commit().await?;
    }
    Ok(())
}
