//! Reading what became of events: receipts and logs, of a builder's own agents or,
//! for an operator, of all.
//!
//! Both take the same filters. `level` means this bad or worse: of receipts, those
//! that logged something like that; of log entries, the entries themselves. `from`
//! is included, `to` is not.

use super::{
    caller::{Builder, Operator},
    input::{self, Params},
    page::{self, Listed, Page},
};
use crate::{
    catalog,
    error::{Error, Result},
    host::Host,
    id::{AgentId, BuilderId, EventId, InvocationId, SessionId},
    sandbox::{LogEntry, Outcome, Receipt},
    sessions::receipts::{
        self, Filter, Invocation,
        logged::{self, Logged, Place},
    },
    storage::Tx,
    timestamp::Timestamp,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(own_invocations))
        .routes(routes!(own_logs))
        .routes(routes!(all_invocations))
        .routes(routes!(all_logs))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    /// For operators: who asks for one agent's has it in the path.
    #[param(ignore)]
    agent_id: Option<String>,
    /// Of this session only.
    #[param(value_type = Option<SessionId>)]
    session_id: Option<String>,
    /// Of events that ended so.
    #[param(value_type = Option<Outcome>)]
    outcome: Option<String>,
    /// This bad or worse: of receipts, those that logged something like that; of log entries,
    /// the entries themselves.
    #[param(pattern = "^(trace|debug|info|warn|error)$")]
    level: Option<String>,
    /// Included.
    #[param(value_type = Option<Timestamp>)]
    from: Option<String>,
    /// Not included.
    #[param(value_type = Option<Timestamp>)]
    to: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists the receipts of an agent's events, newest first: how each went, what it took and
/// what it logged.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/invocations", params(Search),
    responses((status = 200, body = Listed<InvocationReceipt>)),
)]
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

/// Lists what an agent logged: the newest event first, the entries of each in their order.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/logs", params(Search),
    responses((status = 200, body = Listed<LoggedEntry>)),
)]
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

/// Lists the receipts of all agents' events, newest first.
#[utoipa::path(
    get, path = "/admin/invocations",
    params(("agentId" = Option<AgentId>, Query, description = "Of this agent only."), Search),
    responses((status = 200, body = Listed<InvocationReceipt>)),
)]
async fn all_invocations(
    State(host): State<Host>,
    _: Operator,
    Params(search): Params<Search>,
) -> Result<Json<Value>> {
    let (filter, page) = parts(search)?;
    invocations(&mut host.db.read().await?, &filter, &page).await
}

/// Lists what all agents logged: the newest event first, the entries of each in their order.
#[utoipa::path(
    get, path = "/admin/logs",
    params(("agentId" = Option<AgentId>, Query, description = "Of this agent only."), Search),
    responses((status = 200, body = Listed<LoggedEntry>)),
)]
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
    let show = |receipt: &Invocation| json!(shown(receipt));
    Ok(page::answer(found, limit, |receipt| receipt.id.to_string(), show))
}

async fn logs(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Json<Value>> {
    let (limit, after) = (page.limit()?, page.cursor::<Place>()?);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = logged::page(tx, filter, after, most).await?;
    let show = |logged: &Logged| json!(entry(logged));
    Ok(page::answer(found, limit, |logged| logged.place.to_string(), show))
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
#[derive(Serialize, ToSchema)]
struct InvocationReceipt {
    #[serde(flatten)]
    summary: InvocationSummary,
    /// What the agent logged at this event.
    #[schema(value_type = Vec<LogEntry>)]
    log: Value,
}

fn shown(receipt: &Invocation) -> InvocationReceipt {
    InvocationReceipt { summary: summary(receipt), log: receipt.log.clone() }
}

/// How an event went and what it took, without what was logged.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvocationSummary {
    id: InvocationId,
    agent_id: AgentId,
    session_id: SessionId,
    event_id: EventId,
    /// `session_started`, `message`, `session_ended`. Like `attempt` and `version`, null for
    /// the oldest.
    #[schema(required)]
    event: Option<String>,
    /// Counts the event's tries from one.
    #[schema(required)]
    attempt: Option<i64>,
    /// Of the component.
    #[schema(required)]
    version: Option<i64>,
    created_at: Timestamp,
    #[serde(flatten)]
    #[schema(value_type = Receipt)]
    receipt: Map<String, Value>,
    /// Null when the agent did not crash.
    #[schema(required)]
    trap: Option<Crash>,
}

/// How an agent crashed.
#[derive(Serialize, ToSchema)]
struct Crash {
    /// `unreachable`, `stack_overflow`, `host_call`, …
    class: String,
    /// The innermost first.
    #[schema(value_type = Vec<String>)]
    frames: Value,
}

pub(super) fn summary(invocation: &Invocation) -> InvocationSummary {
    let mut receipt = invocation.receipt.as_object().cloned().unwrap_or_default();
    let trap = match receipt.shift_remove("trapClass") {
        Some(Value::String(class)) => {
            let frames = receipt.get("backtrace").cloned().unwrap_or_default();
            Some(Crash { class, frames })
        }
        _ => None,
    };
    InvocationSummary {
        id: invocation.id,
        agent_id: invocation.agent_id,
        session_id: invocation.session_id,
        event_id: invocation.event_id,
        event: invocation.event.clone(),
        attempt: invocation.attempt,
        version: invocation.version,
        created_at: invocation.created_at,
        receipt,
        trap,
    }
}

/// An entry of a log, with what it belongs to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedEntry {
    #[serde(flatten)]
    #[schema(value_type = LogEntry)]
    entry: Map<String, Value>,
    agent_id: AgentId,
    session_id: SessionId,
    event_id: EventId,
    invocation_id: InvocationId,
    created_at: Timestamp,
}

pub(super) fn entry(logged: &Logged) -> LoggedEntry {
    LoggedEntry {
        entry: logged.entry.as_object().cloned().unwrap_or_default(),
        agent_id: logged.agent_id,
        session_id: logged.session_id,
        event_id: logged.event_id,
        invocation_id: logged.place.invocation,
        created_at: logged.created_at,
    }
}
