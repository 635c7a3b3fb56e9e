//! `Idempotency-Key` on every POST: the name is claimed before the handler runs, and the
//! answer kept; sent again, it is answered the same, with `Idempotent-Replayed: true`.
//!
//! A handler that makes something takes a [`Once`] and commits through it, so that its
//! answer is kept in the transaction of its work. For the others, whose work is the same
//! when done again, it is kept afterwards. Only success is kept: what failed did nothing
//! and may be tried again under its name.

use super::{BODY_BYTES, caller, input};
use crate::{
    accounts::{self, Via},
    error::{Error, Kind, Result},
    host::Host,
    id::SessionId,
    idempotency::{self, Answer, Claim, KEY_BYTES, Known},
    storage::Tx,
};
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Headers that are part of an answer.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::SET_COOKIE];

/// POSTs of those who are not signed in.
const OPEN: [&str; 2] = ["/auth/", "/invitations/"];

/// Under what name a request is done, if it has one.
#[derive(Clone, Default)]
pub(super) struct Once(Option<Arc<Work>>);

struct Work {
    host: Host,
    claim: Claim,
    kept: AtomicBool,
}

impl FromRequestParts<Host> for Once {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Host) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl Once {
    /// Keeps the answer with the work, and commits both.
    pub(super) async fn commit(
        &self,
        mut tx: Tx,
        status: StatusCode,
        body: Value,
    ) -> Result<(StatusCode, Json<Value>)> {
        self.keep(&mut tx, status, &body).await?;
        tx.commit().await?;
        if let Some(work) = &self.0 {
            work.kept.store(true, Ordering::Relaxed);
        }
        Ok((status, Json(body)))
    }

    async fn keep(&self, tx: &mut Tx, status: StatusCode, body: &Value) -> Result<()> {
        let Some(work) = &self.0 else { return Ok(()) };
        let headers = vec![(header::CONTENT_TYPE.to_string(), "application/json".to_owned())];
        let answer = Answer { status: status.as_u16(), headers, body: body.to_string() };
        work.claim.keep(tx, &work.host.clock, &work.host.key, &answer).await
    }
}

pub(super) async fn once(
    State(host): State<Host>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let Some(name) = name(&request)? else { return Ok(next.run(request).await) };
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    let Some(principal) = principal(&host, &path, &headers).await? else {
        // Nobody we know: he will be told.
        return Ok(next.run(request).await);
    };
    let (mut request, print) = fingerprint(&host, request).await?;
    let parts: Vec<&[u8]> = print.iter().map(Vec::as_slice).collect();
    // Whoever is not signed in shares his names with everybody: they are his own only
    // together with what he sends.
    let owner = if principal.is_empty() { parts.concat() } else { principal };
    let asked = idempotency::Request { principal: &owner, name: &name, parts: &parts };
    let mut tx = host.db.write().await?;
    let known = idempotency::claim(&mut tx, &host.clock, &host.key, host.node.0, &asked).await?;
    tx.commit().await?;
    match known {
        Known::Done(answer) => Ok(replayed(answer)),
        Known::New(claim) => {
            let kept = AtomicBool::new(false);
            let work = Arc::new(Work { host: host.clone(), claim, kept });
            request.extensions_mut().insert(Once(Some(Arc::clone(&work))));
            let mut release = Release(Some(Arc::clone(&work)));
            let response = conclude(&work, next.run(request).await).await?;
            if !work.kept.load(Ordering::Relaxed) {
                work.release().await?;
            }
            release.0 = None;
            Ok(response)
        }
    }
}

/// The name that the request has.
fn name(request: &Request) -> Result<Option<String>> {
    let Some(name) = request.headers().get(KEY) else { return Ok(None) };
    if request.method() != Method::POST || !is_named(request.uri().path()) {
        return Ok(None);
    }
    let visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let text = name.to_str().ok().filter(|text| {
        (1..=KEY_BYTES).contains(&text.len()) && text.as_bytes().iter().all(visible)
    });
    let text = text.ok_or_else(|| {
        let detail = format!("Idempotency-Key must have 1 to {KEY_BYTES} visible ASCII characters");
        Error::new(Kind::Invalid, "invalid_idempotency_key", detail)
    })?;
    Ok(Some(text.to_owned()))
}

/// Whether a POST to this path, or to paths of this form, goes by its name here. Stripe numbers
/// what it tells itself, and a session knows its agent's names for ever.
pub(super) fn is_named(path: &str) -> bool {
    path != "/stripe/webhook" && !(path.starts_with("/agent/") && path.ends_with("/message"))
}

/// Who asks; empty for one who need not be signed in, none for one who should be.
async fn principal(host: &Host, path: &str, headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    if let Some(token) = caller::token(host, &Method::POST, headers)? {
        let now = host.clock.now();
        let found = accounts::identify(&mut host.db.look().await?, token, now).await?;
        if let Some(identity) = found {
            // What a key has done, its user's other keys are not told.
            let who = match identity.via {
                Via::SignIn(_) => identity.user_id.0,
                Via::Key(key, _) => key.0,
            };
            return Ok(Some(who.as_bytes().to_vec()));
        }
    }
    let token = caller::bearer(headers).or_else(|| caller::text(headers, "x-agent-token"));
    if let (Some(token), Some(session)) = (token, session(path))
        && host.is_agent_token(session, token)
    {
        return Ok(Some(session.0.as_bytes().to_vec()));
    }
    Ok(OPEN.iter().any(|open| path.starts_with(open)).then(Vec::new))
}

/// Whose agent's call this is.
fn session(path: &str) -> Option<SessionId> {
    let rest = path.strip_prefix("/agent/")?;
    let rest = rest.strip_prefix("sessions/").unwrap_or(rest);
    rest.split('/').next()?.parse().ok()
}

/// What one request differs in from another. Of a body that is too long to be JSON of
/// ours, which is a component, only the length is compared.
async fn fingerprint(host: &Host, request: Request) -> Result<(Request, Vec<Vec<u8>>)> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let length = caller::text(&parts.headers, header::CONTENT_LENGTH.as_str()).unwrap_or_default();
    let long = length.parse::<usize>().is_ok_and(|length| length > BODY_BYTES);
    let kind = caller::text(&parts.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let mut print = vec![target.as_bytes().to_vec(), kind.as_bytes().to_vec()];
    if long || kind == "application/wasm" {
        print.push(length.as_bytes().to_vec());
        return Ok((Request::from_parts(parts, body), print));
    }
    let whole = Request::from_parts(parts.clone(), body);
    let bytes = input::bytes(whole, host, BODY_BYTES).await?;
    print.push(bytes.to_vec());
    Ok((Request::from_parts(parts, Body::from(bytes)), print))
}

/// Keeps what was answered, if it was success and has more than the handler kept.
async fn conclude(work: &Work, response: Response) -> Result<Response> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let more = KEPT[1..].iter().any(|name| response.headers().contains_key(name));
    if work.kept.load(Ordering::Relaxed) && !more {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, BODY_BYTES).await.map_err(Error::internal)?;
    let named = KEPT.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let answer = Answer {
        status: parts.status.as_u16(),
        headers: named.collect(),
        body: String::from_utf8(bytes.to_vec()).map_err(Error::internal)?,
    };
    let (host, claim) = (&work.host, &work.claim);
    let mut tx = host.db.write().await?;
    claim.keep(&mut tx, &host.clock, &host.key, &answer).await?;
    tx.commit().await?;
    work.kept.store(true, Ordering::Relaxed);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replayed(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

impl Work {
    /// The request has failed: its name is free.
    async fn release(&self) -> Result<()> {
        let mut tx = self.host.db.write().await?;
        self.claim.release(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Frees the name of a request whose client went away in the middle of it.
struct Release(Option<Arc<Work>>);

impl Drop for Release {
    fn drop(&mut self) {
        let Some(work) = self.0.take() else { return };
        let tasks = work.host.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = work.release().await {
                tracing::warn!(%error, "an idempotency key stays claimed for a while");
            }
        });
    }
}
