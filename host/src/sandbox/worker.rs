//! The process that judges one upload, from the inside: it gives up what it has,
//! reads the upload, gives up the rest, and only then looks at a byte.
//!
//! It has no environment, no descriptor but its three, no folder of its own; it can
//! open nothing, so it reaches neither files nor the network; it cannot gain a
//! privilege, leave a core dump, take more than its limits or outlive its parent.

use super::{
    engine,
    headstart::head_start,
    inspect::{Inspection, inspect},
    limits::Limits,
};
use rustix::{
    fs::{Mode, OFlags},
    process::{Resource, Rlimit, Signal, setrlimit},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    path::PathBuf,
};

/// The largest artifact: JavaScript's is 37 MB.
pub(super) const ARTIFACT_BYTES: u64 = 512 << 20;

/// What the compiler may say about a failure, in characters.
const COMPLAINT: usize = 2_000;

/// Deep nesting recurses; the main thread's stack is whatever the shell allows.
const STACK: usize = 64 << 20;

/// What the worker says on its standard error: one line of JSON, the last.
#[derive(Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) inspection: Inspection,
    pub(super) peak_bytes: u64,
    pub(super) code_bytes: u64,
}

/// The worker's whole life. `limits` is JSON, `parent` the process that started it.
pub fn worker(limits: &str, parent: u32) -> Result<(), String> {
    let limits: Limits = serde_json::from_str(limits).map_err(|error| error.to_string())?;
    confine(&limits, parent).map_err(|error| format!("confining itself: {error}"))?;
    let mut upload = Vec::new();
    std::io::stdin().read_to_end(&mut upload).map_err(|error| error.to_string())?;
    lock_in().map_err(|error| format!("confining itself: {error}"))?;
    let judging = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let mut inspection = inspect(&upload, &limits);
        let mut code_bytes = 0;
        if inspection.problems.is_empty() {
            let component = head_start(&inspection.component, limits.memory_bytes);
            let compiled =
                engine::compiling().and_then(|engine| engine.precompile_component(&component));
            match compiled {
                Ok(artifact) => {
                    std::io::stdout().write_all(&artifact)?;
                    code_bytes = artifact.len() as u64;
                }
                Err(error) => inspection.refuse("body", short(&format!("{error:#}"))),
            }
        }
        Ok::<_, std::io::Error>((inspection, code_bytes))
    });
    let judged = judging.map_err(|error| error.to_string())?.join();
    let judged = judged.map_err(|_| "it panicked".to_owned())?;
    let (inspection, code_bytes) = judged.map_err(|error| error.to_string())?;
    let verdict = Verdict { inspection, peak_bytes: peak_memory(), code_bytes };
    eprint!("\n{}", serde_json::to_string(&verdict).map_err(|error| error.to_string())?);
    Ok(())
}

fn short(why: &str) -> String {
    why.chars().take(COMPLAINT).collect()
}

/// What can be given up before the upload is read.
fn confine(limits: &Limits, parent: u32) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let alive = rustix::process::getppid();
    if alive.map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return Err(std::io::Error::other("its parent is gone"));
    }
    rustix::thread::set_no_new_privs(true)?;
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, limit(limits.compile_memory_bytes))?;
    // The first second too many is told by a signal of its own, the next one kills.
    let seconds = limits.compile_millis.div_ceil(1000).max(1);
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    setrlimit(Resource::Fsize, limit(ARTIFACT_BYTES))?;
    // A program that is sent dumps ignores 0; at 1 there is none to send.
    setrlimit(Resource::Core, limit(1))?;
    close_inherited()?;
    // Events and requests go first.
    rustix::process::nice(10)?;
    Ok(())
}

/// Closes what whoever started the platform may have left open for its children.
fn close_inherited() -> std::io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // The folder's own number is among them, and closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// What is given up once the upload is read. The standard input becomes this
/// process's own status, the one thing that is still to be read; after that nothing
/// can be opened any more: no file, no socket.
fn lock_in() -> std::io::Result<()> {
    let status = rustix::fs::open("/proc/self/status", OFlags::RDONLY, Mode::empty())?;
    rustix::stdio::dup2_stdin(&status)?;
    drop(status);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// The most memory this process has had, in bytes. (What `getrusage` says begins
/// with the most that its parent has had.)
fn peak_memory() -> u64 {
    let mut status = String::new();
    let _ = std::io::stdin().read_to_string(&mut status);
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// This very program, which is also the worker: also when its file was replaced.
pub fn this_program() -> PathBuf {
    "/proc/self/exe".into()
}
