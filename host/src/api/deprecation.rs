//! What is to go away says so: an operation that is described as deprecated answers with
//! `Deprecation` (RFC 9745), with `Sunset` (RFC 8594) once it is known when it ends, and with
//! a link to what comes instead.
//!
//! A handler says it of itself: `#[deprecated]`, and in its `#[utoipa::path]`
//! `extensions(("x-deprecated-at" = json!("2027-01-31T00:00:00Z")), ("x-sunset-at" = …),
//! ("x-successor" = json!("/sessions")))`. None does today.

use crate::timestamp::Timestamp;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::UNIX_EPOCH};

/// For each deprecated operation, by method and route, the fields of its answers.
#[derive(Clone, Default)]
pub(super) struct Fields(Arc<HashMap<String, HeaderMap>>);

impl Fields {
    pub(super) fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            let item = item.as_object().into_iter().flatten();
            item.map(move |(method, said)| (format!("{} {path}", method.to_uppercase()), said))
        });
        let deprecated = operations.filter(|(_, said)| said["deprecated"] == true);
        Self(Arc::new(deprecated.map(|(name, said)| (name, fields(said))).collect()))
    }
}

fn fields(said: &Value) -> HeaderMap {
    let time = |field: &str| said[field].as_str()?.parse::<Timestamp>().ok();
    let mut fields = HeaderMap::new();
    let mut put = |name, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.insert(HeaderName::from_static(name), value);
        }
    };
    if let Some(since) = time("x-deprecated-at") {
        put("deprecation", format!("@{}", since.as_secs()));
    }
    if let Some(end) = time("x-sunset-at") {
        let seconds = std::time::Duration::from_secs(end.as_secs().unsigned_abs());
        put("sunset", httpdate::fmt_http_date(UNIX_EPOCH + seconds));
    }
    if let Some(successor) = said["x-successor"].as_str() {
        put("link", format!("<{successor}>; rel=\"successor-version\""));
    }
    fields
}

/// Adds the fields to what is answered.
pub(super) async fn say(State(all): State<Fields>, request: Request, next: Next) -> Response {
    if all.0.is_empty() {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let name = format!("{} {}", request.method(), route.unwrap_or_default());
    let mut response = next.run(request).await;
    if let Some(fields) = all.0.get(&name) {
        response.headers_mut().extend(fields.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, middleware, routing::get};
    use serde_json::json;
    use tower_service::Service;

    #[tokio::test]
    async fn what_goes_away_says_since_when_and_until_when() {
        let document = json!({ "paths": { "/old/{id}": { "get": {
            "deprecated": true, "x-deprecated-at": "2027-01-31T00:00:00Z",
            "x-sunset-at": "2027-07-31T00:00:00Z", "x-successor": "/new/{id}",
        } }, "/new/{id}": { "get": {} } } });
        let mut routes = Router::new()
            .route("/old/{id}", get(async || "old"))
            .route("/new/{id}", get(async || "new"))
            .layer(middleware::from_fn_with_state(Fields::of(&document), say));
        let mut asked = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            routes.call(request).await.expect("an answer").headers().clone()
        };
        let old = asked("/old/1").await;
        assert_eq!(old["deprecation"], "@1801353600");
        assert_eq!(old["sunset"], "Sat, 31 Jul 2027 00:00:00 GMT");
        assert_eq!(old["link"], "</new/{id}>; rel=\"successor-version\"");
        let new = asked("/new/1").await;
        assert!(!new.contains_key("deprecation") && !new.contains_key("link"));
    }
}
