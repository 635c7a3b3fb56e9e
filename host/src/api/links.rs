//! The page that mailed links open, under a policy that lets it load and call nothing but
//! this host.

use crate::{error::Error, host::Host};
use axum::{
    extract::Path,
    http::{HeaderName, header},
    response::IntoResponse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(page))
}

/// Serves the page that mailed links open.
///
/// `what` is `invitation`, `password` or `email`, or `page.js` or `page.css`, which the page
/// loads.
#[utoipa::path(
    get, path = "/links/{what}", security(()),
    responses(
        (
            status = 200,
            content((String = "text/html"), (String = "text/javascript"), (String = "text/css"))
        ),
        (status = 404, description = "not_found"),
    ),
)]
async fn page(Path(what): Path<String>) -> Result<impl IntoResponse, Error> {
    let (kind, text) = match &*what {
        "invitation" | "password" | "email" => {
            ("text/html; charset=utf-8", include_str!("links/page.html"))
        }
        "page.js" => ("text/javascript; charset=utf-8", include_str!("links/page.js")),
        "page.css" => ("text/css; charset=utf-8", include_str!("links/page.css")),
        _ => return Err(Error::not_found("page")),
    };
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, text))
}
