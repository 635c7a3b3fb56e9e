//! Words between a client and the builder behind the agent, past the agent: it neither
//! hears of them nor finds them among its messages.

use super::{
    Session, find,
    log::{self, Entry, New, Page},
    replies::{self, Speaker},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{BuilderId, CompanyId, EventId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde_json::json;

/// Who speaks, or wants to read.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Any member of the session's company.
    Client(CompanyId),
    /// The builder of the session's agent.
    Builder(BuilderId),
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Builder(_) => "builder",
        }
    }

    fn has_part_in(self, session: &Session) -> bool {
        match self {
            Self::Client(company) => session.company_id == company,
            Self::Builder(builder) => session.builder_id == Some(builder),
        }
    }
}

// Written down for the description of the API: what `Entry::json` makes of one.
/// What a client and the builder behind the agent say to each other.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct DirectMessage {
    /// `direct_message`.
    pub r#type: String,
    pub session_id: SessionId,
    /// Its number in the session's log.
    pub seq: i64,
    pub id: EventId,
    pub created_at: Timestamp,
    /// `client`, `builder`.
    pub from: String,
    pub content: String,
}

/// The session, if this side has a part in it and there is another side.
pub async fn session(tx: &mut Tx, id: SessionId, side: Side) -> Result<Session> {
    let found = find(tx, id).await?.filter(|session| side.has_part_in(session));
    let session = found.ok_or(Error::not_found("session"))?;
    if session.builder_id.is_none() {
        return Err(Error::not_found("builder behind this agent"));
    }
    Ok(session)
}

/// Adds what this side says to the session's log, for as long as it is not over.
pub async fn say(
    tx: &mut Tx,
    clock: &Clock,
    id: SessionId,
    side: Side,
    content: &str,
) -> Result<Entry> {
    session(tx, id, side).await?;
    let new = New::of("direct_message", json!({ "from": side.as_str(), "content": content }));
    let said = replies::note(tx, clock, id, Speaker::Token, new).await?;
    said.ok_or_else(|| Error::conflict("session_ended", "the session is over"))
}

/// What was said before number `before`, newest first.
pub async fn newest(
    tx: &mut Tx,
    session: SessionId,
    before: Option<i64>,
    limit: i64,
) -> Result<Page> {
    log::newest(tx, session, "direct_message", before, limit).await
}
