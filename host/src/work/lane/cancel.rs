//! Breaking off what a client does not want any more. What was shown of a reply is kept
//! as it is; the message it answers counts as failed, with a code that says why.

use super::{Driver, Next, announce};
use crate::{
    bus,
    delivery::{Failure, exchange::Exchange},
    error::{Error, Result},
    sessions::{
        attempts::{self, Cause, New, Outcome},
        cancel,
        lane::{self, Due, Ending, Target, Waiting},
    },
    storage::Tx,
};

/// The code that the client, and the builder's log of tries, are told.
const CANCELLED: &str = "cancelled";

impl Driver {
    /// Ready when the client has cancelled this event; asks the database whenever it is
    /// said that something was cancelled.
    pub(super) async fn cancelled(&self, watch: &bus::Watch, due: &Due) {
        loop {
            watch.told().await;
            match self.target().await {
                Ok(target) if target.cancelled_event == Some(due.entry.id) => return,
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "cannot look what was cancelled"),
            }
        }
    }

    /// Whatever ran for the event has been dropped.
    pub(super) async fn break_off(&self, target: &Target, due: &Due) -> Result<Next> {
        let mut tx = self.host.db.write().await?;
        let mut news = Vec::new();
        // A webhook agent's replies were kept when the client asked.
        let partial = if target.delivery == "component" {
            self.host.bus.unfinished(self.session)
        } else {
            Vec::new()
        };
        for (id, text) in &partial {
            let (clock, claim) = (&self.host.clock, self.claim);
            let kept = cancel::keep_partial(&mut tx, clock, self.session, claim, *id, text);
            news.extend(kept.await?);
        }
        let reason = "the client did not want to wait any longer".to_owned();
        let failure = Failure { code: CANCELLED, reason };
        news.extend(self.message_failed(&mut tx, due, &failure).await?);
        let seq = due.entry.seq;
        let waiting =
            lane::finish(&mut tx, self.session, self.lease(), seq, Ending::Cancelled).await?;
        let next = match waiting {
            None => return Ok(Next::Stop),
            Some(Waiting::More) => lane::next(&mut tx, self.session, self.claim).await?,
            Some(Waiting::Nothing) => None,
        };
        if target.delivery == "webhook" {
            self.record_cancelled(&mut tx, target, due, failure.reason).await?;
        }
        tx.commit().await?;
        for entry in &news {
            announce(&self.host, entry);
        }
        for (id, _) in partial {
            self.host.bus.written(self.session, id);
        }
        Ok(next.map_or(Next::Stop, |due| Next::Deliver(Box::new(due))))
    }

    async fn record_cancelled(
        &self,
        tx: &mut Tx,
        target: &Target,
        due: &Due,
        why: String,
    ) -> Result<()> {
        let url = target.webhook.url.clone().unwrap_or_default();
        let exchange = Exchange::broken_off(url, CANCELLED, why);
        let new = New {
            agent: target.agent_id,
            session: self.session,
            event: due.entry.id,
            kind: &due.entry.kind,
            attempt: due.attempt,
            cause: if due.replayed { Cause::Replay } else { Cause::Lane },
            outcome: Outcome::Dead,
            exchange: serde_json::to_value(exchange).map_err(Error::internal)?,
        };
        attempts::record(tx, &self.host.clock, new).await?;
        Ok(())
    }
}
