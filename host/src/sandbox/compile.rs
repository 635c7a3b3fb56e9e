//! Compiling an upload in a process of its own.
//!
//! Cranelift's time and memory are not bounded by the size of its input (a 331 KiB
//! upload can cost 13 s and 1 GiB), and its authors do not promise otherwise. So
//! the compiler runs as `aiybiz compile-worker`: no environment, the component on
//! its standard input, the artifact on its standard output, which is the file to
//! be; limits on address space, CPU time and file size that it sets for itself
//! before it reads a byte; and a time limit that its parent enforces by killing it.

use super::{engine, limits::Limits};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, process::Command};

/// The largest artifact: JavaScript's is 37 MB.
const ARTIFACT_BYTES: u64 = 512 << 20;

/// What the worker may say about a failure, in characters.
const COMPLAINT: usize = 2_000;

/// What compiling cost; part of the version's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compiled {
    pub ms: u64,
    pub peak_bytes: u64,
    pub code_bytes: u64,
}

/// Compiles `component` into the file `draft`. The error is a sentence for the
/// builder.
pub(super) async fn compile(
    worker: &Path,
    limits: &Limits,
    component: &[u8],
    draft: &Path,
) -> Result<Compiled, String> {
    let begun = Instant::now();
    let result = drive(worker, limits, component, draft);
    let allowed = Duration::from_millis(limits.compile_millis);
    let output = match tokio::time::timeout(allowed, result).await {
        Ok(output) => output.map_err(|error| format!("the compiler could not be run: {error}"))?,
        Err(_) => {
            return Err(format!(
                "compiling took longer than compileMillis ({})",
                allowed.as_millis()
            ));
        }
    };
    if !output.status.success() {
        return Err(complaint(&output, limits));
    }
    let peak_bytes = String::from_utf8_lossy(&output.stderr).trim().parse().unwrap_or(0);
    let code_bytes = std::fs::metadata(draft).map(|meta| meta.len()).unwrap_or(0);
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Compiled { ms, peak_bytes, code_bytes })
}

async fn drive(
    worker: &Path,
    limits: &Limits,
    component: &[u8],
    draft: &Path,
) -> std::io::Result<std::process::Output> {
    let file = std::fs::File::create(draft)?;
    let seconds = limits.compile_millis.div_ceil(1000).max(1);
    let mut child = Command::new(worker)
        .args(["compile-worker", &limits.compile_memory_bytes.to_string(), &seconds.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was asked to be a pipe");
    let fed = async move {
        // A worker that dies early closes the pipe; its exit status tells more.
        let _ = stdin.write_all(component).await;
    };
    let ((), output) = tokio::join!(fed, child.wait_with_output());
    output
}

fn complaint(output: &std::process::Output, limits: &Limits) -> String {
    use std::os::unix::process::ExitStatusExt;
    let said = String::from_utf8_lossy(&output.stderr);
    // A panic's own words are for the operator, the last line for the builder.
    tracing::warn!(status = %output.status, %said, "an upload did not compile");
    let last = said.lines().next_back().unwrap_or_default();
    let said = last.strip_prefix("aiybiz: ").unwrap_or(last);
    match output.status.signal() {
        Some(signal)
            if signal == rustix::process::Signal::XCPU.as_raw()
                || signal == rustix::process::Signal::KILL.as_raw() =>
        {
            format!(
                "compiling took more than compileMillis ({}) of CPU time",
                limits.compile_millis
            )
        }
        Some(_) => format!(
            "compiling needed more than compileMemoryBytes ({})",
            limits.compile_memory_bytes
        ),
        None => said.chars().take(COMPLAINT).collect(),
    }
}

/// The worker's whole life. Returns its exit code.
pub fn worker(memory_bytes: u64, cpu_seconds: u64) -> Result<(), String> {
    confine(memory_bytes, cpu_seconds).map_err(|error| format!("setting limits: {error}"))?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).map_err(|error| error.to_string())?;
    // Deep nesting recurses; the main thread's stack is whatever the shell allows.
    let compiling = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let engine = engine::compiling()?;
        engine.precompile_component(&component)
    });
    let compiled = compiling.map_err(|error| error.to_string())?.join();
    let artifact = compiled
        .map_err(|_| "the compiler gave up on this component".to_owned())?
        .map_err(|error| format!("{error:#}"))?;
    std::io::stdout().write_all(&artifact).map_err(|error| error.to_string())?;
    eprint!("{}", peak_memory());
    Ok(())
}

fn confine(memory_bytes: u64, cpu_seconds: u64) -> rustix::io::Result<()> {
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::As, limit(memory_bytes))?;
    setrlimit(Resource::Cpu, limit(cpu_seconds))?;
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
