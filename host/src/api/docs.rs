//! `/openapi.json`, and a page that shows it. The page is Swagger UI, which is built in:
//! it loads and calls nothing but this host.

use crate::{error::Error, host::Host};
use axum::{
    Router,
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use utoipa_swagger_ui::Config;

/// Swagger UI writes styles into what it shows, and draws its icons from data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes(document: &Value) -> Router<Host> {
    let text = Bytes::from(document.to_string());
    let config = Arc::new(Config::from("/openapi.json").persist_authorization(false));
    Router::new()
        .route("/openapi.json", get(async move || json(text.clone())))
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", {
            let config = Arc::clone(&config);
            get(async move || file("", config))
        })
        .route("/docs/{*file}", get(async move |Path(name): Path<String>| file(&name, config)))
}

fn json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], text)
        .into_response()
}

fn file(name: &str, config: Arc<Config<'static>>) -> Result<Response, Error> {
    let served = utoipa_swagger_ui::serve(name, config);
    let served = served.map_err(|error| Error::internal(anyhow::anyhow!("{error}")))?;
    let served = served.ok_or(Error::not_found("page"))?;
    let kind = HeaderValue::try_from(served.content_type).map_err(Error::internal)?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((headers, served.bytes).into_response())
}
