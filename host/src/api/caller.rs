//! Who asks. Being one of these is having been let in: a handler cannot forget to
//! look.

use super::{cookies, rate, scopes};
use crate::{
    accounts::{self, Identity, Via},
    error::{Error, Result},
    host::Host,
    id::{BuilderId, SessionId},
    sessions::{self, Session, sockets},
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, Method, header, request::Parts},
};

/// Anyone who is signed in, or has a key that is good for this.
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Host> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let identity = identity(host, &parts.method, parts.uri.path(), &parts.headers).await?;
        Ok(Self(identity))
    }
}

/// Anyone who is signed in himself: what a key must not do.
pub(super) struct Oneself(pub(super) Identity);

impl FromRequestParts<Host> for Oneself {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let Caller(identity) = Caller::from_request_parts(parts, host).await?;
        match identity.via {
            Via::SignIn(_) => Ok(Self(identity)),
            Via::Key(..) => {
                Err(Error::forbidden("not_with_a_key", "sign in for this; a key cannot do it"))
            }
        }
    }
}

/// Who has sent this, if it may be done with what he has shown.
pub(super) async fn identity(
    host: &Host,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Identity> {
    let shown = token(host, method, headers)?
        .ok_or_else(|| Error::unauthenticated("send your token as Authorization: Bearer …"))?;
    let now = host.clock.now();
    let found = accounts::identify(&mut host.db.look().await?, shown, now).await?;
    let identity =
        found.ok_or_else(|| Error::unauthenticated("the token is not (or no longer) good"))?;
    let changes = !method.is_safe();
    if let Via::Key(_, scopes) = &identity.via {
        scopes::check(scopes, path, changes)?;
    }
    if identity.suspended && changes && !path.starts_with("/auth/") {
        let detail = "an operator has suspended this company: it may look, and change nothing";
        return Err(Error::forbidden("company_suspended", detail));
    }
    if identity.unseen {
        seen(host, identity.via.clone());
    }
    Ok(identity)
}

/// Writes down, beside the request, that a token was used.
fn seen(host: &Host, via: Via) {
    let worker = host.clone();
    host.tasks.spawn(async move {
        let written = async {
            let mut tx = worker.db.write().await?;
            accounts::seen(&mut tx, &worker.clock, &via).await?;
            Ok::<_, Error>(tx.commit().await?)
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "it is not written down that a token was used");
        }
    });
}

/// What the caller has shown of himself: a bearer token, else the cookie of a browser that
/// was told to send this by a page of ours.
pub(super) fn token<'h>(
    host: &Host,
    method: &Method,
    headers: &'h HeaderMap,
) -> Result<Option<&'h str>> {
    if let Some(token) = bearer(headers) {
        return Ok(Some(token));
    }
    let Some(token) = cookies::token(headers, host.is_encrypted()) else { return Ok(None) };
    if !method.is_safe() && !cookies::is_from_here(headers) {
        let detail = "this was sent by a page of another site; send a bearer token instead";
        return Err(Error::forbidden("cross_site", detail));
    }
    Ok(Some(token))
}

/// One of a company's admins.
pub(super) struct Admin(pub(super) Identity);

impl FromRequestParts<Host> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        let Caller(identity) = Caller::from_request_parts(parts, host).await?;
        if !identity.is_admin() {
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
    rate::check(&host.pace.calls, &id, "too_many_calls", "calls of a session's agent")?;
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
