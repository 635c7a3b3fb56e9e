//! Sessions that nobody will end: those whose agent never said that it is ready, and
//! those whose agent had a socket and is not heard of any more.

use super::lane;
use crate::{
    error::Result,
    host::Host,
    id::SessionId,
    sessions::{self, sockets},
    storage::Tx,
};
use std::{sync::PoisonError, time::Duration};

/// Ended in one round; the next comes at once when there may be more.
const ROUND: i64 = 100;

/// Ends sessions that have been provisioning for too long. Each in a transaction of its
/// own: one that becomes ready in this moment stays.
pub(super) async fn end(host: &Host) -> Result<()> {
    let patience = Duration::from_secs(host.config.provisioning_seconds);
    let until = host.clock.now() - patience;
    loop {
        let overdue = {
            let mut tx = host.db.look().await?;
            sessions::provisioning_since(&mut tx, until, ROUND).await?
        };
        for session in &overdue {
            let mut tx = host.db.write().await?;
            if sessions::still_provisioning(&mut tx, *session).await? {
                finish(host, tx, *session, "provisioning_timeout").await?;
            }
        }
        if (overdue.len() as i64) < ROUND || host.stopping.is_cancelled() {
            return Ok(());
        }
    }
}

/// Ends sessions whose agent is gone. An agent that found nobody to connect to is not to
/// blame: nothing is ended before this process has looked without a break for as long as
/// an agent may be gone.
pub async fn end_stale(host: &Host) -> Result<()> {
    let until = host.clock.now() - Duration::from_secs(host.config.stale_seconds);
    if *host.attentive.lock().unwrap_or_else(PoisonError::into_inner) > until {
        return Ok(());
    }
    loop {
        let stale = {
            let mut tx = host.db.look().await?;
            sockets::stale(&mut tx, until, ROUND).await?
        };
        for session in &stale {
            let mut tx = host.db.write().await?;
            if sockets::still_stale(&mut tx, *session, until).await? {
                finish(host, tx, *session, "stale").await?;
            }
        }
        if (stale.len() as i64) < ROUND || host.stopping.is_cancelled() {
            return Ok(());
        }
    }
}

/// Ends a session, in the transaction that found out that it must.
pub(super) async fn finish(
    host: &Host,
    mut tx: Tx,
    session: SessionId,
    reason: &str,
) -> Result<()> {
    let lease = host.lease();
    let told = sessions::end(&mut tx, &host.clock, session, reason, lease).await?;
    tx.commit().await?;
    if let Some(told) = told {
        lane::told(host, told, lease.claim);
    }
    Ok(())
}
