//! One event in one instance: set up, three clocks, and what a trap means.
//!
//! The clocks: a CPU budget, looked at on every epoch tick, kept by the thread's own
//! clock (`meter`; waiting is free); a time limit around the whole, since an epoch
//! does not wake a guest that waits for the host; and one around each call to the
//! host (`guest::within`). A store that ran out of time is dropped, never entered
//! again.

use super::world::aiybiz::agent::types::{EndReason, Failure};
use super::{
    explain::explain,
    guest::{Facts, Guest, Stop},
    limits::Limits,
    receipt::{EXPLANATION, Outcome, Receipt, plain},
    scope::{Message, Nothing, Scope},
    threads::Known,
    warm::Keep,
    world::{Agent, AgentPre, exports::aiybiz::agent::handler::Guest as Handler},
};
use crate::timestamp::Timestamp;
use futures::FutureExt;
use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};
use tokio::time::{timeout, timeout_at};
use wasmtime::{Engine, Result, Store, UpdateDeadline};

/// What the guest is told.
#[derive(Clone, Debug)]
pub enum Event {
    Started,
    Message(Message),
    Ended(Ended),
}

/// Why a session ended, as far as a guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Closed,
    Expired,
    Terminated,
}

/// One event for one guest.
pub struct Job {
    pub event: Event,
    pub facts: Facts,
    pub scope: Arc<dyn Scope>,
    pub limits: Arc<Limits>,
    /// Set when an instance of the session may be kept, and used.
    pub keep: Option<Keep>,
}

/// An instance that can be entered again, or the store in which there will be one.
pub(super) struct Instance {
    store: Store<Guest>,
    agent: Option<Agent>,
}

impl Instance {
    pub(super) fn fresh(engine: &Engine, job: &Job, known: Arc<Known>) -> Self {
        let (limits, facts) = (Arc::clone(&job.limits), job.facts.clone());
        let guest = Guest::new(limits, facts, Arc::clone(&job.scope), known);
        Self { store: store(engine, guest), agent: None }
    }

    /// For the next event; none when that is under limits it no longer fits.
    pub(super) fn renewed(mut self, job: &Job, known: Arc<Known>) -> Option<Self> {
        let (limits, facts) = (Arc::clone(&job.limits), job.facts.clone());
        let guest = self.store.data_mut();
        let fits = guest.renew(limits, facts, Arc::clone(&job.scope), known);
        confine(&mut self.store);
        fits.then_some(self)
    }

    /// What its memories take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.store.data().limiter.memory()
    }
}

/// How the guest's function ended, before it is explained.
pub(super) enum End {
    Returned(std::result::Result<(), Failure>),
    Failed(wasmtime::Error),
    OutOfTime,
    Panicked,
}

/// Runs the event to its end. Never fails: whatever happens is in the receipt. An
/// instance that handled its event well, and holds nothing of it, can be kept.
pub(super) async fn run(
    instance: Instance,
    pre: &AgentPre<Guest>,
    sha256: &str,
    job: Job,
) -> (Receipt, Option<Instance>) {
    let Instance { mut store, agent } = instance;
    let (begun, warm) = (store.data().begun, agent.is_some());
    let (end, agent, instantiated) = enter(&mut store, agent, pre, &job).await;
    let wall = begun.elapsed();
    let end = heard(store.data_mut(), end);
    let handled = matches!(end, End::Returned(Ok(()))) && !matches!(job.event, Event::Ended(_));
    if job.keep.is_some() && handled && store.data().held == 0 {
        let receipt = receipt(store.data_mut(), &end, sha256, (warm, instantiated), wall);
        store.data_mut().rest();
        return (receipt, Some(Instance { store, agent }));
    }
    let mut guest = store.into_data();
    guest.give_up_half_said().await;
    (receipt(&mut guest, &end, sha256, (warm, instantiated), wall), None)
}

/// Sets the instance up, unless it is kept, and calls it; also tells how long the former
/// took. The clock runs for the event as a whole.
async fn enter(
    store: &mut Store<Guest>,
    agent: Option<Agent>,
    pre: &AgentPre<Guest>,
    job: &Job,
) -> (End, Option<Agent>, Duration) {
    let begun = store.data().begun;
    let mut instantiated = Duration::ZERO;
    let ended = {
        // Pinned here: it is large, and every layer around it would move it.
        let work = pin!(async {
            let agent = match agent {
                Some(agent) => agent,
                None => pre.instantiate_async(&mut *store).await?,
            };
            instantiated = begun.elapsed();
            let returned = deliver(&agent, store, &job.event).await?;
            Ok((returned, agent))
        });
        let work = AssertUnwindSafe(work).catch_unwind();
        timeout_at((begun + job.limits.wall()).into(), work).await
    };
    match ended {
        Ok(Ok(Ok((returned, agent)))) => (End::Returned(returned), Some(agent), instantiated),
        Ok(Ok(Err(error))) => (End::Failed(error), None, instantiated),
        Ok(Err(_)) => (End::Panicked, None, instantiated),
        Err(_) => (End::OutOfTime, None, instantiated),
    }
}

/// A guest whose requests used up a budget may come to its end, or crash over the
/// error it got, before it is stopped.
fn heard(guest: &mut Guest, end: End) -> End {
    match (guest.hear(), end) {
        (Err(stop), End::Returned(_)) => End::Failed(stop.into()),
        (Err(stop), End::Failed(error)) => End::Failed(error.context(stop)),
        (_, end) => end,
    }
}

/// Only instantiates, for the trial of an upload.
pub(super) async fn instantiate(
    engine: &Engine,
    pre: &AgentPre<Guest>,
    job: Job,
    known: Arc<Known>,
) -> Result<()> {
    let wall = job.limits.wall();
    let mut instance = Instance::fresh(engine, &job, known);
    match timeout(wall, pre.instantiate_async(&mut instance.store)).await {
        Ok(agent) => agent.map(drop),
        Err(_) => Err(wasmtime::format_err!("it was not ready after {wall:?}")),
    }
}

fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter_async(|guest| guest);
    store.epoch_deadline_callback(|mut store| {
        let guest = store.data_mut();
        guest.hear()?;
        guest.known.tick();
        if guest.known.meter.so_far() > Duration::from_millis(guest.limits.cpu_millis) {
            return Err(Stop::Cpu.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    confine(&mut store);
    store
}

/// Holds the store to the guest's limits.
fn confine(store: &mut Store<Guest>) {
    let limits = Arc::clone(&store.data().limits);
    store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    store.set_epoch_deadline(1);
}

async fn deliver(
    agent: &Agent,
    store: &mut Store<Guest>,
    event: &Event,
) -> Result<std::result::Result<(), Failure>> {
    let handler: &Handler = agent.aiybiz_agent_handler();
    match event {
        Event::Started => handler.call_on_session_started(store).await,
        Event::Message(message) => handler.call_on_message(store, &message.clone().into()).await,
        Event::Ended(reason) => {
            let reason = match reason {
                Ended::Closed => EndReason::Closed,
                Ended::Expired => EndReason::Expired,
                Ended::Terminated => EndReason::Terminated,
            };
            handler.call_on_session_ended(store, reason).await
        }
    }
}

fn receipt(
    guest: &mut Guest,
    end: &End,
    sha256: &str,
    (warm, instantiated): (bool, Duration),
    wall: Duration,
) -> Receipt {
    let printed = guest.wasi.printed();
    if !printed.is_empty() {
        guest.note("info", printed, vec![("stream".into(), "stdio".into())]);
    }
    let (peak, cpu) = (guest.limiter.peak_memory as u64, guest.known.meter.end());
    let http = guest.egress.used();
    let headroom = guest.used.headroom(&guest.limits, peak, cpu, wall, &http);
    let explained = explain(end, guest, cpu, &headroom);
    let kept = explained.outcome == Outcome::Ok && guest.state_changed;
    Receipt {
        outcome: explained.outcome,
        // It may quote the guest.
        explanation: plain(&explained.sentence, &mut { EXPLANATION }),
        sha256: sha256.to_owned(),
        warm,
        queue_micros: 0,
        instantiate_micros: micros(instantiated),
        cpu_micros: micros(cpu),
        run_micros: micros(wall.saturating_sub(instantiated)),
        wall_micros: micros(wall),
        peak_memory_bytes: peak,
        host_calls: std::mem::take(&mut guest.used.host_calls),
        replies: guest.used.replies,
        bytes_in: guest.used.read_bytes + http.bytes_in,
        bytes_out: guest.used.reply_bytes + guest.used.write_bytes + http.bytes_out,
        http: http.calls,
        headroom,
        trap_class: explained.trap_class,
        backtrace: explained.frames,
        log: std::mem::take(&mut guest.log),
        state: guest.state.take().filter(|_| kept),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The receipt of an event whose task is gone: the platform's fault.
pub(super) fn lost(limits: Arc<Limits>, sha256: &str) -> Receipt {
    tracing::error!("a guest's task was lost");
    let mut guest = Guest::new(limits, nobodys(), Arc::new(Nothing), Arc::default());
    receipt(&mut guest, &End::Panicked, sha256, (false, Duration::ZERO), Duration::ZERO)
}

/// The facts of no event.
pub(super) fn nobodys() -> Facts {
    Facts {
        session_id: String::new(),
        started_at: Timestamp::from_micros(0).expect("1970 is in range"),
        event_id: String::new(),
        attempt: 1,
    }
}
