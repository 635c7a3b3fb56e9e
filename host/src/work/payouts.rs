//! Sends money: to builders, and back to clients. What is to be sent stands in the
//! database; the provider is asked between two transactions, never in one.

use crate::{
    billing::{Step, refunds, transfers},
    error::Result,
    host::Host,
    payments::{Failure, NewRefund, NewTransfer},
    timestamp::Timestamp,
};
use std::time::Duration;

/// How long something due may wait when nobody said so.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn start(host: &Host, started: Timestamp) {
    let host = host.clone();
    host.tasks.clone().spawn(async move {
        if let Err(error) = pick_up(&host, started).await {
            tracing::error!(%error, "what the last process was sending waits for its time");
        }
        while !host.stopping.is_cancelled() {
            match send(&host).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "money is not sent"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = host.owed.notified() => {}
                () = host.stopping.cancelled() => {}
            }
        }
    });
}

async fn pick_up(host: &Host, started: Timestamp) -> Result<()> {
    let mut tx = host.db.write().await?;
    transfers::leave_all(&mut tx, host.node.0, started).await?;
    refunds::leave_all(&mut tx, host.node.0, started).await?;
    Ok(tx.commit().await?)
}

/// Sends one of each that is due; false when none is.
pub async fn send(host: &Host) -> Result<bool> {
    let transferred = transfer(host).await?;
    Ok(refund(host).await? || transferred)
}

async fn transfer(host: &Host) -> Result<bool> {
    if !transfers::any(&mut host.db.look().await?, host.clock.now()).await? {
        return Ok(false);
    }
    let mut tx = host.db.write().await?;
    let Some((transfer, step)) = transfers::claim(&mut tx, &host.clock, host.node.0).await? else {
        return Ok(false);
    };
    tx.commit().await?;
    let Some(step) = step else { return Ok(true) };
    let asked = ask_for_transfer(host, &transfer, step).await;
    let mut tx = host.db.write().await?;
    match asked {
        Ok(name) => transfers::done(&mut tx, &host.clock, &transfer, &name).await?,
        Err(Failure::Refused { code, message }) => {
            let (id, session) = (transfer.id, transfer.session_id);
            tracing::error!(%id, %session, code, message, "a builder is not paid");
            let why = format!("{code}: {message}");
            transfers::refused(&mut tx, &host.clock, &transfer, &code, &why).await?;
        }
        Err(Failure::Unknown(why)) => {
            tracing::warn!(id = %transfer.id, why, "nobody knows whether a builder was paid");
            transfers::unknown(&mut tx, host.clock.now(), &transfer, &why).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

/// What became of it: the provider's name for it.
async fn ask_for_transfer(
    host: &Host,
    transfer: &transfers::Transfer,
    step: Step,
) -> Result<String, Failure> {
    let group = transfer.group();
    let key = match step {
        Step::Ask { key } => key,
        Step::LookUp { key } => {
            if let Some(name) = host.payments.find_transfer(&group, transfer.id).await? {
                return Ok(name);
            }
            key
        }
        Step::Judge => {
            let found = host.payments.find_transfer(&group, transfer.id).await?;
            return found.ok_or_else(never_done);
        }
    };
    let new = NewTransfer {
        transfer: transfer.id,
        account: transfer.account_id.as_deref().unwrap_or_default(),
        cents: transfer.cents,
        charge: transfer.charge_id.as_deref(),
        group: &group,
    };
    Ok(host.payments.transfer(&key, new).await?.value)
}

fn never_done() -> Failure {
    let message = "the provider knows nothing of it after a day".to_owned();
    Failure::Refused { code: "never_done".to_owned(), message }
}

async fn refund(host: &Host) -> Result<bool> {
    if !refunds::any(&mut host.db.look().await?, host.clock.now()).await? {
        return Ok(false);
    }
    let mut tx = host.db.write().await?;
    let Some((refund, step)) = refunds::claim(&mut tx, &host.clock, host.node.0).await? else {
        return Ok(false);
    };
    tx.commit().await?;
    let asked = ask_for_refund(host, &refund, step).await;
    let mut tx = host.db.write().await?;
    match asked {
        Ok(mut made) => {
            made.metadata.refund = Some(refund.id);
            refunds::told(&mut tx, &host.clock, &made).await?;
        }
        Err(Failure::Refused { code, message }) => {
            let (id, company) = (refund.id, refund.company_id);
            tracing::error!(%id, %company, code, message, "a client is not paid back");
            let why = format!("{code}: {message}");
            refunds::refused(&mut tx, &host.clock, &refund, &why).await?;
        }
        Err(Failure::Unknown(why)) => {
            tracing::warn!(id = %refund.id, why, "nobody knows whether a client was paid back");
            refunds::unknown(&mut tx, host.clock.now(), &refund, &why).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

async fn ask_for_refund(
    host: &Host,
    refund: &refunds::Refund,
    step: Step,
) -> Result<crate::payments::wire::Refund, Failure> {
    let intent = refund.intent_id.as_deref().unwrap_or_default();
    let key = match step {
        Step::Ask { key } => key,
        Step::LookUp { key } => {
            if let Some(made) = host.payments.find_refund(intent, refund.id).await? {
                return Ok(made);
            }
            key
        }
        Step::Judge => {
            let found = host.payments.find_refund(intent, refund.id).await?;
            return found.ok_or_else(never_done);
        }
    };
    let new = NewRefund { refund: refund.id, intent, cents: refund.cents };
    Ok(host.payments.refund(&key, new).await?.value)
}
