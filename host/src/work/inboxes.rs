//! Finding out who was told something, wherever it was committed.
//!
//! One question a second for the whole process, and none while nobody follows his
//! notifications.

use crate::{error::Result, host::Host, notifications};
use std::time::Duration;

/// How soon a notification is on its reader's stream.
const LOOK: Duration = Duration::from_secs(1);

/// How far back each look goes: a transaction is over within this time, and the clocks
/// of two processes agree as well as that. What is missed all the same, a stream finds
/// with its next heartbeat.
const WINDOW: Duration = Duration::from_secs(10);

/// Looks until the host stops.
pub(super) fn watch(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = worker.stopping.cancelled() => return,
            }
            if worker.inboxes.nobody_listens() {
                continue;
            }
            if let Err(error) = look(&worker).await {
                tracing::error!(%error, "cannot look for notifications");
            }
        }
    });
}

async fn look(host: &Host) -> Result<()> {
    let told = {
        let mut tx = host.db.look().await?;
        notifications::told_since(&mut tx, host.clock.now() - WINDOW).await?
    };
    for (user, seq) in told {
        host.inboxes.wake(user, seq);
    }
    Ok(())
}
