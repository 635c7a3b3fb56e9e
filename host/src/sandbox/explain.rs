//! What happened to an event, in a word, in a sentence and by name of the functions
//! in which it happened.
//!
//! The sentence says what happened and what to change. What the guest itself says
//! comes last in it: it may be long, and it is cut.

use super::{
    guest::{Guest, Stop},
    receipt::{FRAME, Headroom, Outcome, plain},
    run::End,
    world::aiybiz::agent::types::Failure,
};
use std::time::Duration;
use wasmtime::{Trap, WasmBacktrace, component::ResourceTableError};

/// Less of a limit left than this, in percent, is worth a word.
const LITTLE: u64 = 10;

/// How a function without a name is called.
const UNNAMED: &str = "function ";

/// An explanation.
pub(super) struct Explained {
    pub(super) outcome: Outcome,
    pub(super) sentence: String,
    /// What kind of crash it was, when it was one.
    pub(super) trap_class: Option<&'static str>,
    /// Where, innermost first.
    pub(super) frames: Vec<String>,
}

/// `cpu` is the time in the guest's own code, `headroom` what is left of each limit.
pub(super) fn explain(end: &End, guest: &Guest, cpu: Duration, headroom: &Headroom) -> Explained {
    let (outcome, sentence) = match end {
        End::Returned(Ok(())) => (Outcome::Ok, handled(headroom)),
        End::Returned(Err(Failure::Retry(why))) => (
            Outcome::Retry,
            format!("the agent asks for another try, which retryPolicy standard gives it: {why}"),
        ),
        End::Returned(Err(Failure::Permanent(why))) => (
            Outcome::Refused,
            format!("the agent cannot handle this event, and not later either: {why}"),
        ),
        End::OutOfTime => (Outcome::Wall, out_of_time(guest.limits.wall_millis, cpu)),
        End::Panicked => (
            Outcome::HostError,
            "the platform failed, not the agent; it is tried again without anyone's doing".into(),
        ),
        End::Failed(error) => return failed(error, guest),
    };
    Explained { outcome, sentence, trap_class: None, frames: Vec::new() }
}

/// All went well; the limit that would be the first to end it, if it is near.
fn handled(headroom: &Headroom) -> String {
    match headroom.least() {
        (_, LITTLE..) => "handled".into(),
        (name, left) => {
            format!("handled, with {left} % of {name} left: use less of it before an event fails")
        }
    }
}

fn out_of_time(wall: u64, cpu: Duration) -> String {
    let busy = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
    let change = if busy > wall / 2 { "do less per event" } else { "wait for less at a time" };
    format!(
        "not finished after wallMillis ({wall}), of which {busy} ms were spent in the agent's own \
         code; {change}"
    )
}

fn failed(error: &wasmtime::Error, guest: &Guest) -> Explained {
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    let (outcome, sentence, trap_class) = match limit(error, guest) {
        Some((outcome, sentence)) => (outcome, sentence, None),
        None => {
            let (outcome, sentence, class) = crashed(error, &frames);
            (outcome, sentence, class)
        }
    };
    Explained { outcome, sentence, trap_class, frames }
}

/// Was it a limit that ended it?
fn limit(error: &wasmtime::Error, guest: &Guest) -> Option<(Outcome, String)> {
    let limits = &guest.limits;
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Some(stopped(stop, limits.cpu_millis));
    }
    if guest.limiter.refused {
        let (memory, table) = (limits.memory_bytes, limits.table_elements);
        let sentence = format!(
            "it wanted more than memoryBytes ({memory}) or tableElements ({table}); hold less at \
             once"
        );
        return Some((Outcome::Memory, sentence));
    }
    let root = error.root_cause().to_string();
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || root.contains("handle limit exceeded")
    {
        let handles = limits.handles;
        let sentence =
            format!("stopped because handles ({handles}) were used up; drop what is done with");
        return Some((Outcome::Budget, sentence));
    }
    root.contains("allocated for hostcalls").then(|| {
        let most = limits.host_call_bytes;
        let sentence =
            format!("one call to the host carried more than hostCallBytes ({most}); split it");
        (Outcome::Budget, sentence)
    })
}

fn stopped(stop: &Stop, cpu_millis: u64) -> (Outcome, String) {
    match stop {
        Stop::Cpu => (
            Outcome::Cpu,
            format!("stopped after cpuMillis ({cpu_millis}) of its own code; do less per event"),
        ),
        Stop::Budget(name, limit) => {
            let change = match *name {
                "hostCalls" | "httpCalls" => "ask for more at a time",
                "httpMillis" => "wait for less at a time",
                "replies" => "say more in each",
                "replyBytes" => "say less, or write it into a file",
                _ => "use less of it per event",
            };
            let sentence = format!("stopped because {name} ({limit}) was used up; {change}");
            (Outcome::Budget, sentence)
        }
        Stop::HostCall(_) => (
            Outcome::HostError,
            format!("{stop}; the platform is to blame, and the event is tried again"),
        ),
        Stop::Superseded => {
            (Outcome::HostError, format!("{stop}; its receipt tells how the event ended"))
        }
    }
}

fn crashed(error: &wasmtime::Error, frames: &[String]) -> (Outcome, String, Option<&'static str>) {
    let place = place(frames).map(|frame| format!(" in {frame}")).unwrap_or_default();
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let (class, sentence) = trapped(*trap, &place);
        return (Outcome::Trap, sentence, Some(class));
    }
    let root = error.root_cause();
    if error.downcast_ref::<WasmBacktrace>().is_some() {
        let sentence = format!(
            "the agent crashed{place}: it called the host in a way its bindings should not ({root})"
        );
        return (Outcome::Trap, sentence, Some("host_call"));
    }
    let sentence = format!(
        "the agent could not be started, for which the platform is to blame; it is tried again \
         ({root})"
    );
    (Outcome::HostError, sentence, None)
}

/// The innermost function that has a name: what only passes calls on has none.
fn place(frames: &[String]) -> Option<&String> {
    frames.iter().find(|frame| !frame.starts_with(UNNAMED)).or(frames.first())
}

/// Its class, and what to look for.
fn trapped(trap: Trap, place: &str) -> (&'static str, String) {
    let (class, change) = match trap {
        Trap::UnreachableCodeReached => {
            let sentence = format!(
                "the agent gave up{place}: a panic, an abort or an uncaught exception; its log may \
                 say why"
            );
            return ("unreachable", sentence);
        }
        Trap::StackOverflow => {
            let sentence = format!("the stack overflowed{place}: a recursion without end?");
            return ("stack_overflow", sentence);
        }
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => {
            ("memory_out_of_bounds", "look for a wrong pointer or index")
        }
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            ("bad_indirect_call", "look for a wrong function pointer")
        }
        Trap::IntegerDivisionByZero => ("division_by_zero", "check the divisor"),
        Trap::IntegerOverflow | Trap::BadConversionToInteger => {
            ("integer_overflow", "check the number's range")
        }
        _ => ("other", "the backtrace says where to look"),
    };
    // "wasm trap: " is no news to anybody.
    let what = trap.to_string();
    let what = what.strip_prefix("wasm trap: ").unwrap_or(&what);
    (class, format!("the agent crashed{place}: {what}; {change}"))
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| {
        let symbol = frame.symbols().first();
        let name = symbol.and_then(|s| s.name()).or(frame.func_name());
        let name = name.map_or_else(|| format!("{UNNAMED}{}", frame.func_index()), str::to_owned);
        let place = symbol.and_then(|s| Some(format!(" ({}:{})", s.file()?, s.line()?)));
        plain(&(name + &place.unwrap_or_default()), &mut { FRAME })
    };
    backtrace.frames().iter().map(name).collect()
}
