//! Nobody overwrites what he has not seen: what can be changed has an `ETag`, and a change
//! that names one by `If-Match` is made only while it is still that (RFC 9110 §13). Without
//! `If-Match` the last change wins.

use crate::error::{Error, Kind, Result};
use axum::{
    Json,
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::convert::Infallible;

/// An answer with its tag.
pub(super) type Tagged<T> = ([(HeaderName, HeaderValue); 1], Json<T>);

/// Bytes of a digest that make two things the same: no two of one thing's versions have met
/// by chance with half of SHA-256.
const BYTES: usize = 16;

/// Answers with its tag.
pub(super) fn tagged<T: Serialize>(told: T) -> Result<Tagged<T>> {
    tagged_by(&json!(told), told)
}

/// Answers under the tag of `what`: all of it that its reader may change.
pub(super) fn tagged_by<T>(what: &Value, told: T) -> Result<Tagged<T>> {
    let value = HeaderValue::try_from(tag(what)).map_err(Error::internal)?;
    Ok(([(header::ETAG, value)], Json(told)))
}

fn tag(what: &Value) -> String {
    let digest = Sha256::digest(what.to_string());
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..BYTES]))
}

/// What the caller has seen of what he changes, if he says so.
pub(super) struct Seen(Option<HeaderMap>);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let said = parts.headers.contains_key(header::IF_MATCH);
        Ok(Self(said.then(|| parts.headers.clone())))
    }
}

impl Seen {
    /// 412 when it is no longer that. Call it in the transaction that changes it, when nobody
    /// else can.
    pub(super) fn check(&self, what: &impl Serialize) -> Result<()> {
        self.check_there(Some(what))
    }

    /// The same of something that may not be there: nobody has seen that.
    pub(super) fn check_there(&self, what: Option<&impl Serialize>) -> Result<()> {
        let Some(headers) = &self.0 else { return Ok(()) };
        if what.is_some_and(|what| names(headers, &header::IF_MATCH, &tag(&json!(what)))) {
            return Ok(());
        }
        let detail = "it was changed since; look at it again, and send its ETag as If-Match";
        Err(Error::new(Kind::Precondition, "changed_since", detail))
    }
}

/// Does a list of tags have this one?
fn names(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    let this = |one: &str| one == "*" || one == tag;
    lists.flat_map(|list| list.split(',')).any(|one| this(one.trim()))
}

/// Answers 304 to whoever has it already.
pub(super) async fn unchanged(request: Request, next: Next) -> Response {
    let known = request.method().is_safe() && request.headers().contains_key(header::IF_NONE_MATCH);
    let headers = known.then(|| request.headers().clone());
    let response = next.run(request).await;
    let tag = response.headers().get(header::ETAG).cloned();
    let Some((headers, tag)) = headers.zip(tag).filter(|_| response.status() == StatusCode::OK)
    else {
        return response;
    };
    if tag.to_str().is_ok_and(|tag| names(&headers, &header::IF_NONE_MATCH, tag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    response
}
