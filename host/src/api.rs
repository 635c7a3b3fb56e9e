//! The HTTP API: a table of contents, and what wraps every request.
//!
//! Routes and their handlers live together, one noun a file. A handler extracts,
//! authorises, calls the domain, commits and answers; whatever goes wrong is an
//! `Error` that `problem` turns into an answer.

mod accounts;
mod admin;
mod agent;
mod builder;
mod caller;
mod canaries;
mod catalogue;
mod closing;
mod company;
mod components;
mod cookies;
mod cors;
mod credentials;
mod cron;
mod deprecation;
mod direct_messages;
mod docs;
mod earnings;
mod etag;
mod export;
mod files;
mod health;
mod input;
mod internal;
mod invitations;
mod invoices;
mod keys;
mod links;
mod messages;
mod notifications;
mod once;
mod openapi;
mod page;
mod peer;
mod plans;
mod problem;
mod rate;
mod receipts;
mod rentals;
mod replays;
mod scopes;
mod sessions;
mod settings;
mod shared_items;
mod socket;
mod sse;
mod stream;
mod stripe;
mod tail;
mod token_path;
mod trace;
mod uploads;
mod wallet;
mod webhook;

use crate::{
    error::{Error, Kind},
    host::Host,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue},
    middleware,
};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use health::metrics_only;
pub use peer::Connected;
pub use uploads::report;

/// The largest JSON body. Messages are far smaller; uploads of components have
/// their own limit.
const BODY_BYTES: usize = 1 << 20;

/// Who takes payments.
const GATEWAY: HeaderName = HeaderName::from_static("aiybiz-gateway");

pub fn router(host: Host) -> Router {
    let (routes, api) = described(&host).split_for_parts();
    let description = openapi::complete(&api);
    let deprecated = deprecation::Fields::of(&description);
    let routes = routes
        .merge(docs::routes(&description))
        .fallback(async || Error::not_found("route"))
        .method_not_allowed_fallback(async || {
            Error::new(Kind::Method, "method_not_allowed", "this route does not take this method")
        })
        .layer(middleware::from_fn(etag::unchanged))
        .layer(middleware::from_fn_with_state(deprecated, deprecation::say))
        .layer(middleware::from_fn_with_state(host.clone(), once::once))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(host.clone(), problem::wrap))
        .layer(middleware::from_fn_with_state(host.clone(), cors::cors))
        .with_state(host);
    token_path::before(routes)
}

/// What no handler names.
#[derive(OpenApi)]
#[openapi(components(schemas(problem::Problem)))]
struct Common;

/// All that there is, with what it says of itself.
fn described(host: &Host) -> OpenApiRouter<Host> {
    OpenApiRouter::with_openapi(Common::openapi())
        .merge(accounts::routes())
        .merge(credentials::routes())
        .merge(company::routes())
        .merge(export::routes())
        .merge(closing::routes())
        .merge(invitations::routes())
        .merge(keys::routes())
        .merge(links::routes())
        .merge(catalogue::routes())
        .merge(sessions::routes())
        .merge(messages::routes())
        .merge(direct_messages::routes())
        .merge(shared_items::routes())
        .merge(files::routes())
        .merge(stream::routes())
        .merge(notifications::routes())
        .merge(builder::routes())
        .merge(rentals::routes())
        .merge(components::routes())
        .merge(canaries::routes())
        .merge(receipts::routes())
        .merge(tail::routes())
        .merge(settings::routes())
        .merge(webhook::routes())
        .merge(replays::routes())
        .merge(agent::routes())
        .merge(socket::routes())
        .merge(cron::routes())
        .merge(admin::routes())
        .merge(money(host))
        .merge(internal::routes())
        .merge(health::routes())
}

/// What is about money says in its headers whose it is: a test gateway's is nobody's.
fn money(host: &Host) -> OpenApiRouter<Host> {
    let gateway = HeaderValue::from_static(host.payments.name());
    OpenApiRouter::new()
        .merge(wallet::routes())
        .merge(invoices::routes())
        .merge(stripe::routes())
        .merge(plans::routes())
        .merge(earnings::routes())
        .layer(SetResponseHeaderLayer::overriding(GATEWAY, gateway))
}
