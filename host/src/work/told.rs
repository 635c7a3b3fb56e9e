//! Applies what the payment provider has told, one event after the other.

use crate::{billing::events, error::Result, host::Host, payments::Told};
use std::time::Duration;

/// How long something told may wait when nobody said so.
const LOOK: Duration = Duration::from_secs(1);

/// Looks now and then, and when somebody says so, until the host stops.
pub(super) fn start(host: &Host) {
    let host = host.clone();
    host.tasks.clone().spawn(async move {
        while !host.stopping.is_cancelled() {
            match apply(&host).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "what the payment provider told waits"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = host.told.notified() => {}
                () = host.stopping.cancelled() => {}
            }
        }
    });
}

/// Applies what came with an answer, before the one who asked is answered.
pub async fn apply_these(host: &Host, told: &[Told]) -> Result<()> {
    for told in told {
        let mut tx = host.db.write().await?;
        if let Some(event) = events::waiting(&mut tx, &told.id).await? {
            events::apply(&mut tx, &host.clock, &event).await?;
            tx.commit().await?;
        }
    }
    host.owed.notify_one();
    Ok(())
}

/// Applies one; false when none waits.
pub async fn apply(host: &Host) -> Result<bool> {
    if !events::any(&mut host.db.look().await?, host.clock.now()).await? {
        return Ok(false);
    }
    let mut tx = host.db.write().await?;
    let Some(event) = events::next(&mut tx, host.clock.now()).await? else { return Ok(false) };
    let applied = events::apply(&mut tx, &host.clock, &event).await;
    match applied {
        Ok(()) => {
            tx.commit().await?;
            // It may have been what money waited for.
            host.owed.notify_one();
        }
        Err(error) => {
            drop(tx);
            tracing::error!(%error, event = %event.id, "an event of the payment provider is put off");
            let mut tx = host.db.write().await?;
            events::put_off(&mut tx, host.clock.now(), &event, &error).await?;
            tx.commit().await?;
        }
    }
    Ok(true)
}
