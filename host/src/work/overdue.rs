//! Sessions that nobody will end: those whose agent never said that it is ready.

use super::lane;
use crate::{error::Result, host::Host, sessions};
use std::time::Duration;

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
            if !sessions::still_provisioning(&mut tx, *session).await? {
                continue;
            }
            let lease = host.lease();
            let reason = "provisioning_timeout";
            let told = sessions::end(&mut tx, &host.clock, *session, reason, lease).await?;
            tx.commit().await?;
            if let Some(told) = told {
                lane::told(host, told, lease.claim);
            }
        }
        if (overdue.len() as i64) < ROUND || host.stopping.is_cancelled() {
            return Ok(());
        }
    }
}
