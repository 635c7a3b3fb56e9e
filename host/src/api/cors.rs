//! Pages of other sites: those that the operator names may call, with a bearer token;
//! nobody else's may. Cookies are for pages of our own.
//!
//! A plain OPTIONS, as tus clients send it, is a route's to answer.

use super::caller;
use crate::host::Host;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// What such pages may send.
const TAKEN: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, \
     range, traceparent, tus-resumable, upload-checksum, upload-defer-length, upload-length, \
     upload-metadata, upload-offset, x-request-id",
);

/// What they may see of an answer.
const TOLD: HeaderValue = HeaderValue::from_static(
    "aiybiz-gateway, content-disposition, content-range, deprecation, etag, idempotent-replayed, \
     link, location, ratelimit, ratelimit-policy, retry-after, sunset, tus-resumable, \
     upload-expires, upload-length, upload-offset, x-request-id",
);

/// How long a browser need not ask again.
const SECONDS: HeaderValue = HeaderValue::from_static("3600");

pub(super) async fn cors(State(host): State<Host>, request: Request, next: Next) -> Response {
    let named = &host.config.web.allowed_origins;
    if named.is_empty() {
        return next.run(request).await;
    }
    let origin = caller::text(request.headers(), header::ORIGIN.as_str());
    let origin = origin.filter(|origin| named.iter().any(|named| named == origin));
    let allowed = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks && allowed.is_some() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // The answer to one site is not kept for another.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        allow(headers, origin, asks);
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue, asks: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if asks {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, SECONDS);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, TOLD);
    }
}
