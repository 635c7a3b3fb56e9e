//! One span for each request, with what tells it from others and no secret: what it is
//! called, its route, how it ended. A caller's own trace goes on in it.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, StatusCode},
};
use opentelemetry::{global, propagation::Extractor};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What is told of a request: its method and path, unless the path holds a secret.
pub(super) struct About {
    pub(super) method: String,
    pub(super) route: String,
    pub(super) path: String,
}

impl About {
    pub(super) fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        // The path only: a query may hold a ticket.
        let path = match route {
            Some(route) if route.contains("{token}") => route,
            _ => request.uri().path(),
        };
        Self {
            method: request.method().to_string(),
            route: route.unwrap_or("none").to_owned(),
            path: path.to_owned(),
        }
    }

    pub(super) fn span(&self, id: &str, headers: &HeaderMap) -> Span {
        let span = tracing::info_span!(
            "request",
            otel.name = %format!("{} {}", self.method, self.route),
            otel.kind = "server",
            request.id = %id,
            http.request.method = %self.method,
            http.route = %self.route,
            url.path = %self.path,
            http.response.status_code = Empty,
        );
        if headers.contains_key("traceparent") {
            let theirs = global::get_text_map_propagator(|text| text.extract(&Headers(headers)));
            // Fails where spans go nowhere.
            let _ = span.set_parent(theirs);
        }
        span
    }
}

pub(super) fn ended(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
