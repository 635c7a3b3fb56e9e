//! Once a day everything that the provider has told is asked for again, so that nothing is
//! missed for good; and what it took for itself is noted.

use crate::{
    billing::{events, reconcile, transfers},
    error::{Error, Kind, Result},
    host::Host,
    payments::{Failure, Line},
    timestamp::Timestamp,
};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// Stripe tries to tell for three days; then only this finds it.
const FIRST: Duration = Duration::from_hours(3 * 24);

/// Looked at twice, so that nothing falls between two looks.
const OVERLAP: Duration = Duration::from_hours(1);

/// Pages of a hundred: a million things a day.
const PAGES: usize = 10_000;

/// Asks again when it is time.
pub(super) async fn daily(host: &Host) -> Result<()> {
    let now = host.clock.now();
    let mut tx = host.db.write().await?;
    transfers::release(&mut tx, now).await?;
    tx.commit().await?;
    let last = reconcile::looked_at(&mut host.db.look().await?).await?;
    if last.is_some_and(|last| now.since(last) < DAY) {
        return Ok(());
    }
    let since = last.map_or(now - FIRST, |last| last - OVERLAP);
    let missed = all(host, since).await?;
    let mut tx = host.db.write().await?;
    reconcile::looked(&mut tx, now).await?;
    tx.commit().await?;
    if missed > 0 {
        tracing::warn!(missed, "the provider had told something that never came");
    }
    Ok(())
}

/// Asks for everything told since, and says how much of it was new.
pub async fn all(host: &Host, since: Timestamp) -> Result<u64> {
    let (mut after, mut missed) = (None, 0);
    for _ in 0..PAGES {
        let page = host.payments.events(since, after.as_deref()).await.map_err(away)?;
        let mut tx = host.db.write().await?;
        for told in &page.rows {
            missed += u64::from(events::keep(&mut tx, &host.clock, told).await?);
        }
        tx.commit().await?;
        after = page.next;
        if after.is_none() || host.stopping.is_cancelled() {
            break;
        }
    }
    let lines = books(host, since).await?;
    let mut tx = host.db.write().await?;
    for line in &lines {
        reconcile::fee(&mut tx, &host.clock, line).await?;
    }
    tx.commit().await?;
    host.told.notify_one();
    Ok(missed)
}

/// The provider's books since.
pub async fn books(host: &Host, since: Timestamp) -> Result<Vec<Line>> {
    let (mut after, mut lines) = (None, Vec::new());
    for _ in 0..PAGES {
        let page = host.payments.books(since, after.as_deref()).await.map_err(away)?;
        lines.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(lines)
}

/// The provider did not say.
fn away(failure: Failure) -> Error {
    let detail = "the payment provider did not answer; ask again later";
    let mut error = Error::new(Kind::Unavailable(30), "provider_away", detail);
    error.cause = Some(anyhow::anyhow!("{failure}"));
    error
}
