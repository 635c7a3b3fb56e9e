//! Driving one lane: deliver, write down how it went, go on while more is waiting.

mod cancel;
mod conclude;
pub mod health;
mod passage;
mod socket;

use super::scope::Live;
use crate::{
    bus::{Signal, Watch},
    catalog::{components, signing},
    delivery::{
        Delivery, Failure, Parcel, Report, Verdict, What, component::ToComponent,
        webhook::ToWebhook,
    },
    error::{Error, Result},
    host::Host,
    id::{ClaimId, SessionId},
    sandbox::{Author, Keep, Message},
    sessions::{
        self,
        lane::{self, Due, Ending, Lease, RENEW, Target, Waiting},
        log::Entry,
    },
    timestamp::Timestamp,
    work::outgoing,
};
use passage::Passage;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Drives the lane in a task of its own. `first` is what the claim was made for,
/// when the claimer knows it.
pub fn drive(host: &Host, session: SessionId, claim: ClaimId, first: Option<Due>) {
    let driver = Driver { host: host.clone(), session, claim };
    host.lanes.spawn(async move {
        let begun = driver.begin(first).await;
        driver.said(begun);
    });
}

/// What to do with the lane after a delivery.
enum Next {
    Deliver(Box<Due>),
    Stop,
}

/// What became of the turn of an event.
enum Made {
    /// None when there was none; else with its report, and whether it was a probe.
    Attempt(Box<Option<(Report, bool)>>),
    Cancelled,
}

#[derive(Clone)]
struct Driver {
    host: Host,
    session: SessionId,
    claim: ClaimId,
}

impl Driver {
    /// Finds out whom the lane leads to. Components are driven on the threads that
    /// they run on: then their events need not be handed over.
    async fn begin(&self, first: Option<Due>) -> Result<()> {
        let due = match first {
            Some(due) => due,
            None => match self.next().await? {
                Some(due) => due,
                None => return Ok(()),
            },
        };
        // Before the look, so that nothing is cancelled in between.
        let watch = self.host.breaks.listen(self.session);
        let target = self.target().await?;
        if target.delivery != "component" {
            return self.run(target, due, &watch).await;
        }
        let (there, agent) = (self.clone(), target.agent_id);
        let lane = async move {
            let run = there.run(target, due, &watch).await;
            there.said(run);
        };
        self.host.sandbox.drive(agent, self.host.lanes.track_future(lane));
        Ok(())
    }

    fn said(&self, run: Result<()>) {
        if let Err(error) = run {
            // The claim runs out and somebody else goes on.
            tracing::error!(%error, session = %self.session, "a lane stopped");
        }
    }

    async fn run(&self, mut target: Target, mut due: Due, watch: &Watch) -> Result<()> {
        loop {
            let next = match self.settled(&target, &due).await? {
                Some(next) => next,
                None => {
                    let made = tokio::select! {
                        attempt = self.attempt(&mut target, &due) => {
                            Made::Attempt(Box::new(attempt?))
                        }
                        () = self.keep() => return Ok(()),
                        () = self.cancelled(watch, &due) => Made::Cancelled,
                    };
                    match made {
                        Made::Attempt(made) => {
                            let Some((report, probe)) = *made else { return Ok(()) };
                            self.conclude(&target, &due, report, probe).await?
                        }
                        Made::Cancelled => self.break_off(&target, &due).await?,
                    }
                }
            };
            match next {
                Next::Deliver(next) if self.host.stopping.is_cancelled() => {
                    return self.put_back(&next, self.host.clock.now()).await;
                }
                Next::Deliver(next) => due = *next,
                Next::Stop => return Ok(()),
            }
            target = self.target().await?;
        }
    }

    async fn target(&self) -> Result<Target> {
        let mut tx = self.host.db.look().await?;
        lane::target(&mut tx, self.session).await
    }

    /// Renews the claim for as long as it is polled; returns when it was lost. Writing
    /// is left to the runtime's threads: a guest that computes must not have the
    /// database wait for it.
    async fn keep(&self) {
        tokio::time::sleep(RENEW).await;
        let driver = self.clone();
        let lost = AbortOnDropHandle::new(tokio::spawn(async move { driver.renew().await }));
        if let Err(error) = lost.await {
            tracing::error!(%error, "a claim is not renewed any more");
        }
    }

    async fn renew(&self) {
        loop {
            let renewed = async {
                let mut tx = self.host.db.write().await?;
                let kept = lane::renew(&mut tx, self.session, self.lease()).await?;
                tx.commit().await?;
                Ok::<_, Error>(kept)
            };
            match renewed.await {
                // A client of another process may have cancelled something.
                Ok(Some(Some(_))) => self.host.breaks.tell(self.session),
                Ok(Some(None)) => {}
                Ok(None) => return,
                Err(error) => tracing::error!(%error, "a claim could not be renewed"),
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    fn lease(&self) -> Lease {
        Lease { claim: self.claim, ..self.host.lease() }
    }

    /// None when it may not be tried now and was put back. Beside the report: whether it
    /// was sent to see if the webhook is back.
    async fn attempt(&self, target: &mut Target, due: &Due) -> Result<Option<(Report, bool)>> {
        match self.passage(target, due).await? {
            Passage::Held(until) => {
                self.put_back(due, until).await?;
                Ok(None)
            }
            Passage::Free { place: _place, probe } => {
                Ok(Some((self.deliver(target, due).await, probe)))
            }
        }
    }

    async fn deliver(&self, target: &Target, due: &Due) -> Report {
        let span = tracing::info_span!(
            "deliver",
            otel.name = %format!("deliver {} to a {}", due.entry.kind, target.delivery),
            otel.kind = "producer",
            session.id = %self.session,
            agent.id = %target.agent_id,
            event.id = %due.entry.id,
            attempt = due.attempt,
            outcome = tracing::field::Empty,
        );
        let report = self.send(target, due).instrument(span.clone()).await;
        span.record("outcome", report.verdict.code());
        report
    }

    async fn send(&self, target: &Target, due: &Due) -> Report {
        let parcel = self.parcel(target, due);
        let delivery: Result<Box<dyn Delivery>> = match target.delivery.as_str() {
            "component" => self.component(target, due).await.map(|to| Box::new(to) as _),
            _ => match self.socket(target, due) {
                Some(to) => Ok(Box::new(to) as _),
                None => self.webhook(target).await.map(|to| Box::new(to) as _),
            },
        };
        match delivery {
            Ok(delivery) => delivery.deliver(parcel).await,
            Err(error) => {
                tracing::error!(%error, session = %self.session, "no way to the agent");
                let reason = "the platform could not reach the agent".into();
                Verdict::Later(Failure { code: "host_error", reason }).into()
            }
        }
    }

    fn parcel(&self, target: &Target, due: &Due) -> Parcel {
        let attempt = u32::try_from(due.attempt).unwrap_or(u32::MAX);
        let entry = &due.entry;
        Parcel {
            agent: target.agent_id,
            session: self.session,
            session_started: target.started_at.unwrap_or(target.created_at),
            event: entry.id,
            attempt,
            replayed: due.replayed,
            what: match entry.kind.as_str() {
                "session_started" => What::Started,
                "session_ended" => What::Ended(entry.text("reason").to_owned()),
                _ => What::Message(message(entry)),
            },
            scope: Arc::new(Live {
                host: self.host.clone(),
                session: self.session,
                company: target.company_id,
                agent: target.agent_id,
                claim: self.claim,
                event: entry.id,
                seq: entry.seq,
                first_try: attempt == 1,
            }),
        }
    }

    async fn component(&self, target: &Target, due: &Due) -> Result<ToComponent> {
        let sandbox = Arc::clone(&self.host.sandbox);
        let missing =
            || Error::internal(anyhow::anyhow!("agent {} has no component", target.agent_id));
        let sha256 = target.sha256.as_deref().ok_or_else(missing)?;
        let key = components::upload_key(sha256);
        let (platform, own) = (&target.platform_limits, target.own_limits.as_deref());
        let limits = self.host.policy.effective(target.agent_id, platform, own)?;
        let component = sandbox.load(sha256, &limits, self.host.objects.get(&key)).await?;
        let keep = (target.warm && limits.warm_instances > 0).then(|| Keep {
            session: self.session,
            seq: due.entry.seq,
            last: target.last_delivered,
            now: self.host.clock.now(),
        });
        Ok(ToComponent { sandbox, component, limits, keep })
    }

    async fn webhook(&self, target: &Target) -> Result<ToWebhook> {
        let missing =
            || Error::internal(anyhow::anyhow!("agent {} has no webhook", target.agent_id));
        let url = target.webhook.url.as_deref().ok_or_else(missing)?;
        let sealed = target.webhook.secret.as_deref().ok_or_else(missing)?;
        let mut all = vec![sealed.to_owned()];
        if target.webhook.rotated {
            let mut tx = self.host.db.look().await?;
            all.extend(signing::former(&mut tx, target.agent_id, self.host.clock.now()).await?);
        }
        outgoing::webhook(&self.host, target.agent_id, self.session, url, all)
    }

    async fn finish(&self, due: &Due, ending: Ending) -> Result<Next> {
        let mut tx = self.host.db.write().await?;
        let seq = due.entry.seq;
        let waiting = lane::finish(&mut tx, self.session, self.lease(), seq, ending).await?;
        let next = match waiting {
            Some(Waiting::More) => lane::next(&mut tx, self.session, self.claim).await?,
            _ => None,
        };
        tx.commit().await?;
        Ok(next.map_or(Next::Stop, |due| Next::Deliver(Box::new(due))))
    }

    async fn next(&self) -> Result<Option<Due>> {
        let mut tx = self.host.db.write().await?;
        let next = lane::next(&mut tx, self.session, self.claim).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// What was about to begin waits until then.
    async fn put_back(&self, due: &Due, until: Timestamp) -> Result<()> {
        let mut tx = self.host.db.write().await?;
        lane::untried(&mut tx, self.session, self.claim, due.entry.seq, until).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Tells readers of a committed entry.
pub fn announce(host: &Host, entry: &Entry) {
    let signal = Signal::Entry { seq: entry.seq, line: entry.line() };
    host.bus.announce(entry.session_id, signal);
    if entry.kind == "session_ended" {
        host.bus.over(entry.session_id);
        host.sockets.over(entry.session_id);
    }
}

/// Tells of a committed entry that the agent must learn of, and drives the lane
/// when the one who committed it has claimed it.
pub fn told(host: &Host, told: sessions::Told, claim: ClaimId) {
    announce(host, &told.entry);
    if told.claimed {
        let session = told.entry.session_id;
        drive(host, session, claim, Some(Due::first(told.entry)));
    }
}

/// A message of the log as agents are shown it.
pub fn message(entry: &Entry) -> Message {
    Message {
        id: entry.id.to_string(),
        author: if entry.text("role") == "agent" { Author::Agent } else { Author::Client },
        content: entry.text("content").to_owned(),
        created_at: entry.created_at,
    }
}
