//! The host's side of one instance: what it is, what it may, what it has used.

use super::{
    egress::Egress,
    limiter::Limiter,
    limits::Limits,
    receipt::{LogEntry, Used},
    scope::{Answer, Denied, Nothing, Scope, State},
    threads::{self, Known},
    wasi::Wasi,
};
use crate::{id::EventId, timestamp::Timestamp};
use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// From this call to the host on, an event goes on where others do not wait for it: a
/// flood of calls that cost next to nothing is over before it has used up a slice.
const MANY: u64 = 500;

/// What the imports tell a guest about the event being handled.
#[derive(Clone, Debug)]
pub struct Facts {
    pub session_id: String,
    pub started_at: Timestamp,
    pub event_id: String,
    pub attempt: u32,
}

pub(super) struct Guest {
    pub(super) wasi: Wasi,
    http: WasiHttpCtx,
    pub(super) egress: Egress,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) limits: Arc<Limits>,
    pub(super) facts: Facts,
    pub(super) scope: Arc<dyn Scope>,
    pub(super) used: Used,
    /// The next reply's number.
    pub(super) ordinal: u64,
    /// Replies that were shown in part and neither stored nor given up yet.
    pub(super) half_said: BTreeSet<EventId>,
    pub(super) log: Vec<LogEntry>,
    /// Loaded when first asked for.
    pub(super) state: Option<State>,
    pub(super) state_changed: bool,
    pub(super) begun: Instant,
    pub(super) known: Arc<Known>,
    /// Handles of the world's own resources that the guest holds.
    pub(super) held: usize,
}

/// Why the host ends an event. Travels through Wasmtime as a trap.
#[derive(Debug)]
pub(super) enum Stop {
    Cpu,
    /// The limit that is used up, and what it is.
    Budget(&'static str, u64),
    Superseded,
    HostCall(&'static str),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("the CPU budget is used up"),
            Self::Budget(name, limit) => write!(f, "{name} ({limit}) is used up"),
            Self::Superseded => f.write_str("another worker drives this session"),
            Self::HostCall(name) => write!(f, "the host took too long to answer {name}"),
        }
    }
}

impl std::error::Error for Stop {}

impl Guest {
    pub(super) fn new(
        limits: Arc<Limits>,
        facts: Facts,
        scope: Arc<dyn Scope>,
        known: Arc<Known>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        Self {
            wasi: Wasi::new(usize::try_from(limits.log_bytes).unwrap_or(usize::MAX)),
            http: WasiHttpCtx::new(),
            egress: Egress::new(Arc::clone(&limits), Arc::clone(&scope)),
            table,
            limiter: Limiter::new(&limits),
            begun: Instant::now(),
            limits,
            facts,
            scope,
            used: Used::default(),
            ordinal: 0,
            half_said: BTreeSet::new(),
            log: Vec::new(),
            state: None,
            state_changed: false,
            known,
            held: 0,
        }
    }

    /// Makes a guest that has handled an event ready for the next one of its session.
    /// False when it already has more than it may have now.
    pub(super) fn renew(
        &mut self,
        limits: Arc<Limits>,
        facts: Facts,
        scope: Arc<dyn Scope>,
        known: Arc<Known>,
    ) -> bool {
        self.begun = Instant::now();
        self.wasi.renew(usize::try_from(limits.log_bytes).unwrap_or(usize::MAX));
        self.table.set_max_capacity(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        (self.used, self.ordinal, self.log) = (Used::default(), 0, Vec::new());
        (self.state, self.state_changed) = (None, false);
        self.egress = Egress::new(Arc::clone(&limits), Arc::clone(&scope));
        let fits = self.limiter.renew(&limits);
        if self.limiter.vast() {
            known.tire();
        }
        (self.limits, self.facts, self.scope, self.known) = (limits, facts, scope, known);
        fits
    }

    /// Lets go of the event's session until there is another event.
    pub(super) fn rest(&mut self) {
        self.scope = Arc::new(Nothing);
        self.egress = Egress::new(Arc::clone(&self.limits), Arc::clone(&self.scope));
        self.state = None;
    }

    /// Gives the guest a handle on something of the world.
    pub(super) fn hold<T: Send + 'static>(&mut self, what: T) -> wasmtime::Result<Resource<T>> {
        let handle = self.table.push(what)?;
        self.held += 1;
        Ok(handle)
    }

    /// Takes back what the handle stands for.
    pub(super) fn release<T: Send + 'static>(
        &mut self,
        handle: Resource<T>,
    ) -> wasmtime::Result<T> {
        let what = self.table.delete(handle)?;
        self.held -= 1;
        Ok(what)
    }

    /// Counts a call to the host and stops the guest when it has made too many, or
    /// its requests have used up a budget.
    pub(super) async fn call(&mut self, name: &'static str) -> Result<(), Stop> {
        self.hear()?;
        *self.used.host_calls.entry(name).or_default() += 1;
        self.used.total_calls += 1;
        if self.used.total_calls > self.limits.host_calls {
            return Err(Stop::Budget("hostCalls", self.limits.host_calls));
        }
        if self.used.total_calls == MANY && self.known.tire() {
            threads::yield_once().await;
        }
        Ok(())
    }

    /// What happened on the way out meanwhile: lines for the log, and maybe the end.
    pub(super) fn hear(&mut self) -> Result<(), Stop> {
        let Some((lines, over)) = self.egress.news() else { return Ok(()) };
        for line in lines {
            self.warn(line);
        }
        over.map_or(Ok(()), Err)
    }

    /// A line of the platform's own in the guest's log.
    pub(super) fn warn(&mut self, line: String) {
        self.note("warn", line, vec![("from".into(), "platform".into())]);
    }
}

/// Waits for the host's answer to one call, but not for ever. The host works for a
/// slow guest as for any other.
pub(super) async fn within<T>(
    limit: Duration,
    name: &'static str,
    answer: impl Future<Output = Answer<T>>,
) -> Result<Answer<T>, Stop> {
    let known = threads::current();
    if let Some(known) = &known {
        known.host(true);
    }
    let answer = tokio::time::timeout(limit, answer).await;
    if let Some(known) = known {
        known.host(false);
        if known.is_slow() {
            threads::yield_once().await;
        }
    }
    match answer {
        Ok(Err(Denied::Superseded)) => Err(Stop::Superseded),
        Ok(answer) => Ok(answer),
        Err(_) => Err(Stop::HostCall(name)),
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.context(), table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}
