//! Judging an upload in a process of its own: reading it, holding it against the
//! world, compiling it.
//!
//! What that costs is not bounded by the upload's size (331 KiB can cost Cranelift
//! 13 s and 1 GiB; 100 KB of names cost the validator seconds), and the libraries'
//! authors do not promise otherwise. So it happens in `aiybiz compile-worker`: no
//! environment, the upload on its standard input, the artifact on its standard
//! output, which is the file to be, and what there is to say on its standard error;
//! limits on address space, CPU time and file size that it sets for itself before it
//! reads a byte; and a time limit that its parent enforces by killing it.

use super::{
    engine,
    headstart::head_start,
    inspect::{Inspection, inspect},
    limits::Limits,
};
use crate::error::Problem;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// The largest artifact: JavaScript's is 37 MB.
const ARTIFACT_BYTES: u64 = 512 << 20;

/// What the compiler may say about a failure, in characters.
const COMPLAINT: usize = 2_000;

/// What is heard of the worker; an inspection bounds its own lists.
const SAID_BYTES: u64 = 4 << 20;

/// What compiling cost; part of the version's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compiled {
    pub ms: u64,
    pub peak_bytes: u64,
    pub code_bytes: u64,
}

/// What the worker says on its standard error, as one line of JSON.
#[derive(Serialize, Deserialize)]
struct Verdict {
    inspection: Inspection,
    peak_bytes: u64,
}

/// What became of an upload: `compiled`, or the inspection has problems.
pub(super) struct Judgement {
    pub(super) inspection: Inspection,
    pub(super) compiled: Option<Compiled>,
}

/// Judges `upload`; if there is nothing to object to, the artifact is in the file
/// `draft`.
pub(super) async fn judge(
    worker: &Path,
    limits: &Limits,
    upload: &[u8],
    draft: &Path,
) -> std::io::Result<Judgement> {
    let begun = Instant::now();
    let allowed = Duration::from_millis(limits.compile_millis);
    let output = match tokio::time::timeout(allowed, drive(worker, limits, upload, draft)).await {
        Ok(output) => output?,
        Err(_) => {
            let limit = allowed.as_millis();
            return Ok(refused(&format!("compiling took longer than compileMillis ({limit})")));
        }
    };
    let verdict = serde_json::from_slice::<Verdict>(&output.said);
    let Verdict { inspection, peak_bytes } = match verdict {
        Ok(verdict) if output.status.success() => verdict,
        _ => return Ok(refused(&complaint(&output, limits))),
    };
    let compiled = inspection.problems.is_empty().then(|| Compiled {
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        peak_bytes,
        code_bytes: std::fs::metadata(draft).map_or(0, |meta| meta.len()),
    });
    Ok(Judgement { inspection, compiled })
}

fn refused(why: &str) -> Judgement {
    let problem = Problem { pointer: "body".into(), detail: why.into() };
    let inspection = Inspection { problems: vec![problem], ..Inspection::default() };
    Judgement { inspection, compiled: None }
}

struct Output {
    status: ExitStatus,
    said: Vec<u8>,
}

async fn drive(
    worker: &Path,
    limits: &Limits,
    upload: &[u8],
    draft: &Path,
) -> std::io::Result<Output> {
    let file = std::fs::File::create(draft)?;
    let mut child = Command::new(worker)
        .args(["compile-worker", &serde_json::to_string(limits)?])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was asked to be a pipe");
    let stderr = child.stderr.take().expect("it was asked to be a pipe");
    let fed = async move {
        // A worker that dies early closes the pipe; its exit status tells more.
        let _ = stdin.write_all(upload).await;
    };
    let mut said = Vec::new();
    let heard = async {
        let mut stderr = stderr.take(SAID_BYTES);
        stderr.read_to_end(&mut said).await
    };
    let ((), heard) = tokio::join!(fed, heard);
    heard?;
    let status = child.wait().await?;
    Ok(Output { status, said })
}

fn complaint(output: &Output, limits: &Limits) -> String {
    let said = String::from_utf8_lossy(&output.said);
    // A panic's own words are for the operator.
    tracing::warn!(status = %output.status, %said, "an upload could not be judged");
    match output.status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::XCPU | Signal::KILL) => {
            let limit = limits.compile_millis;
            format!("compiling took more than compileMillis ({limit}) of CPU time")
        }
        Some(_) => {
            let limit = limits.compile_memory_bytes;
            format!("compiling needed more than compileMemoryBytes ({limit})")
        }
        None => "the compiler gave up on it".into(),
    }
}

/// The worker's whole life. `limits` is JSON.
pub fn worker(limits: &str) -> Result<(), String> {
    let limits: Limits = serde_json::from_str(limits).map_err(|error| error.to_string())?;
    confine(&limits).map_err(|error| format!("setting limits: {error}"))?;
    let mut upload = Vec::new();
    std::io::stdin().read_to_end(&mut upload).map_err(|error| error.to_string())?;
    // Deep nesting recurses; the main thread's stack is whatever the shell allows.
    let judging = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let mut inspection = inspect(&upload, &limits);
        if inspection.problems.is_empty() {
            let component = head_start(&inspection.component, limits.memory_bytes);
            let compiled =
                engine::compiling().and_then(|engine| engine.precompile_component(&component));
            match compiled {
                Ok(artifact) => std::io::stdout().write_all(&artifact)?,
                Err(error) => inspection.refuse("body", short(&format!("{error:#}"))),
            }
        }
        Ok::<_, std::io::Error>(inspection)
    });
    let judged = judging.map_err(|error| error.to_string())?.join();
    let judged = judged.map_err(|_| "it panicked".to_owned())?;
    let inspection = judged.map_err(|error| error.to_string())?;
    let verdict = Verdict { inspection, peak_bytes: peak_memory() };
    eprint!("{}", serde_json::to_string(&verdict).map_err(|error| error.to_string())?);
    Ok(())
}

fn short(why: &str) -> String {
    why.chars().take(COMPLAINT).collect()
}

fn confine(limits: &Limits) -> rustix::io::Result<()> {
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, limit(limits.compile_memory_bytes))?;
    setrlimit(Resource::Cpu, limit(limits.compile_millis.div_ceil(1000).max(1)))?;
    setrlimit(Resource::Fsize, limit(ARTIFACT_BYTES))?;
    setrlimit(Resource::Core, limit(0))?;
    // Events and requests go first.
    rustix::process::nice(10)?;
    Ok(())
}

/// The most memory this process has had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// This very program, which is also the worker.
pub fn this_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
