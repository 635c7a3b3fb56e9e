//! What it takes to send something to a webhook, put together; and an event made up to
//! see whether it answers.

use crate::{
    catalog::signing,
    delivery::{
        Verdict, What,
        webhook::{Letter, ToWebhook},
    },
    error::{Error, Result},
    host::Host,
    id::{AgentId, AttemptId, EventId, SessionId},
    sandbox::{Author, Message},
    sessions::attempts::{self, Cause, New, Outcome},
};
use url::Url;

/// The way to a webhook, with all secrets that sign for it.
pub(super) fn webhook(
    host: &Host,
    agent: AgentId,
    session: SessionId,
    url: &str,
    sealed: Vec<Vec<u8>>,
) -> Result<ToWebhook> {
    let place = signing::place(agent);
    let open = |sealed: Vec<u8>| {
        let secret = host.key.open(&place, &sealed)?;
        String::from_utf8(secret).map_err(Error::internal)
    };
    Ok(ToWebhook {
        post: host.post.clone(),
        clock: host.clock.clone(),
        // Its address is checked again when it is dialled.
        url: Url::parse(url).map_err(Error::internal)?,
        secrets: sealed.into_iter().map(open).collect::<Result<_>>()?,
        token: host.agent_token(session),
    })
}

/// Sends a made-up event of a session that does not exist, once, and says how it went.
/// It counts for nothing: neither breaker nor retries learn of it.
pub async fn test_event(host: &Host, agent: AgentId, url: &str, what: What) -> Result<AttemptId> {
    let sealed = {
        let mut tx = host.db.look().await?;
        signing::all(&mut tx, agent, host.clock.now()).await?
    };
    let (session, event): (SessionId, EventId) = (host.clock.id(), host.clock.id());
    let to = webhook(host, agent, session, url, sealed)?;
    let kind = match what {
        What::Started => "session_started",
        What::Ended(_) => "session_ended",
        What::Message(_) => "message",
    };
    let letter = Letter { event, session, attempt: 1, mark: Some("test"), what: &what };
    let report = to.send(&letter).await;
    let delivered = report.verdict == Verdict::Delivered;
    let new = New {
        agent,
        session,
        event,
        kind,
        attempt: 1,
        cause: Cause::Test,
        outcome: if delivered { Outcome::Delivered } else { Outcome::Dead },
        exchange: serde_json::to_value(&report.exchange).map_err(Error::internal)?,
    };
    let mut tx = host.db.write().await?;
    let id = attempts::record(&mut tx, &host.clock, new).await?;
    tx.commit().await?;
    Ok(id)
}

/// What a client might say.
pub fn made_up(host: &Host, content: String) -> What {
    let id = host.clock.id::<EventId>().to_string();
    What::Message(Message { id, author: Author::Client, content, created_at: host.clock.now() })
}
