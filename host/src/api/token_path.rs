//! `/t/{agentAuthToken}/agent/…`: the agent's routes for those who can send no header.
//!
//! The published SDK shows no credential, but lets its user choose the platform's
//! address. A token in front of the path is moved to where tokens belong before anything
//! else sees the request: no route, no log line and no error knows that it was there.

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Uri, header, uri::PathAndQuery},
    middleware::{self, Next},
    response::Response,
};

const PREFIX: &str = "/t/";

/// Where a path leads that has a token and is no agent's.
const NOWHERE: &str = "/t";

/// Puts this in front of all routes.
pub(super) fn before(routes: Router) -> Router {
    // A layer of the routes themselves would come after the route is chosen.
    Router::new().fallback_service(routes).layer(middleware::from_fn(moved))
}

async fn moved(mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(PREFIX) {
        let (uri, token) = apart(request.uri());
        *request.uri_mut() = uri;
        if let Some(token) = token {
            let headers = request.headers_mut();
            // What is in the path is what counts.
            headers.remove("x-agent-token");
            headers.insert(header::AUTHORIZATION, token);
        }
    }
    next.run(request).await
}

/// The address without the token, and the token as a header has it.
fn apart(uri: &Uri) -> (Uri, Option<HeaderValue>) {
    let split = || {
        let whole = uri.path_and_query()?.as_str().strip_prefix(PREFIX)?;
        let (token, _) = whole.split_once('/').filter(|(token, _)| !token.contains('?'))?;
        let rest = &whole[token.len()..];
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        let rest: PathAndQuery = rest.parse().ok()?;
        rest.path().starts_with("/agent/").then(|| (rest.into(), header))
    };
    match split() {
        Some((uri, token)) => (uri, Some(token)),
        None => (Uri::from_static(NOWHERE), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_from_the_path_to_the_header() {
        let apart = |text: &str| apart(&text.parse().expect("an URI"));
        let (uri, token) = apart("/t/aat_x-y/agent/ws?sessionId=1&a=/t/b/");
        assert_eq!(uri, "/agent/ws?sessionId=1&a=/t/b/");
        let token = token.expect("a token");
        assert_eq!(token, "Bearer aat_x-y");
        assert!(token.is_sensitive());
        assert_eq!(apart("http://host:1/t/x/agent/a%20b/auth").0, "/agent/a%20b/auth");
        for other in [
            "/t/",
            "/t//",
            "/t/x",
            "/t/x/",
            "/t/x?/agent/ws",
            "/t/x/agent",
            "/t/x/me",
            "/t/x/t/y/agent/ws",
            "/t/x//agent/ws",
            "/t/x/agents",
            "/t/agent/ws",
        ] {
            assert_eq!(apart(other), (Uri::from_static(NOWHERE), None), "{other}");
        }
    }
}
