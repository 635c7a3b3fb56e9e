//! What was mailed, and what waits to be; where there is no mail server, with the links
//! that an operator passes on.

use crate::{
    api::{
        caller::Operator,
        input::Params,
        page::{self, Listed, Page},
    },
    error::{Error, Result},
    host::Host,
    id::MailId,
    mails,
    timestamp::Timestamp,
    work::outbox,
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Those in this state only.
    #[param(pattern = "^(due|sent|failed|shown)$")]
    state: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// A mail, as its reader gets it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PostedMail {
    id: MailId,
    to: String,
    subject: String,
    text: String,
    /// Where it leads; only of a mail that an operator passes on.
    link: Option<String>,
    /// `due`: it waits to be sent. `sent`. `failed`: it is given up. `shown`: there is no mail
    /// server, and an operator passes it on.
    state: String,
    attempts: i64,
    /// Why the mail server did not take it.
    error: Option<String>,
    created_at: Timestamp,
    sent_at: Option<Timestamp>,
}

/// Lists what was mailed and what waits to be, newest first.
///
/// Where there is no mail server, mails come with the links that an operator passes on.
#[utoipa::path(
    get, path = "/admin/mails", params(Filter),
    responses((status = 200, body = Listed<PostedMail>)),
)]
async fn list(
    State(host): State<Host>,
    _: Operator,
    Params(filter): Params<Filter>,
) -> Result<Json<Value>> {
    let page = Page::new(filter.limit, filter.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<MailId>()?);
    let state = filter.state.as_deref();
    if state.is_some_and(|state| !["due", "sent", "failed", "shown"].contains(&state)) {
        return Err(Error::field("state", "must be due, sent, failed or shown"));
    }
    let mut tx = host.db.look().await?;
    let found = mails::list(&mut tx, state, before, limit + 1).await?;
    let show = |mail: &mails::Mail| {
        // Where mail works, nobody but its reader has a use for the link.
        let link =
            if mail.state == "shown" { outbox::link(&host, &mail.content) } else { String::new() };
        let letter = mail.content.letter(if link.is_empty() { "(a link)" } else { &link });
        json!(PostedMail {
            id: mail.id,
            to: mail.email.clone(),
            subject: letter.subject,
            text: letter.text,
            link: Some(link).filter(|link| !link.is_empty()),
            state: mail.state.clone(),
            attempts: mail.attempts,
            error: mail.error.clone(),
            created_at: mail.created_at,
            sent_at: mail.sent_at,
        })
    };
    Ok(page::answer(found, limit, |mail| mail.id.to_string(), show))
}
