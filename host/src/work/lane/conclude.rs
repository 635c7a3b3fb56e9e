//! After a delivery: write down how it went, all in one transaction, and then tell
//! of it.

use super::{Driver, Next, announce, drive, health};
use crate::{
    catalog::canaries::{self, Canary},
    delivery::{Failure, Report, Verdict},
    error::{Error, Result},
    id::ClaimId,
    sandbox::Outcome,
    sessions::{
        self,
        attempts::{self, Cause, Outcome as Tried},
        lane::{self, Due, Ending, Target, Waiting},
        log::{Entry, New},
        memory, receipts,
        replies::{self, Speaker},
    },
    storage::Tx,
    timestamp::Timestamp,
    work::retry,
};
use serde_json::json;
use std::time::Duration;

/// How long an event waits for which there was no place: several events' time, and
/// not so short that waiting is work.
const BUSY: Duration = Duration::from_secs(1);

impl Driver {
    /// The event is delivered, failed, or put off; what follows from that is in the
    /// same transaction.
    pub(super) async fn conclude(
        &self,
        target: &Target,
        due: &Due,
        report: Report,
        probe: bool,
    ) -> Result<Next> {
        let failure = match &report.verdict {
            Verdict::Busy => return self.wait(due).await,
            Verdict::Delivered => None,
            Verdict::Later(failure) | Verdict::Never(failure) => Some(failure),
        };
        let platform_failed =
            report.receipt.as_ref().is_some_and(|r| r.outcome == Outcome::HostError);
        let retried = target.retry_policy == "standard" || platform_failed || report.socket_broke();
        let delay = match &report.verdict {
            Verdict::Later(_) if retried => {
                let failures = u32::try_from(due.failures).unwrap_or(u32::MAX);
                retry::delay(&self.host.clock, failures.saturating_add(1), report.retry_after)
            }
            _ => None,
        };
        if let (Some(delay), Some(failure)) = (delay, failure) {
            let at = self.host.clock.now() + delay;
            return self.retry(target, due, &report, probe, failure, at).await;
        }
        let mut tx = self.host.db.write().await?;
        let mut news = Vec::new();
        if failure.is_none() {
            news.extend(self.delivery_recovered(&mut tx, target, due).await?);
        }
        let ending = match failure {
            None => Ending::Delivered,
            Some(failure) => {
                news.extend(self.message_failed(&mut tx, due, failure).await?);
                Ending::Failed
            }
        };
        let seq = due.entry.seq;
        let Some(waiting) = lane::finish(&mut tx, self.session, self.lease(), seq, ending).await?
        else {
            return Ok(Next::Stop);
        };
        let (delivery, went) =
            (&target.delivery, if failure.is_none() { "delivered" } else { "failed" });
        let tried = if failure.is_none() { Tried::Delivered } else { Tried::Dead };
        self.record(&mut tx, target, due, &report, tried).await?;
        if due.entry.kind == "session_ended" {
            memory::forget(&mut tx, self.session).await?;
        } else if let Some(state) =
            report.receipt.as_ref().and_then(|receipt| receipt.state.as_ref())
        {
            memory::store(&mut tx, self.session, state).await?;
        }
        let mut claimed = None;
        if due.entry.kind == "session_started" && target.status == "provisioning" {
            let (entry, due) = self.started(&mut tx, target, ending).await?;
            news.extend(entry);
            claimed = due;
        }
        let next = match waiting {
            Waiting::More => lane::next(&mut tx, self.session, self.claim).await?,
            Waiting::Nothing => None,
        };
        // The last things: nothing waits longer than it must for the trial's row, or the
        // webhook's.
        let rolled_back = self.count(&mut tx, target, &report).await?;
        let health = self.health(&mut tx, target, &report, probe).await?;
        tx.commit().await?;
        self.host.metrics.event(delivery, went);
        self.host.tails.written();
        if let Some(canary) = rolled_back {
            let reason = canary.reason().unwrap_or_default();
            tracing::warn!(agent = %target.agent_id, %reason, "a canary was rolled back");
        }
        for entry in &news {
            announce(&self.host, entry);
        }
        health::spread(&self.host, target.agent_id, health).await;
        if let Some((lease, due)) = claimed {
            drive(&self.host, self.session, lease, Some(due));
        }
        Ok(next.map_or(Next::Stop, |due| Next::Deliver(Box::new(due))))
    }

    /// It is tried again at `at`; what came after it waits too.
    async fn retry(
        &self,
        target: &Target,
        due: &Due,
        report: &Report,
        probe: bool,
        failure: &Failure,
        at: Timestamp,
    ) -> Result<Next> {
        let mut tx = self.host.db.write().await?;
        let at_once = self.at_once(&mut tx, due, report).await?;
        let at = if at_once { self.host.clock.now() } else { at };
        let told = if at_once {
            None
        } else {
            self.delivery_failed(&mut tx, target, due, failure, at).await?
        };
        if !lane::postpone(&mut tx, self.session, self.claim, due.entry.seq, at).await? {
            return Ok(Next::Stop);
        }
        self.record(&mut tx, target, due, report, Tried::Retrying(at)).await?;
        let health = self.health(&mut tx, target, report, probe).await?;
        tx.commit().await?;
        self.host.metrics.event(&target.delivery, "retried");
        self.host.tails.written();
        if let Some(entry) = &told {
            announce(&self.host, entry);
        }
        health::spread(&self.host, target.agent_id, health).await;
        if at_once {
            self.host.due.notify_one();
        }
        Ok(Next::Stop)
    }

    /// The agent has as many events waiting as may: this one waits in the database,
    /// as untried as before, and its session with it.
    async fn wait(&self, due: &Due) -> Result<Next> {
        let mut tx = self.host.db.write().await?;
        let at = self.host.clock.now() + BUSY;
        if lane::untried(&mut tx, self.session, self.claim, due.entry.seq, at).await? {
            tx.commit().await?;
        }
        Ok(Next::Stop)
    }

    /// What follows from the agent's answer to `session_started`.
    async fn started(
        &self,
        tx: &mut Tx,
        target: &Target,
        ending: Ending,
    ) -> Result<(Option<Entry>, Option<(ClaimId, Due)>)> {
        let clock = &self.host.clock;
        if ending == Ending::Delivered {
            return Ok((sessions::activate(tx, clock, self.session).await?, None));
        }
        if target.delivery == "webhook" && target.retry_policy == "none" {
            // It may still call `/auth`, until the session's provisioning time-out.
            return Ok((None, None));
        }
        let lease = self.host.lease();
        let told = sessions::end(tx, clock, self.session, "agent_failed", lease).await?;
        let Some(told) = told else { return Ok((None, None)) };
        let due = Due::first(told.entry.clone());
        Ok((Some(told.entry), told.claimed.then_some((lease.claim, due))))
    }

    /// Tells the client that its message was in vain.
    pub(super) async fn message_failed(
        &self,
        tx: &mut Tx,
        due: &Due,
        failure: &Failure,
    ) -> Result<Option<Entry>> {
        if due.entry.kind != "message" {
            return Ok(None);
        }
        let id = due.entry.id;
        let body = json!({
            "messageId": id, "eventId": id, "code": failure.code, "reason": failure.reason,
        });
        let new = New::of("message_failed", body);
        replies::note(tx, &self.host.clock, self.session, Speaker::Lane(self.claim), new).await
    }

    async fn record(
        &self,
        tx: &mut Tx,
        target: &Target,
        due: &Due,
        report: &Report,
        outcome: Tried,
    ) -> Result<()> {
        if let Some(exchange) = &report.exchange {
            let new = attempts::New {
                agent: target.agent_id,
                session: self.session,
                event: due.entry.id,
                kind: &due.entry.kind,
                attempt: due.attempt,
                cause: if due.replayed { Cause::Replay } else { Cause::Lane },
                outcome,
                exchange: serde_json::to_value(exchange).map_err(Error::internal)?,
            };
            attempts::record(tx, &self.host.clock, new).await?;
        }
        let Some(receipt) = &report.receipt else { return Ok(()) };
        let new = receipts::New {
            agent: target.agent_id,
            session: self.session,
            event: due.entry.id,
            kind: &due.entry.kind,
            attempt: due.attempt,
            version: target.version,
            outcome: receipt.outcome.as_str(),
            receipt: serde_json::to_value(receipt).map_err(Error::internal)?,
            log: serde_json::to_value(&receipt.log).map_err(Error::internal)?,
        };
        receipts::record(tx, &self.host.clock, new).await
    }

    /// Counts the event for the trial that its session takes part in; the trial, if
    /// this ended it.
    async fn count(&self, tx: &mut Tx, target: &Target, report: &Report) -> Result<Option<Canary>> {
        let (Some(canary), Some(receipt)) = (target.canary_id, &report.receipt) else {
            return Ok(None);
        };
        // The platform's own failures say nothing of the version.
        if receipt.outcome == Outcome::HostError {
            return Ok(None);
        }
        canaries::count(tx, canary, receipt.outcome.at_fault(), self.host.clock.now()).await
    }
}
