//! What goes on in the background: driving the lanes.
//!
//! A lane is usually driven by whoever put the first event into it, with no delay.
//! The loop here finds the others: those whose driver died, and those that wait for
//! another try. It asks the database once a second, and at once when told.

pub mod closed;
pub mod hours;
mod inboxes;
pub mod lane;
pub mod library;
pub mod missed;
pub mod outbox;
pub mod outgoing;
pub mod overdue;
pub mod payouts;
mod replays;
mod retry;
mod scope;
pub mod seats;
pub mod sockets;
pub mod standing;
pub mod suspended;
pub mod told;
pub mod withdrawn;

use crate::{
    accounts::{links, sign_ins},
    catalog::{components, endpoints, signing},
    files::resumable,
    host::Host,
    idempotency, mails, notifications,
    sessions::{self, attempts, receipts::sweep},
    storage::skew,
    timestamp::Timestamp,
};
use std::{sync::PoisonError, time::Duration};

/// How long something due may wait when nobody said so.
const LOOK: Duration = Duration::from_secs(1);

/// How often things are put away.
const TIDY: Duration = Duration::from_mins(1);

/// How long nothing may be heard of an upload before its process is taken for dead:
/// a living one says so every ten seconds.
const SILENCE: Duration = Duration::from_mins(2);

/// Transactions in which receipts are deleted, each time, and as many for notifications:
/// more than a busy platform writes meanwhile.
const SWEEPS: usize = 400;

const DAY: Duration = Duration::from_hours(24);

/// How long a notification that was read is kept.
const NOTIFICATIONS: Duration = Duration::from_hours(90 * 24);

/// Lanes taken over in one transaction.
const BATCH: i64 = 32;

/// Lanes driven by one process. Most of them wait for an agent; each costs some
/// kilobytes.
const LANES: usize = 10_000;

/// Begins to look for due lanes, until the host stops.
pub fn start(host: &Host) {
    tidy_up(host);
    inboxes::watch(host);
    replays::start(host);
    sockets::start(host);
    told::start(host);
    hours::start(host);
    payouts::start(host, host.clock.now());
    outbox::start(host);
    let (worker, started) = (host.clone(), host.clock.now());
    host.tasks.spawn(async move {
        if let Err(error) = pick_up(&worker, started).await {
            tracing::error!(%error, "cannot pick up what the last process left; it will be due soon");
        }
        while !worker.stopping.is_cancelled() {
            let taken = match take(&worker).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::error!(%error, "cannot look for due deliveries");
                    0
                }
            };
            if taken == 0 {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = worker.due.notified() => {}
                    () = worker.stopping.cancelled() => {}
                }
            }
        }
    });
}

/// Tidies up now and then, until the host stops.
fn tidy_up(host: &Host) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        loop {
            let tidied = async {
                tidy(&worker).await?;
                overdue::end_stale(&worker).await
            };
            if let Err(error) = tidied.await {
                tracing::error!(%error, "cannot tidy up");
                *worker.attentive.lock().unwrap_or_else(PoisonError::into_inner) =
                    worker.clock.now();
            }
            tokio::select! {
                () = tokio::time::sleep(TIDY) => {}
                () = worker.stopping.cancelled() => return,
            }
        }
    });
}

/// What the process before this one was at when it died is due now; uploads that it
/// had are given up, since their bytes are gone.
async fn pick_up(host: &Host, started: Timestamp) -> crate::error::Result<()> {
    let mut tx = host.db.write().await?;
    let left = sessions::lane::release_all(&mut tx, host.node).await?;
    sessions::sockets::release_all(&mut tx, host.node, started).await?;
    resumable::leave_all(&mut tx, host.node.claims(), started).await?;
    components::give_up_own(&mut tx, host.node.0, started).await?;
    idempotency::release_all(&mut tx, host.node.0, started).await?;
    tx.commit().await?;
    if left > 0 {
        tracing::info!(lanes = left, "picking up where the last process left off");
    }
    Ok(())
}

/// Does at once everything that this process does by itself now and then.
pub async fn check(host: &Host) -> crate::error::Result<()> {
    while told::apply(host).await? {}
    hours::check(host).await?;
    tidy(host).await?;
    overdue::end_stale(host).await?;
    while payouts::send(host).await? {}
    while outbox::send(host).await? {}
    Ok(())
}

/// Puts away what nobody else will.
pub async fn tidy(host: &Host) -> crate::error::Result<()> {
    let now = host.clock.now();
    look_at_the_clock(host).await?;
    host.sandbox.tidy(now);
    host.windows.tidy(now);
    host.pace.tidy();
    let mut tx = host.db.write().await?;
    components::give_up(&mut tx, now - SILENCE).await?;
    sign_ins::sweep(&mut tx, now).await?;
    links::sweep(&mut tx, now).await?;
    mails::sweep(&mut tx, now).await?;
    idempotency::sweep(&mut tx, now).await?;
    signing::sweep(&mut tx, now).await?;
    endpoints::sweep(&mut tx, now).await?;
    tx.commit().await?;
    lane::health::tell_builders(host).await?;
    sockets::sweep(host, now).await?;
    overdue::end(host).await?;
    withdrawn::finish(host).await?;
    suspended::end(host).await?;
    closed::finish(host).await?;
    library::tidy(host).await?;
    seats::check(host).await?;
    if let Err(error) = missed::daily(host).await {
        tracing::error!(%error, "what the payment provider has told cannot be asked for again");
    }
    sweep_notifications(host).await?;
    sweep_receipts(host).await
}

/// Tells the operator when leases and signatures are about to be misjudged.
async fn look_at_the_clock(host: &Host) -> crate::error::Result<()> {
    match host.db.skew(&host.clock).await? {
        Some(skew) if skew > skew::MOST => {
            tracing::error!(?skew, "this machine's clock and the database's differ");
        }
        Some(skew) if skew > skew::TOLERATED => {
            tracing::warn!(?skew, "this machine's clock and the database's differ");
        }
        _ => {}
    }
    Ok(())
}

/// Deletes notifications that were read and are old.
async fn sweep_notifications(host: &Host) -> crate::error::Result<()> {
    let until = host.clock.now() - NOTIFICATIONS;
    for _ in 0..SWEEPS {
        let mut tx = host.db.write().await?;
        let swept = notifications::sweep(&mut tx, until).await?;
        tx.commit().await?;
        if swept < notifications::BATCH.unsigned_abs() || host.stopping.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Deletes receipts, and a webhook's tries, that are too old, then those that are too many of one agent.
async fn sweep_receipts(host: &Host) -> crate::error::Result<()> {
    let days = u32::try_from(host.config.receipt_days).unwrap_or(u32::MAX);
    let until = host.clock.now() - DAY * days;
    let mut left = SWEEPS;
    let mut full = true;
    while full && left > 0 {
        let mut tx = host.db.write().await?;
        let tries = attempts::sweep(&mut tx, until).await?;
        full = sweep::old(&mut tx, until).await? == u64::from(sweep::BATCH)
            || tries == attempts::BATCH.unsigned_abs();
        tx.commit().await?;
        left -= 1;
    }
    let most = i64::try_from(host.config.receipts_per_agent).unwrap_or(i64::MAX);
    let crowded = {
        let mut tx = host.db.read().await?;
        sweep::crowded(&mut tx, most).await?
    };
    for (agent, last) in crowded {
        let mut full = true;
        while full && left > 0 && !host.stopping.is_cancelled() {
            let mut tx = host.db.write().await?;
            full = sweep::agents(&mut tx, agent, last).await? == u64::from(sweep::BATCH);
            tx.commit().await?;
            left -= 1;
        }
    }
    Ok(())
}

/// Takes over what is due and says how much that was.
async fn take(host: &Host) -> crate::error::Result<usize> {
    if host.lanes.len() >= LANES {
        return Ok(0);
    }
    let mut tx = host.db.write().await?;
    let claimed = sessions::lane::claim_due(&mut tx, &host.clock, host.node, BATCH).await?;
    if claimed.is_empty() {
        return Ok(0);
    }
    tx.commit().await?;
    for (session, claim) in &claimed {
        lane::drive(host, *session, *claim, None);
    }
    Ok(claimed.len())
}
