//! Tidies up libraries: uploads that were never completed, trash that is old, and objects
//! that nothing names.

mod check;

pub use check::check;

use crate::{
    error::Result,
    files::{doomed, tree, uploads},
    host::Host,
};
use std::time::Duration;

/// Changed in one transaction, or deleted from the store in one round.
const ROUND: i64 = 100;

/// How long an object that could not be deleted waits for the next try.
const GRACE: Duration = Duration::from_mins(5);

pub async fn tidy(host: &Host) -> Result<()> {
    expire(host).await?;
    empty_trash(host).await?;
    delete_doomed(host).await
}

async fn expire(host: &Host) -> Result<()> {
    while !host.stopping.is_cancelled() {
        let mut tx = host.db.write().await?;
        let expired = uploads::expire(&mut tx, host.clock.now(), ROUND).await?;
        tx.commit().await?;
        if (expired as i64) < ROUND {
            break;
        }
    }
    Ok(())
}

async fn empty_trash(host: &Host) -> Result<()> {
    let now = host.clock.now();
    let old = {
        let mut tx = host.db.read().await?;
        tree::old_trash(&mut tx, now - tree::KEPT, ROUND).await?
    };
    for (company, node) in old {
        let mut tx = host.db.write().await?;
        // Brought back, or gone, in this moment.
        match tree::purge(&mut tx, now, company, node).await {
            Ok(()) => tx.commit().await?,
            Err(error) if error.code == "not_found" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The object goes first: a row too many costs one more look, an object that nothing names
/// is never found again.
async fn delete_doomed(host: &Host) -> Result<()> {
    while !host.stopping.is_cancelled() {
        let now = host.clock.now();
        let due = {
            let mut tx = host.db.read().await?;
            doomed::due(&mut tx, now, ROUND).await?
        };
        let mut gone = Vec::with_capacity(due.len());
        for key in &due {
            match host.objects.delete(key).await {
                Ok(()) => gone.push(key),
                Err(error) => tracing::warn!(%error, key, "an object could not be deleted"),
            }
        }
        let mut tx = host.db.write().await?;
        for key in &due {
            if gone.contains(&key) {
                doomed::spare(&mut tx, key).await?;
            } else {
                doomed::doom(&mut tx, key, now + GRACE).await?;
            }
        }
        tx.commit().await?;
        if (due.len() as i64) < ROUND {
            break;
        }
    }
    Ok(())
}
