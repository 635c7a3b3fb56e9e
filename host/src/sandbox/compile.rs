//! Judging an upload in a process of its own: reading it, holding it against the
//! world, compiling it.
//!
//! What that costs is not bounded by the upload's size (331 KiB can cost Cranelift
//! 13 s and 1 GiB; 100 KB of names cost the validator seconds), and the libraries'
//! authors do not promise otherwise. So it happens in `aiybiz compile-worker`, which
//! confines itself (`worker.rs`): the upload is its standard input, the artifact its
//! standard output, which is the file to be, and what there is to say is the last
//! line of its standard error. Here is the parent's side, which enforces the time
//! limit by killing it.

use super::{
    inspect::Inspection,
    limits::Limits,
    spool::{Draft, Upload},
    worker::{ARTIFACT_BYTES, Verdict},
};
use crate::error::Problem;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};

/// What is heard of the worker; an inspection bounds its own lists.
const SAID_BYTES: u64 = 4 << 20;

/// What compiling cost; part of the version's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compiled {
    /// From the worker's start to its end; waiting for a turn is not counted.
    pub ms: u64,
    pub peak_bytes: u64,
    pub code_bytes: u64,
}

/// What became of an upload: `compiled`, or the inspection has problems.
pub(super) struct Judgement {
    pub(super) inspection: Inspection,
    pub(super) compiled: Option<Compiled>,
}

/// How the worker ended.
enum End {
    /// With its exit status.
    Itself(ExitStatus),
    /// Killed, for taking too long.
    Late,
    /// Killed, for talking too much.
    Talkative,
}

/// Judges `upload`; if there is nothing to object to, the artifact is in the file
/// `draft`.
pub(super) async fn judge(
    worker: &Path,
    limits: &Limits,
    upload: &Upload,
    draft: &Draft,
) -> io::Result<Judgement> {
    let begun = Instant::now();
    let mut child = start(worker, limits, upload, draft)?;
    let mut said = Vec::new();
    let allowed = Duration::from_millis(limits.compile_millis);
    let end = match tokio::time::timeout(allowed, hear(&mut child, &mut said)).await {
        Ok(end) => end?,
        Err(_) => End::Late,
    };
    if !matches!(end, End::Itself(_)) {
        // Gone for certain before the next one begins.
        child.kill().await?;
    }
    // A panic's own words may come before it.
    let last = said.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let verdict = serde_json::from_slice::<Verdict>(last);
    let verdict = match (&end, verdict) {
        (End::Itself(status), Ok(verdict)) if status.success() => verdict,
        _ => return Ok(refused(complaint(&end, &said, limits))),
    };
    let compiled = verdict.inspection.problems.is_empty().then(|| Compiled {
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        peak_bytes: verdict.peak_bytes,
        code_bytes: verdict.code_bytes,
    });
    Ok(Judgement { inspection: verdict.inspection, compiled })
}

fn start(worker: &Path, limits: &Limits, upload: &Upload, draft: &Draft) -> io::Result<Child> {
    // The worker dies with the thread that starts it: one of the runtime's, which
    // live as long as it does, since nothing here uses `block_in_place`.
    Command::new(worker)
        .arg("compile-worker")
        .arg(serde_json::to_string(limits)?)
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .stdin(upload.open()?)
        .stdout(draft.create()?)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn hear(child: &mut Child, said: &mut Vec<u8>) -> io::Result<End> {
    let stderr = child.stderr.take().expect("it was asked to be a pipe");
    stderr.take(SAID_BYTES + 1).read_to_end(said).await?;
    if said.len() as u64 > SAID_BYTES {
        return Ok(End::Talkative);
    }
    child.wait().await.map(End::Itself)
}

fn refused(why: String) -> Judgement {
    let problem = Problem { pointer: "body".into(), detail: why };
    let inspection = Inspection { problems: vec![problem], ..Inspection::default() };
    Judgement { inspection, compiled: None }
}

/// For the builder; a panic's own words are for the operator.
fn complaint(end: &End, said: &[u8], limits: &Limits) -> String {
    let Limits { compile_millis: millis, compile_memory_bytes: memory, .. } = limits;
    let status = match end {
        End::Itself(status) => status,
        End::Late => return format!("compiling took longer than compileMillis ({millis})"),
        End::Talkative => return format!("there is more to say of it than {SAID_BYTES} bytes"),
    };
    let said = String::from_utf8_lossy(&said[..said.len().min(1_000)]);
    tracing::warn!(%status, %said, "an upload could not be judged");
    match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::XCPU) => {
            format!("compiling took more than compileMillis ({millis}) of CPU time")
        }
        Some(Signal::XFSZ) => {
            format!("its machine code would have more than {ARTIFACT_BYTES} bytes")
        }
        // Its own limits end it in other ways.
        Some(Signal::KILL) => "the compiler was killed, perhaps because the platform's machine \
                               ran out of memory; upload it again"
            .into(),
        Some(_) if said.contains("has overflowed its stack") => {
            "it nests, or repeats itself, without an end that the compiler could reach".into()
        }
        Some(_) => format!("compiling needed more than compileMemoryBytes ({memory})"),
        None => "the compiler gave up on it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None of these can be brought about quickly by an upload.
    #[test]
    fn every_way_to_end_has_its_own_verdict() {
        let limits = Limits::default();
        let by = |signal: Signal| End::Itself(ExitStatus::from_raw(signal.as_raw()));
        let cases = [
            (by(Signal::XFSZ), "machine code would have more than 536870912 bytes"),
            (by(Signal::KILL), "was killed"),
            (by(Signal::XCPU), "compileMillis (60000) of CPU time"),
            (by(Signal::ABORT), "compileMemoryBytes (2147483648)"),
            (by(Signal::SEGV), "compileMemoryBytes (2147483648)"),
            (End::Itself(ExitStatus::from_raw(101 << 8)), "gave up"),
            (End::Talkative, "more to say of it than 4194304 bytes"),
            (End::Late, "longer than compileMillis (60000)"),
        ];
        for (end, words) in cases {
            let complaint = complaint(&end, b"a panic", &limits);
            assert!(complaint.contains(words), "{complaint}");
        }
        let said = b"thread '<unnamed>' has overflowed its stack";
        let complaint = complaint(&by(Signal::ABORT), said, &limits);
        assert!(complaint.contains("nests, or repeats itself"), "{complaint}");
    }
}
