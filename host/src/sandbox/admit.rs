//! From upload to artifact: a place in the queue, the worker's judgement, one trial.

use super::{
    Sandbox,
    compile::{self, Compiled, Judgement},
    inspect::Inspection,
    limits::Limits,
    ready::Component,
    run::{self, Event, Job},
    scope::Nothing,
    spool::{self, Spool, Upload},
    threads::{Known, seat},
    uploads::{Place, Turn},
};
use crate::{
    error::{Error, Result},
    id::BuilderId,
};
use bytes::Bytes;
use futures::FutureExt;
use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc};

/// What the trial of an upload may take of its own code's time, in milliseconds.
/// Every event pays for instantiation, so an agent that needs longer is of no use;
/// and strangers' start-up code must not keep the places for trials.
const TRIAL_CPU: u64 = 1_000;

/// The same on the clock: starting needs to wait for nothing.
const TRIAL_WALL: u64 = 5_000;

/// What became of an upload.
pub struct Admission {
    pub inspection: Inspection,
    pub compiled: Option<Compiled>,
}

impl Admission {
    /// Of a file that is not even read.
    pub fn too_large(size: u64, limits: &Limits) -> Self {
        Self { inspection: Inspection::too_large(size, limits), compiled: None }
    }

    /// What is left of each limit on an upload's shape and on compiling it, in
    /// percent.
    pub fn headroom(&self, limits: &Limits) -> BTreeMap<&'static str, u64> {
        self.inspection.shape.headroom(limits, self.compiled.as_ref())
    }
}

impl Sandbox {
    /// A place among the uploads of that builder, or the answer that there is none.
    pub fn enter(&self, builder: BuilderId) -> Result<Place> {
        self.uploads.enter(builder)
    }

    /// Waits until the compiler is free, as somebody who need not wait for builders.
    pub async fn turn(&self) -> Turn {
        self.uploads.turn(None).await
    }

    /// Where an upload can arrive.
    pub fn spool(&self) -> Result<Spool> {
        Spool::begin(self.shelf.artifacts.folder())
    }

    /// An upload that is all here already.
    pub async fn spooled(&self, bytes: &Bytes) -> Result<Upload> {
        let mut spool = self.spool()?;
        spool.write(bytes).await?;
        spool.finish().await
    }

    /// Inspects, compiles and tries an upload. Problems are in the answer; an
    /// error is the platform's.
    pub async fn admit(&self, turn: Turn, upload: &Upload, limits: &Limits) -> Result<Admission> {
        let Judgement { mut inspection, compiled } = self.judge(turn, upload, limits).await?;
        if inspection.problems.is_empty()
            && let Err(why) = self.try_out(&upload.sha256, limits).await
        {
            inspection.refuse("body", why);
            self.shelf.components.remove(&upload.sha256);
            self.shelf.artifacts.forget(&self.shelf.engines[0], &upload.sha256);
        }
        Ok(Admission { inspection, compiled })
    }

    /// The component of that digest, ready to run. `upload` fetches the bytes in
    /// case it has to be compiled again (another machine, a new Wasmtime).
    pub async fn load(
        &self,
        sha256: &str,
        limits: &Limits,
        upload: impl Future<Output = Result<Bytes>>,
    ) -> Result<Arc<Component>> {
        if let Some(component) = self.shelf.find(sha256).await? {
            return Ok(component);
        }
        let turn = self.turn().await;
        // Somebody else may have had it compiled meanwhile.
        if let Some(component) = self.shelf.find(sha256).await? {
            return Ok(component);
        }
        let broken = |why: String| Error::internal(anyhow::anyhow!("component {sha256}: {why}"));
        let upload = self.spooled(&upload.await?).await?;
        if upload.sha256 != sha256 {
            return Err(broken("its upload was changed in the object store".into()));
        }
        let Judgement { inspection, .. } = self.judge(turn, &upload, limits).await?;
        if let Some(problem) = inspection.problems.first() {
            return Err(broken(format!("{}: {}", problem.pointer, problem.detail)));
        }
        self.shelf.find(sha256).await?.ok_or_else(|| broken("does not load".into()))
    }

    /// Judges an upload and keeps the artifact, if there is one.
    async fn judge(&self, _turn: Turn, upload: &Upload, limits: &Limits) -> Result<Judgement> {
        let draft = spool::Draft::new(self.shelf.artifacts.folder());
        let judged = compile::judge(&self.worker, limits, upload, &draft).await?;
        if judged.compiled.is_some() {
            let (artifacts, engine) =
                (Arc::clone(&self.shelf.artifacts), self.shelf.engines[0].clone());
            let name = upload.sha256.clone();
            let kept = tokio::task::spawn_blocking(move || artifacts.keep(&engine, &name, &draft));
            kept.await.map_err(Error::internal)??;
            self.shelf.components.remove(&upload.sha256);
        }
        Ok(judged)
    }

    /// Links the component and instantiates it once, with nothing in its scope.
    async fn try_out(&self, sha256: &str, limits: &Limits) -> Result<(), String> {
        let component = self.shelf.find(sha256).await.map_err(|error| match error.cause {
            Some(cause) => format!("{cause:#}"),
            None => error.detail,
        })?;
        let component = component.ok_or("it does not load")?;
        let _turn = self.trials.acquire().await;
        let (engines, job) = (Arc::clone(&self.shelf.engines), trial(limits));
        let known = Known::patient();
        let own = Arc::clone(&known);
        let trial = self.stage.threads.spawn(&known, async move {
            run::instantiate(&engines[seat()], &component.pres[seat()], job, own).await
        });
        let tried = AssertUnwindSafe(trial).catch_unwind().await;
        let tried = tried.map_err(|_| "the platform failed to try it".to_owned())?;
        tried.map_err(|error| format!("cannot be instantiated: {:#}", error.root_cause()))
    }
}

fn trial(limits: &Limits) -> Job {
    let limits = Limits {
        cpu_millis: limits.cpu_millis.min(TRIAL_CPU),
        wall_millis: limits.wall_millis.min(TRIAL_WALL),
        ..limits.clone()
    };
    Job {
        event: Event::Started,
        facts: run::nobodys(),
        scope: Arc::new(Nothing),
        limits: Arc::new(limits),
        keep: None,
    }
}
