//! A builder's list of the sessions with his agents.

use super::{
    caller::Builder,
    input::Params,
    page::{self, Page},
    receipts::parsed,
};
use crate::{
    error::{Error, Result},
    host::Host,
    id::SessionId,
    sessions::{
        Session,
        rentals::{self, Filter},
    },
};
use axum::{Json, Router, extract::State, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/builder/sessions", get(list))
}

const STATUSES: [&str; 4] = ["provisioning", "active", "paused", "completed"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    agent_id: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(host): State<Host>,
    Builder(builder): Builder,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    if search.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let all = STATUSES.join(", ");
        return Err(Error::field("status", format!("must be one of {all}")));
    }
    let agent = parsed("agentId", search.agent_id.as_deref(), "is not an id")?;
    let filter = Filter { agent, status: search.status };
    let page = Page::new(search.limit, search.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<SessionId>()?);
    let mut tx = host.db.look().await?;
    let found = rentals::list(&mut tx, builder, &filter, before, limit + 1).await?;
    Ok(page::answer(found, limit, |session| session.id.to_string(), shown))
}

/// A session without who in the client's company opened it.
fn shown(session: &Session) -> Value {
    let mut all = json!(session);
    if let Some(all) = all.as_object_mut() {
        all.shift_remove("memberId");
    }
    all
}
