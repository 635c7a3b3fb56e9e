//! `aiybiz inspect FILE`: what an upload would answer, and how near it comes to each
//! limit. It does what an upload does, in the same confined process, in a folder that
//! goes when it is done: no database and no data folder.

use crate::{
    api,
    clock::Clock,
    config::Config,
    sandbox::{self, Admission, Pool, Sandbox, Spool, Upload},
    seal::Key,
};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::Path;
use tokio::{fs::File, io::AsyncReadExt};

/// Read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Prints it as JSON; an error when it would be refused.
pub(super) async fn run(config: Config, file: &Path) -> Result<()> {
    let limits = config.limits.clone();
    let folder = tempfile::Builder::new().prefix("aiybiz-inspect-").tempdir()?;
    let sandbox = Sandbox::open(sandbox::Config {
        // One instance, for the trial.
        pool: Pool { instances: 1, ..config.pool },
        limits: config.limits,
        folder: folder.path().to_owned(),
        artifact_bytes: sandbox::ARTIFACTS,
        // Nobody will ask for its seals again.
        key: Key::new(Clock::default().random(), &[]),
        worker: sandbox::this_program(),
        threads: 1,
    })?;
    let name = || file.display().to_string();
    let size = std::fs::metadata(file).with_context(name)?.len();
    let (sha256, admission) = if size > limits.component_bytes {
        (None, Admission::too_large(size, &limits))
    } else {
        let upload = read(file, sandbox.spool()?).await.with_context(name)?;
        let admission = sandbox.admit(sandbox.turn().await, &upload, &limits).await?;
        (Some(upload.sha256.clone()), admission)
    };
    let headroom = admission.headroom(&limits);
    let report = api::report(admission);
    let refusal = report.problems.first().map(|why| format!("{} {}", why.pointer, why.detail));
    let state = if refusal.is_none() { "ready" } else { "refused" };
    let said = json!({
        "sha256": sha256, "sizeBytes": size, "state": state,
        "world": report.world, "imports": report.imports, "metadata": report.metadata,
        "warnings": report.warnings, "problems": report.problems, "compile": report.compile,
        "headroom": headroom,
    });
    println!("{}", serde_json::to_string_pretty(&said)?);
    match refusal {
        Some(why) => bail!("refused: {why}"),
        None => Ok(()),
    }
}

async fn read(file: &Path, mut spool: Spool) -> Result<Upload> {
    let mut file = File::open(file).await?;
    loop {
        let mut piece = Vec::new();
        if (&mut file).take(PIECE_BYTES).read_to_end(&mut piece).await? == 0 {
            return Ok(spool.finish().await?);
        }
        spool.write(&piece.into()).await?;
    }
}
