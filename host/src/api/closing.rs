//! A company closes for good.

use super::{
    caller::{Admin, Oneself},
    cookies,
    credentials::{OwnPassword, proven},
    input::Body,
};
use crate::{
    accounts,
    audit::{self, Decision},
    billing,
    error::Result,
    host::Host,
    sessions,
    work::closed,
};
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::AppendHeaders,
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(close))
}

/// Closes the company for good. Its sessions must be over, its wallet empty and its
/// subscription ended. Its people are signed out; all but builders and operators are users
/// no more. Files, messages and what else it has stored are deleted within minutes. Ledger and
/// invoices stay, with the company's name.
#[utoipa::path(
    delete, path = "/company", security(("user" = ["admin"])), request_body = OwnPassword,
    responses(
        (status = 204),
        (status = 403, description = "wrong_password"),
        (
            status = 409,
            description = "sessions_running, wallet_not_empty, refund_underway, subscription_exists"
        ),
        (status = 429, description = "too_many_sign_ins"),
    ),
)]
async fn close(
    State(host): State<Host>,
    _: Admin,
    Oneself(caller): Oneself,
    Body(given): Body<OwnPassword>,
) -> Result<(StatusCode, AppendHeaders<Option<(HeaderName, HeaderValue)>>)> {
    proven(&host, &caller, "/password", given.password).await?;
    let company = caller.company_id;
    let mut tx = host.db.write().await?;
    // Locked: two that close it do so one after the other.
    accounts::company_to_change(&mut tx, company).await?;
    sessions::closing::over(&mut tx, company).await?;
    billing::closing::settled(&mut tx, company).await?;
    if accounts::closing::close(&mut tx, &host.clock, company).await? {
        let decision = Decision {
            actor: Some(caller.user_id),
            action: "company.closed",
            target: &format!("company/{company}"),
            before: Value::Null,
            after: json!({ "by": "admin" }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
    }
    tx.commit().await?;
    closed::begin(&host);
    let cookie = cookies::forget(host.is_encrypted()).map(|value| (header::SET_COOKIE, value));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(cookie)))
}
