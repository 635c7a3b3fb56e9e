//! Goes on with ranges of dead events that builders have asked for again.

use super::lane;
use crate::{error::Result, host::Host, sessions::replays};
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Until the host stops. A range that was begun goes on with the next process.
pub(super) fn start(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        while !worker.stopping.is_cancelled() {
            let more = match step(&worker).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::error!(%error, "a replay does not go on");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = worker.stopping.cancelled() => {}
                }
            }
        }
    });
}

/// A batch; false when there was nothing to do.
async fn step(host: &Host) -> Result<bool> {
    let mut tx = host.db.write().await?;
    let Some(claimed) = replays::step(&mut tx, &host.clock, || host.lease()).await? else {
        return Ok(false);
    };
    tx.commit().await?;
    for (session, claim) in claimed {
        lane::drive(host, session, claim, None);
    }
    Ok(true)
}
