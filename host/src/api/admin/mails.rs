//! What was mailed, and what waits to be; where there is no mail server, with the links
//! that an operator passes on.

use crate::{
    api::{
        caller::Operator,
        input::Params,
        page::{self, Page},
    },
    error::{Error, Result},
    host::Host,
    id::MailId,
    mails,
    work::outbox,
};
use axum::{Json, Router, extract::State, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/admin/mails", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    state: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

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
        json!({
            "id": mail.id, "to": mail.email, "subject": letter.subject, "text": letter.text,
            "link": Some(&link).filter(|link| !link.is_empty()), "state": mail.state,
            "attempts": mail.attempts, "error": mail.error, "createdAt": mail.created_at,
            "sentAt": mail.sent_at,
        })
    };
    Ok(page::answer(found, limit, |mail| mail.id.to_string(), show))
}
