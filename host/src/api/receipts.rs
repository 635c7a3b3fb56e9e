//! Reading what became of events: receipts and logs, of a builder's own agents or,
//! for an operator, of all.
//!
//! Both take the same filters. `level` means this bad or worse: of receipts, those
//! that logged something like that; of log entries, the entries themselves. `from`
//! is included, `to` is not.

use super::{
    caller::{Builder, Operator},
    input::{self, Params},
    page::{self, Page},
};
use crate::{
    catalog,
    error::{Error, Result},
    host::Host,
    id::{AgentId, BuilderId, InvocationId},
    sandbox::Outcome,
    sessions::receipts::{
        self, Filter, Invocation,
        logged::{self, Logged, Place},
    },
    storage::Tx,
    timestamp::Timestamp,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/agents/{agent}/invocations", get(own_invocations))
        .route("/builder/agents/{agent}/logs", get(own_logs))
        .route("/admin/invocations", get(all_invocations))
        .route("/admin/logs", get(all_logs))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    agent_id: Option<String>,
    session_id: Option<String>,
    outcome: Option<String>,
    level: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn own_invocations(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let (filter, page) = parts(search)?;
    let mut tx = host.db.read().await?;
    let filter = narrowed(&mut tx, filter, &id, owner).await?;
    invocations(&mut tx, &filter, &page).await
}

async fn own_logs(
    State(host): State<Host>,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let (filter, page) = parts(search)?;
    let mut tx = host.db.read().await?;
    let filter = narrowed(&mut tx, filter, &id, owner).await?;
    logs(&mut tx, &filter, &page).await
}

async fn all_invocations(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let (filter, page) = parts(search)?;
    invocations(&mut host.db.read().await?, &filter, &page).await
}

async fn all_logs(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let (filter, page) = parts(search)?;
    logs(&mut host.db.read().await?, &filter, &page).await
}

/// To this agent, which must be the builder's.
pub(super) async fn narrowed(
    tx: &mut Tx,
    filter: Filter,
    agent: &str,
    owner: BuilderId,
) -> Result<Filter> {
    if filter.agent.is_some() {
        return Err(Error::field("agentId", "is in the path already"));
    }
    let agent = catalog::owned_by(tx, input::id(agent, "agent")?, owner).await?.id;
    Ok(Filter { agent: Some(agent), ..filter })
}

async fn invocations(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<InvocationId>()?);
    let found = receipts::list(tx, filter, before, limit + 1).await?;
    Ok(page::answer(found, limit, |receipt| receipt.id.to_string(), shown))
}

async fn logs(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Json<Value>> {
    let (limit, after) = (page.limit()?, page.cursor::<Place>()?);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = logged::page(tx, filter, after, most).await?;
    Ok(page::answer(found, limit, |logged| logged.place.to_string(), entry))
}

fn parts(search: Search) -> Result<(Filter, Page)> {
    let outcome = search.outcome.as_deref().map(outcome).transpose()?;
    let filter = Filter {
        agent: parsed::<AgentId>("agentId", search.agent_id.as_deref(), "is not an id")?,
        session: parsed("sessionId", search.session_id.as_deref(), "is not an id")?,
        outcome: outcome.map(|outcome| outcome.as_str().to_owned()),
        level: search.level.as_deref().map(level).transpose()?,
        from: time("from", search.from.as_deref())?,
        to: time("to", search.to.as_deref())?,
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from > to) {
        return Err(Error::field("to", "is before from"));
    }
    Ok((filter, Page::new(search.limit, search.cursor)))
}

pub(super) fn parsed<T: FromStr>(name: &str, text: Option<&str>, not: &str) -> Result<Option<T>> {
    text.map(str::parse).transpose().map_err(|_| Error::field(name, not))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    parsed(name, text, "is not a time like 2026-08-20T14:30:00Z (in a query, + is written %2B)")
}

fn outcome(text: &str) -> Result<Outcome> {
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
    found.ok_or_else(|| {
        let all = Outcome::ALL.map(Outcome::as_str).join(", ");
        Error::field("outcome", format!("must be one of {all}"))
    })
}

/// A level as a number that grows with what is wrong.
pub(super) fn level(text: &str) -> Result<i64> {
    let severity = receipts::severity(text);
    severity.ok_or_else(|| Error::field("level", "must be trace, debug, info, warn or error"))
}

/// A receipt with its log.
fn shown(receipt: &Invocation) -> Value {
    let mut all = summary(receipt);
    all["log"] = receipt.log.clone();
    all
}

/// A receipt without its log.
pub(super) fn summary(invocation: &Invocation) -> Value {
    let mut all = json!({
        "id": invocation.id,
        "agentId": invocation.agent_id,
        "sessionId": invocation.session_id,
        "eventId": invocation.event_id,
        "event": invocation.event,
        "attempt": invocation.attempt,
        "version": invocation.version,
        "createdAt": invocation.created_at,
    });
    if let (Some(all), Some(receipt)) = (all.as_object_mut(), invocation.receipt.as_object()) {
        all.extend(receipt.clone());
        let class = all.remove("trapClass").filter(Value::is_string);
        let frames = receipt.get("backtrace");
        all.insert(
            "trap".into(),
            json!(class.map(|class| json!({ "class": class, "frames": frames }))),
        );
    }
    all
}

/// An entry of a log, with what it belongs to.
pub(super) fn entry(logged: &Logged) -> Value {
    let mut all = logged.entry.clone();
    all["agentId"] = json!(logged.agent_id);
    all["sessionId"] = json!(logged.session_id);
    all["eventId"] = json!(logged.event_id);
    all["invocationId"] = json!(logged.place.invocation);
    all["createdAt"] = json!(logged.created_at);
    all
}
