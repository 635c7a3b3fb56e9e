//! Sessions of what an operator has suspended are ended, each in a transaction of its own,
//! so that nobody waits for all of them. One that began in the same moment ends with the
//! next round of tidying up.

use super::overdue;
use crate::{error::Result, host::Host, sessions::suspended};

/// Sessions that are looked for at once.
const ROUND: i64 = 100;

/// Begins at once with what the next round would do.
pub fn begin(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        if let Err(error) = end(&worker).await {
            tracing::error!(%error, "sessions of what is suspended end later");
        }
    });
}

pub(super) async fn end(host: &Host) -> Result<()> {
    loop {
        let running = suspended::running(&mut host.db.look().await?, ROUND).await?;
        for session in &running {
            if host.stopping.is_cancelled() {
                return Ok(());
            }
            let tx = host.db.write().await?;
            overdue::finish(host, tx, *session, "operator").await?;
        }
        if (running.len() as i64) < ROUND {
            return Ok(());
        }
    }
}
