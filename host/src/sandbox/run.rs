//! One event in one fresh instance: set up, three clocks, and what a trap means.
//!
//! The clocks: a CPU budget, looked at on every epoch tick, kept by the thread's own
//! clock (`meter`; waiting is free); a time limit around the whole, since an epoch
//! does not wake a guest that waits for the host; and one around each call to the
//! host (`guest::within`). A store that ran out of time is dropped, never entered
//! again.

use super::world::aiybiz::agent::types::{EndReason, Failure};
use super::{
    guest::{Facts, Guest, Stop},
    limits::Limits,
    meter::Meter,
    receipt::{EXPLANATION, FRAME, Outcome, Receipt, plain},
    scope::{Message, Scope},
    world::{Agent, AgentPre, exports::aiybiz::agent::handler::Guest as Handler},
};
use futures::FutureExt;
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::{
    Engine, Result, Store, Trap, UpdateDeadline, WasmBacktrace, component::ResourceTableError,
};

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
}

/// How the guest's function ended, before it is explained.
enum End {
    Returned(std::result::Result<(), Failure>),
    Failed(wasmtime::Error),
    OutOfTime,
    Panicked,
}

/// Runs the event to its end. Never fails: whatever happens is in the receipt.
pub(super) async fn run(
    engine: &Engine,
    pre: &AgentPre<Guest>,
    sha256: &str,
    job: Job,
    meter: Arc<Meter>,
) -> Receipt {
    let begun = Instant::now();
    let limits = Arc::clone(&job.limits);
    let mut store = store(engine, Guest::new(Arc::clone(&limits), job.facts, job.scope, meter));
    let mut instantiated = Duration::ZERO;
    let work = async {
        let agent = pre.instantiate_async(&mut store).await?;
        instantiated = begun.elapsed();
        deliver(&agent, &mut store, &job.event).await
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    let end = match tokio::time::timeout(limits.wall(), work).await {
        Ok(Ok(Ok(returned))) => End::Returned(returned),
        Ok(Ok(Err(error))) => End::Failed(error),
        Ok(Err(_)) => End::Panicked,
        Err(_) => End::OutOfTime,
    };
    let mut guest = store.into_data();
    let wall = begun.elapsed();
    guest.give_up_half_said().await;
    receipt(guest, &end, sha256, instantiated, wall)
}

/// Only instantiates, for the trial of an upload.
pub(super) async fn instantiate(
    engine: &Engine,
    pre: &AgentPre<Guest>,
    job: Job,
    meter: Arc<Meter>,
) -> Result<()> {
    let wall = job.limits.wall();
    let mut store = store(engine, Guest::new(job.limits, job.facts, job.scope, meter));
    match tokio::time::timeout(wall, pre.instantiate_async(&mut store)).await {
        Ok(agent) => agent.map(drop),
        Err(_) => Err(wasmtime::format_err!("it was not ready after {wall:?}")),
    }
}

fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let budget = Duration::from_millis(guest.limits.cpu_millis);
    let bytes = usize::try_from(guest.limits.host_call_bytes).unwrap_or(usize::MAX);
    let handles = usize::try_from(guest.limits.handles).unwrap_or(usize::MAX);
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(bytes);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        store.data_mut().hear()?;
        if store.data().meter.so_far() > budget {
            return Err(Stop::Cpu.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
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
    mut guest: Guest,
    end: &End,
    sha256: &str,
    instantiated: Duration,
    wall: Duration,
) -> Receipt {
    // What the guest did not come to hear is still told; `explain` sees to the rest.
    let _ = guest.hear();
    let (outcome, explanation, backtrace) = explain(end, &guest);
    let printed = guest.printed.take();
    if !printed.is_empty() {
        guest.note("info", printed, vec![("stream".into(), "stdio".into())]);
    }
    let peak = guest.limiter.peak_memory as u64;
    let http = guest.egress.used();
    let headroom = guest.used.headroom(&guest.limits, peak, guest.meter.so_far(), wall, &http);
    let kept = outcome == Outcome::Ok && guest.state_changed;
    Receipt {
        outcome,
        // It may quote the guest.
        explanation: plain(&explanation, &mut { EXPLANATION }),
        sha256: sha256.to_owned(),
        queue_micros: 0,
        instantiate_micros: micros(instantiated),
        cpu_micros: micros(guest.meter.so_far()),
        wall_micros: micros(wall),
        peak_memory_bytes: peak,
        host_calls: guest.used.host_calls,
        replies: guest.used.replies,
        bytes_in: guest.used.read_bytes + http.bytes_in,
        bytes_out: guest.used.reply_bytes + guest.used.write_bytes + http.bytes_out,
        http: http.calls,
        headroom,
        backtrace,
        log: guest.log,
        state: kept.then_some(guest.state).flatten(),
    }
}

/// What happened, in a word and in a sentence, and where.
fn explain(end: &End, guest: &Guest) -> (Outcome, String, Vec<String>) {
    let (outcome, sentence) = match end {
        // It may come to its end before it is stopped.
        End::Returned(_) if let Some(stop) = guest.egress.over() => {
            return explain_trap(&stop.into(), guest);
        }
        End::Returned(Ok(())) => (Outcome::Ok, "handled".to_owned()),
        End::Returned(Err(Failure::Retry(why))) => {
            (Outcome::Retry, format!("the agent asks for another try: {why}"))
        }
        End::Returned(Err(Failure::Permanent(why))) => {
            (Outcome::Refused, format!("the agent cannot handle this event: {why}"))
        }
        End::OutOfTime => (
            Outcome::Wall,
            format!(
                "not finished after wallMillis ({}), of which {} ms were spent in the agent's own code",
                guest.limits.wall_millis,
                guest.meter.so_far().as_millis(),
            ),
        ),
        End::Panicked => {
            (Outcome::HostError, "the platform failed; this is not the agent's fault".into())
        }
        End::Failed(error) => return explain_trap(error, guest),
    };
    (outcome, sentence, Vec::new())
}

fn explain_trap(error: &wasmtime::Error, guest: &Guest) -> (Outcome, String, Vec<String>) {
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    let limits = &guest.limits;
    let root = error.root_cause().to_string();
    // Or crash over the error it got.
    let over = guest.egress.over();
    let (outcome, sentence) = if let Some(stop) = error.downcast_ref().or(over.as_ref()) {
        match stop {
            Stop::Cpu => (
                Outcome::Cpu,
                format!(
                    "stopped after cpuMillis ({}) of its own code; do less per event",
                    limits.cpu_millis
                ),
            ),
            Stop::Budget(name, limit) => {
                (Outcome::Budget, format!("stopped because {name} ({limit}) was used up"))
            }
            Stop::HostCall(_) | Stop::Superseded => (Outcome::HostError, stop.to_string()),
        }
    } else if guest.limiter.refused {
        (
            Outcome::Memory,
            format!(
                "it wanted more than memoryBytes ({}) or tableElements ({})",
                limits.memory_bytes, limits.table_elements
            ),
        )
    } else if matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || root.contains("handle limit exceeded")
    {
        (
            Outcome::Budget,
            format!(
                "stopped because handles ({}) were used up; drop what is done with",
                limits.handles
            ),
        )
    } else if root.contains("allocated for hostcalls") {
        (
            Outcome::Budget,
            format!(
                "one call to the host carried more than hostCallBytes ({})",
                limits.host_call_bytes
            ),
        )
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (Outcome::Trap, trapped(*trap, &frames))
    } else if error.downcast_ref::<WasmBacktrace>().is_some() {
        (Outcome::Trap, format!("the agent crashed: {root}"))
    } else {
        (Outcome::HostError, format!("the agent could not be started: {root}"))
    };
    (outcome, sentence, frames)
}

fn trapped(trap: Trap, frames: &[String]) -> String {
    let place = frames.first().map(|frame| format!(" in {frame}")).unwrap_or_default();
    match trap {
        Trap::UnreachableCodeReached => {
            format!("the agent gave up{place}: a panic, an abort or an uncaught exception")
        }
        Trap::StackOverflow => format!("the stack overflowed{place}: a recursion without end?"),
        trap => format!("the agent crashed{place}: {trap}"),
    }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| {
        let symbol = frame.symbols().first();
        let name = symbol.and_then(|s| s.name()).or(frame.func_name());
        let name = name.map_or_else(|| format!("function {}", frame.func_index()), str::to_owned);
        let place = symbol.and_then(|s| Some(format!(" ({}:{})", s.file()?, s.line()?)));
        plain(&(name + &place.unwrap_or_default()), &mut { FRAME })
    };
    backtrace.frames().iter().map(name).collect()
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The receipt of an event whose task is gone: the platform's fault.
pub(super) fn lost(limits: Arc<Limits>, facts: Facts, sha256: &str) -> Receipt {
    tracing::error!("a guest's task was lost");
    let guest = Guest::new(limits, facts, Arc::new(super::scope::Nothing), Arc::default());
    receipt(guest, &End::Panicked, sha256, Duration::ZERO, Duration::ZERO)
}
