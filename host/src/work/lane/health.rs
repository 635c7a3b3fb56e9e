//! What a try tells of its webhook: breakers open and close, webhooks are disabled, and
//! clients are told when their agent cannot be reached and when it can again.

use super::Driver;
use crate::{
    bus::Signal,
    catalog::{
        self,
        endpoints::{self, Consequence, Failed},
    },
    delivery::{Failure, Report, Verdict, webhook::GONE},
    error::Result,
    host::Host,
    id::AgentId,
    notifications,
    sessions::{
        self,
        lane::{self, Due, Target},
        log::{Entry, New},
        replies::{self, Speaker},
    },
    storage::Tx,
    timestamp::Timestamp,
};
use serde_json::json;
use std::time::Duration;

/// What became known with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// Clients see another presence.
    Changed,
    /// It can be reached again: what waits may come.
    Back,
    /// Nothing is sent any more until its builder enables it.
    Disabled,
}

impl Driver {
    /// Writes down what the try says of the webhook. Nothing, when it never got there or
    /// went another way.
    pub(super) async fn health(
        &self,
        tx: &mut Tx,
        target: &Target,
        report: &Report,
        probe: bool,
    ) -> Result<News> {
        if report.exchange.is_none() || report.by_socket() {
            return Ok(News::None);
        }
        let (host, agent) = (&self.host, target.agent_id);
        let failure = match &report.verdict {
            Verdict::Later(failure) | Verdict::Never(failure) => Some(failure),
            Verdict::Delivered | Verdict::Busy => None,
        };
        let trips = host.windows.count(agent, failure.is_some(), host.clock.now());
        let Some(failure) = failure else {
            if !target.webhook.ailing || !endpoints::recovered(tx, &host.clock, agent).await? {
                return Ok(News::None);
            }
            return Ok(if target.webhook.held_until.is_some() {
                News::Back
            } else {
                News::Changed
            });
        };
        let patience = Duration::from_secs(host.config.webhook_patience_seconds);
        let how = Failed { gone: failure.code == GONE, probe, trips, patience };
        Ok(match endpoints::failed(tx, &host.clock, agent, how).await? {
            Consequence::Disabled => News::Disabled,
            Consequence::None if target.webhook.ailing => News::None,
            Consequence::None | Consequence::Opened => News::Changed,
        })
    }

    /// Tells the client, once, that what it said waits for an agent that cannot be
    /// reached.
    pub(super) async fn delivery_failed(
        &self,
        tx: &mut Tx,
        target: &Target,
        due: &Due,
        failure: &Failure,
        at: Timestamp,
    ) -> Result<Option<Entry>> {
        if target.failing {
            return Ok(None);
        }
        let body = json!({
            "eventId": due.entry.id, "event": due.entry.kind, "code": failure.code,
            "reason": failure.reason, "nextAttemptAt": at,
        });
        self.turn(tx, true, New::of("delivery_failed", body)).await
    }

    /// And that it was reached.
    pub(super) async fn delivery_recovered(
        &self,
        tx: &mut Tx,
        target: &Target,
        due: &Due,
    ) -> Result<Option<Entry>> {
        if !target.failing {
            return Ok(None);
        }
        let body = json!({ "eventId": due.entry.id, "event": due.entry.kind });
        self.turn(tx, false, New::of("delivery_recovered", body)).await
    }

    async fn turn(&self, tx: &mut Tx, failing: bool, new: New) -> Result<Option<Entry>> {
        let speaker = Speaker::Lane(self.claim);
        let entry = replies::note(tx, &self.host.clock, self.session, speaker, new).await?;
        if entry.is_some() {
            lane::failing(tx, self.session, failing).await?;
        }
        Ok(entry)
    }
}

/// What follows once it is committed. Whatever is missed here is found out a little
/// later: by readers when they look, by lanes when they are due.
pub(super) async fn spread(host: &Host, agent: AgentId, news: News) {
    if news == News::None {
        return;
    }
    let spread = async {
        if news == News::Disabled {
            tell_builders(host).await?;
        }
        if news == News::Back {
            host.windows.forget(agent);
            bring_forward(host, agent).await?;
        }
        tell(host, agent).await
    };
    if let Err(error) = spread.await {
        tracing::warn!(%error, %agent, "a webhook's news are found out later");
    }
}

/// Tells builders that nothing is sent to their servers any more.
pub async fn tell_builders(host: &Host) -> Result<()> {
    let untold = {
        let mut tx = host.db.look().await?;
        endpoints::untold(&mut tx).await?
    };
    for (agent, reason) in untold {
        let mut tx = host.db.write().await?;
        let Some(template) = catalog::find(&mut tx, agent).await? else { continue };
        let Some(user) = catalog::builders_user(&mut tx, agent).await? else { continue };
        let why = match reason.as_str() {
            "gone" => "it answered 410 Gone",
            _ => "it has been failing for long",
        };
        let text = format!(
            "The webhook of {} is disabled: {why}. Its events are held. \
             Enable it when it works again; they are sent then, in order.",
            template.name
        );
        // The inbox first and then the webhook's row, as whoever ends a session has them.
        notifications::tell(&mut tx, &host.clock, user, "webhook_disabled", None, text).await?;
        if endpoints::told(&mut tx, agent).await? {
            tx.commit().await?;
        }
    }
    Ok(())
}

/// What waits for the agent is due now.
pub async fn bring_forward(host: &Host, agent: AgentId) -> Result<()> {
    let mut tx = host.db.write().await?;
    lane::resume(&mut tx, agent, host.clock.now()).await?;
    tx.commit().await?;
    host.due.notify_one();
    Ok(())
}

/// Its clients look how it is.
pub async fn tell(host: &Host, agent: AgentId) -> Result<()> {
    let sessions = {
        let mut tx = host.db.look().await?;
        sessions::running(&mut tx, agent).await?
    };
    for session in sessions {
        host.bus.announce(session, Signal::Presence);
    }
    Ok(())
}
