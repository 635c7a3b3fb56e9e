//! What went wrong, as RFC 9457 says it: the only place that knows status codes of
//! errors, and the only one that logs the platform's own faults.

use super::{
    rate,
    trace::{self, About},
};
use crate::{
    error::{Error, Kind, Problem as Field},
    host::Host,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use serde::Serialize;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};
use tracing::Instrument;
use utoipa::ToSchema;
use uuid::Uuid;

/// 460 is tus' own.
const UNREGISTERED: &str = "Checksum Mismatch";

const REQUEST_ID: &str = "x-request-id";

impl IntoResponse for Error {
    /// Only marks the answer; `wrap` writes it out, with the request's id.
    fn into_response(self) -> Response {
        let mut response = status(&self).into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

fn status(error: &Error) -> StatusCode {
    match error.kind {
        Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Slow => StatusCode::REQUEST_TIMEOUT,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Payment => StatusCode::PAYMENT_REQUIRED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Kind::Gone => StatusCode::GONE,
        Kind::Range => StatusCode::RANGE_NOT_SATISFIABLE,
        Kind::Locked => StatusCode::LOCKED,
        Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        Kind::Damaged => StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST),
        Kind::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What every error looks like: RFC 9457.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem<'a> {
    /// Names the code.
    r#type: String,
    /// The status in words.
    title: &'a str,
    status: u16,
    /// For people; names the field and the numbers.
    detail: &'a str,
    /// Stable, for programs.
    code: &'a str,
    request_id: &'a str,
    /// The detail, for old SDKs.
    error: &'a str,
    /// What is wrong with single fields.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Field],
}

/// Gives every request an id, survives panics, and writes out what went wrong.
pub(super) async fn wrap(State(host): State<Host>, request: Request, next: Next) -> Response {
    let id = host.clock.id::<Uuid>().to_string();
    let (about, begun) = (About::of(&request), Instant::now());
    let span = about.span(&id, request.headers());
    let answered = rate::counting(AssertUnwindSafe(next.run(request)).catch_unwind());
    let (answered, counted) = answered.instrument(span.clone()).await;
    let _entered = span.enter();
    let mut response = answered
        .unwrap_or_else(|_| Error::internal(anyhow::anyhow!("a handler panicked")).into_response());
    if let Some(error) = response.extensions_mut().remove::<Arc<Error>>() {
        if let Some(cause) = &error.cause {
            tracing::error!(cause = %format!("{cause:#}"), "request failed");
        }
        write(&mut response, &error, &id);
    } else if response.status().is_client_error() && !is_json(&response) {
        // Said by the framework, in plain text.
        let error = Error::new(Kind::Invalid, "bad_request", "the request is malformed");
        write(&mut response, &error, &id);
    }
    rate::say(&counted, response.headers_mut());
    trace::ended(&span, response.status());
    let About { method, route, .. } = &about;
    host.metrics.answered(method, route, response.status().as_u16(), begun.elapsed());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn write(response: &mut Response, error: &Error, request_id: &str) {
    let status = response.status();
    let problem = Problem {
        r#type: format!("urn:aiybiz:problem:{}", error.code),
        title: status.canonical_reason().unwrap_or(UNREGISTERED),
        status: status.as_u16(),
        detail: &error.detail,
        code: error.code,
        request_id,
        error: &error.detail,
        errors: &error.problems,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let kind = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, kind);
    match error.kind {
        Kind::TooMany(seconds) | Kind::Unavailable(seconds) => {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // What is left of the body is not read, so nothing can follow it.
        Kind::TooLarge | Kind::Slow => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Kind::Unauthenticated => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    *response.body_mut() = Body::from(body);
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("json"))
}
