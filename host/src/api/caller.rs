//! Who asks. Being one of these is having been let in: a handler cannot forget to
//! look.

use crate::{
    accounts::{self, Identity},
    error::{Error, Kind, Result},
    host::Host,
    id::{BuilderId, SessionId},
    sessions::{self, Session, sockets},
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, header, request::Parts},
};

/// Anyone who is signed in.
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Host> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let token = bearer(&parts.headers)
            .ok_or_else(|| Error::unauthenticated("send your token as Authorization: Bearer …"))?;
        let mut tx = host.db.look().await?;
        let found = accounts::identify(&mut tx, token, host.clock.now()).await?;
        found
            .map(Self)
            .ok_or_else(|| Error::unauthenticated("the token is not (or no longer) good"))
    }
}

/// One of a company's admins.
pub(super) struct Admin(pub(super) Identity);

impl FromRequestParts<Host> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let Caller(identity) = Caller::from_request_parts(parts, host).await?;
        if identity.role != "admin" {
            return Err(Error::forbidden("not_an_admin", "this is for the company's admins"));
        }
        Ok(Self(identity))
    }
}

/// A builder.
pub(super) struct Builder(pub(super) BuilderId);

impl FromRequestParts<Host> for Builder {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let Caller(identity) = Caller::from_request_parts(parts, host).await?;
        let not = || Error::forbidden("not_a_builder", "become a builder first: POST /builder");
        identity.builder_id.map(Self).ok_or_else(not)
    }
}

/// An operator of the platform.
pub(super) struct Operator(pub(super) Identity);

impl FromRequestParts<Host> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let Caller(identity) = Caller::from_request_parts(parts, host).await?;
        if !identity.operator {
            return Err(Error::forbidden(
                "not_an_operator",
                "this is for the platform's operators",
            ));
        }
        Ok(Self(identity))
    }
}

/// The agent of the session in the path, known by the session's token.
pub(super) struct Agent(pub(super) Session);

impl FromRequestParts<Host> for Agent {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, host).await;
        let params = params.map_err(|_| Error::not_found("session"))?;
        let id = params.iter().find(|(name, _)| *name == "session").map(|(_, id)| id);
        shown(host, id.unwrap_or_default(), &parts.headers).await.map(Self)
    }
}

/// The session, if its agent's token is in the headers.
pub(super) async fn shown(host: &Host, id: &str, headers: &HeaderMap) -> Result<Session> {
    let token = bearer(headers).or_else(|| text(headers, "x-agent-token"));
    agent(host, id, token.ok_or_else(refused)?).await
}

/// The session, if the token is its agent's. A wrong token, another session's, an
/// unknown session and one that is over all look the same.
pub(super) async fn agent(host: &Host, id: &str, token: &str) -> Result<Session> {
    let id: SessionId = id.parse().map_err(|_| refused())?;
    if !host.is_agent_token(id, token) {
        return Err(refused());
    }
    host.pace.check(id).map_err(|wait| {
        let most = host.config.agent_calls_per_minute;
        let detail = format!("a session's agent may make {most} calls a minute");
        Error::new(Kind::TooMany(wait), "too_many_calls", detail)
    })?;
    let mut tx = host.db.look().await?;
    let session = sessions::find(&mut tx, id).await?;
    let session = session.filter(|session| !session.over()).ok_or_else(refused)?;
    // An agent whose socket is closed may do without it, and is not gone then.
    let now = host.clock.now();
    if session.delivery == "webhook" && sockets::quiet(&mut tx, id, now).await? {
        drop(tx);
        let mut tx = host.db.write().await?;
        sockets::spoke(&mut tx, id, now).await?;
        tx.commit().await?;
    }
    Ok(session)
}

fn refused() -> Error {
    Error::unauthenticated("the agent token is not good for this session, or the session is over")
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, header::AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What the caller knows this host by.
pub(super) fn known_as(headers: &HeaderMap) -> String {
    format!("http://{}", text(headers, header::HOST.as_str()).unwrap_or("localhost"))
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
