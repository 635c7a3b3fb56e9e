//! Following receipts and logs live.
//!
//! For each event that a component has handled: an event `log` for each entry of its
//! log, then an event `invocation`, the receipt without the log. `level` leaves out
//! what is less bad; an event that went well counts as `info`, one that was declined
//! or put off as `warn`, any other as `error`. The last one of a receipt carries its
//! id: with it as `Last-Event-ID` a stream goes on behind that receipt.
//!
//! What is followed is the table: a stream is woken when this process has committed
//! a receipt, and looks by itself for those of others.

use super::{
    caller::{self, Builder, Caller, Operator},
    input::Params,
    receipts::{entry, level, narrowed, parsed, summary},
    sse::{End, HEARTBEAT, Out, life},
};
use crate::{
    accounts::{self, Identity},
    bus::TailPlace,
    catalog,
    error::{Error, Kind, Result},
    host::Host,
    id::{AgentId, InvocationId, SessionId},
    sessions::receipts::{
        Filter, Invocation,
        logged::{self, Logged},
        severity, watch,
    },
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, Method},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How soon another process's receipts are found.
const LOOK: Duration = Duration::from_secs(1);

/// What is written in quick succession is read together.
const GATHER: Duration = Duration::from_millis(50);

/// Receipts read at once: their logs are in memory meanwhile.
const PAGE: i64 = 50;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(own)).routes(routes!(all))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    /// For operators: who follows one agent's has it in the path.
    #[param(ignore)]
    agent_id: Option<String>,
    /// Of this session only.
    #[param(value_type = Option<SessionId>)]
    session_id: Option<String>,
    /// This bad or worse. An event that went well counts as `info`, one that was declined or
    /// put off as `warn`, any other as `error`.
    #[param(pattern = "^(trace|debug|info|warn|error)$")]
    level: Option<String>,
}

/// Follows an agent's logs and receipts live. For each event that its component has handled
/// there is an event `log` for each entry of the log, and then an event `invocation`, the
/// receipt without the log. A stream that is told a `Last-Event-ID` goes on behind that
/// receipt; it is closed after some minutes, and may be opened again.
#[utoipa::path(
    get, path = "/builder/agents/{agent}/logs/stream",
    params(
        Wanted,
        (
            "Last-Event-ID" = Option<InvocationId>, Header, nullable = false,
            description = "The id of the last event that was read.",
        ),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 429, description = "too_many_tails"),
    ),
)]
async fn own(
    State(host): State<Host>,
    Caller(caller): Caller,
    Builder(owner): Builder,
    Path(id): Path<String>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    let filter = {
        let mut tx = host.db.read().await?;
        narrowed(&mut tx, filter(&wanted)?, &id, owner).await?
    };
    follow(host, &caller, filter, false, &headers).await
}

/// Follows all agents' logs and receipts live: events `log` and `invocation`, as a builder
/// has them of one agent.
#[utoipa::path(
    get, path = "/admin/logs/stream",
    params(
        ("agentId" = Option<AgentId>, Query, description = "Of this agent only."),
        Wanted,
        (
            "Last-Event-ID" = Option<InvocationId>, Header, nullable = false,
            description = "The id of the last event that was read.",
        ),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 429, description = "too_many_tails"),
    ),
)]
async fn all(
    State(host): State<Host>,
    Operator(operator): Operator,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    follow(host, &operator, filter(&wanted)?, true, &headers).await
}

fn filter(wanted: &Wanted) -> Result<Filter> {
    Ok(Filter {
        agent: parsed("agentId", wanted.agent_id.as_deref(), "is not an id")?,
        session: parsed("sessionId", wanted.session_id.as_deref(), "is not an id")?,
        level: wanted.level.as_deref().map(level).transpose()?,
        ..Filter::default()
    })
}

async fn follow(
    host: Host,
    caller: &Identity,
    filter: Filter,
    as_operator: bool,
    headers: &HeaderMap,
) -> Result<Response> {
    let token = caller::token(&host, &Method::GET, headers)?.unwrap_or_default().to_owned();
    let resume = caller::text(headers, "last-event-id");
    let resume = parsed::<InvocationId>("Last-Event-ID", resume, "is not one this stream gave")?;
    let place = host.tails.place(caller.user_id).ok_or_else(|| {
        let detail = "too many logs are being followed; close one and try again";
        Error::new(Kind::TooMany(10), "too_many_tails", detail)
    })?;
    let (last, told) = {
        let mut tx = host.db.read().await?;
        let newest = watch::newest(&mut tx).await?;
        let last = resume.map_or(newest, |id| id.min(newest));
        let told = watch::names(&mut tx, &filter, (watch::window(last), last)).await?;
        (last, told.into_iter().collect())
    };
    let (out, response) = Out::new();
    let now = Instant::now();
    let (beat, back, tasks) = (now, now, host.tasks.clone());
    let tail =
        Tail { host, filter, token, as_operator, last, told, beat, back, out, _place: place };
    tasks.spawn(async move {
        // It ends when the client is gone, too slow, or may no longer look.
        let _ = tail.run().await;
    });
    Ok(response)
}

struct Tail {
    host: Host,
    filter: Filter,
    token: String,
    as_operator: bool,
    /// Up to here everything was looked at.
    last: InvocationId,
    /// What was told, of late.
    told: BTreeSet<InvocationId>,
    /// The last sign of life, and the last look back.
    beat: Instant,
    back: Instant,
    out: Out,
    _place: TailPlace,
}

impl Tail {
    async fn run(mut self) -> Result<Infallible, End> {
        self.out.welcome(&self.host.clock, None).await?;
        let (tails, stopping) = (self.host.tails.clone(), self.host.stopping.clone());
        let mut old = pin!(sleep(life(&self.host.clock, self.host.config.stream_seconds)));
        loop {
            let mut news = pin!(tails.news());
            // What is written from here on wakes it.
            news.as_mut().enable();
            self.look().await?;
            tokio::select! {
                () = news => sleep(GATHER).await,
                () = sleep(LOOK) => {}
                () = &mut old => return Err(End::Old),
                () = stopping.cancelled() => {
                    self.out.farewell(&self.host.clock).await?;
                    return Err(End::Stopping);
                }
                () = self.out.closed() => return Err(End::Gone),
            }
            if self.beat.elapsed() >= HEARTBEAT {
                self.beat = Instant::now();
                if !self.admitted().await.map_err(failed)? {
                    return Err(End::Over);
                }
                self.out.still_here().await?;
            }
        }
    }

    /// Tells of all that was committed since the last look.
    async fn look(&mut self) -> Result<(), End> {
        let newest = async { watch::newest(&mut self.host.db.look().await?).await };
        let newest = newest.await.map_err(failed)?;
        while self.last < newest {
            let page = self.page(newest).await.map_err(failed)?;
            for receipt in &page {
                self.tell(receipt).await?;
            }
            let more = page.len() as i64 == PAGE;
            self.last = page.last().filter(|_| more).map_or(newest, |receipt| receipt.id);
        }
        if self.back.elapsed() >= LOOK {
            self.back = Instant::now();
            self.look_back().await?;
        }
        Ok(())
    }

    async fn page(&self, newest: InvocationId) -> Result<Vec<Invocation>> {
        let mut tx = self.host.db.look().await?;
        watch::between(&mut tx, &self.filter, (self.last, newest), PAGE).await
    }

    /// Tells of those that were committed after newer ones.
    async fn look_back(&mut self) -> Result<(), End> {
        let begin = watch::window(self.last);
        let names = async {
            let mut tx = self.host.db.look().await?;
            watch::names(&mut tx, &self.filter, (begin, self.last)).await
        };
        let names = names.await.map_err(failed)?;
        self.told = self.told.split_off(&begin);
        for id in names {
            if !self.told.contains(&id) {
                let found = async { watch::find(&mut self.host.db.look().await?, id).await };
                if let Some(receipt) = found.await.map_err(failed)? {
                    self.tell(&receipt).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell(&mut self, receipt: &Invocation) -> Result<(), End> {
        self.told.insert(receipt.id);
        for line in lines(receipt, self.filter.level.unwrap_or(0)) {
            self.out.send(line).await?;
        }
        Ok(())
    }

    /// May whoever asked still look?
    async fn admitted(&self) -> Result<bool> {
        let mut tx = self.host.db.read().await?;
        let found = accounts::identify(&mut tx, &self.token, self.host.clock.now()).await?;
        let Some(identity) = found else { return Ok(false) };
        if self.as_operator {
            return Ok(identity.operator);
        }
        let Some(agent) = self.filter.agent else { return Ok(false) };
        let template = catalog::find(&mut tx, agent).await?;
        Ok(template.is_some_and(|template| identity.builder_id == Some(template.builder_id)))
    }
}

fn failed(error: Error) -> End {
    tracing::error!(%error, "a log could not be followed");
    End::Failed
}

/// A receipt as lines of the stream.
fn lines(receipt: &Invocation, floor: i64) -> Vec<Arc<str>> {
    let wanted = |(_, entry): &(usize, &Value)| logged::level(entry) >= Some(floor);
    let entries = receipt.entries().iter().enumerate().filter(wanted);
    let mut events: Vec<_> = entries
        .map(|(number, logged)| ("log", json!(entry(&Logged::of(receipt, number, logged)))))
        .collect();
    if ending(&receipt.outcome) >= Some(floor) {
        events.push(("invocation", json!(summary(receipt))));
    }
    let last = events.len().saturating_sub(1);
    let line = |(number, (kind, mut data)): (usize, (&str, Value))| {
        data["type"] = json!(kind);
        // Half a receipt is no place to go on from.
        let id = if number == last { format!("id: {}\n", receipt.id) } else { String::new() };
        format!("{id}event: {kind}\ndata: {data}\n\n").into()
    };
    events.into_iter().enumerate().map(line).collect()
}

/// How bad the end of an event is.
fn ending(outcome: &str) -> Option<i64> {
    severity(match outcome {
        "ok" => "info",
        "retry" | "refused" => "warn",
        _ => "error",
    })
}
