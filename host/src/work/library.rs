//! Libraries and the store: takes over what was sent to the store itself, and tidies up
//! uploads that were never completed, trash that is old, and objects that nothing names.

pub mod body;
mod check;
pub mod resume;

pub use check::check;

use crate::{
    error::Result,
    files::{
        doomed, tree,
        uploads::{self, Uploader},
    },
    host::Host,
    id::{CompanyId, NodeId},
};
use std::time::Duration;

/// Changed in one transaction, or deleted from the store in one round.
const ROUND: i64 = 100;

/// How long an object that could not be deleted waits for the next try.
const GRACE: Duration = Duration::from_mins(5);

/// Puts away what nobody else will.
pub async fn tidy(host: &Host) -> Result<()> {
    resume::complete(host, ROUND).await?;
    expire(host).await?;
    empty_trash(host).await?;
    give_up_parts(host).await?;
    delete_doomed(host).await
}

/// Takes over what an uploader has sent to the store itself: copies it to where no link
/// leads, and counts it. What has another size than it is said to have stays where it is.
pub async fn take_over(
    host: &Host,
    company: CompanyId,
    uploader: Uploader,
    node: NodeId,
    said: u64,
) -> Result<()> {
    let mut tx = host.db.look().await?;
    let from = uploads::sent_direct(&mut tx, company, uploader, node).await?;
    drop(tx);
    let Some(from) = from else { return Ok(()) };
    let Some(size) = host.objects.size(&from).await? else { return Ok(()) };
    if size != said {
        return Err(uploads::mismatch(said, size));
    }
    let key = uploads::object_key(&host.clock, company, node);
    let mut tx = host.db.write().await?;
    doomed::writing(&mut tx, &host.clock, &key).await?;
    tx.commit().await?;
    host.objects.copy(&from, &key).await?;
    // It may have been sent anew in between.
    let size = host.objects.size(&key).await?.unwrap_or(0);
    let mut tx = host.db.write().await?;
    uploads::stored(&mut tx, &host.clock, host.config.quota, node, &key, size).await?;
    Ok(tx.commit().await?)
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

/// Objects that were begun in parts, and are not on their way any more.
async fn give_up_parts(host: &Host) -> Result<()> {
    let now = host.clock.now();
    let due = doomed::due_parts(&mut host.db.read().await?, now, ROUND).await?;
    for parts in &due {
        let again = match host.objects.abort(&parts.0, &parts.1).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, key = parts.0, "parts could not be given up");
                Some(now + GRACE)
            }
        };
        let mut tx = host.db.write().await?;
        doomed::gave_up(&mut tx, parts, again).await?;
        tx.commit().await?;
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
