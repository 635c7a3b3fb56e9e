//! Where strangers' code runs.
//!
//! The sandbox knows bytes, the WIT world and limits; it knows no database and no
//! routes. An upload is inspected, compiled in a process of its own and tried
//! ([`Sandbox::admit`]); an event is handled by a fresh instance that can reach
//! what its `Scope` offers and nothing else ([`Sandbox::handle`]), and always
//! leaves a [`Receipt`].
//!
//! Guests run on threads of their own (`threads`), so that a busy one never delays
//! an answer to a client, and hardly another guest.

mod artifact;
mod bounds;
mod compile;
mod egress;
mod engine;
mod explain;
mod guest;
mod headstart;
mod imports;
mod inspect;
mod limiter;
mod limits;
mod meter;
mod receipt;
mod run;
mod scope;
mod shape;
mod signatures;
mod site;
mod spool;
mod stdio;
mod threads;
mod turnstile;
mod uploads;
mod warm;
mod worker;
mod world;

pub use artifact::ARTIFACTS;
pub use bounds::Senseless;
pub use compile::Compiled;
pub use egress::HttpCall;
pub use guest::Facts;
pub use headstart::head_start;
pub(crate) use imports::session::REPLY_BYTES;
pub use inspect::{Inspection, inspect};
pub use limits::{Limits, Pool};
pub use receipt::{LogEntry, Outcome, Receipt};
pub use run::{Ended, Event, Job};
pub use scope::{Answer, Author, Denied, Draft, File, Message, Nothing, Scope, Secret, State};
pub use shape::{FUNCTION_BYTES, FUNCTION_KNOTS, FUNCTION_LOCALS, FUNCTIONS, MODULES};
pub use site::{Site, check_site};
pub use spool::{Spool, Upload};
pub use turnstile::{Full, Standing};
pub use uploads::{Place, Turn};
pub use warm::{Keep, Waiting};
pub use worker::{this_program, worker};

use crate::{
    error::{Error, Result},
    id::{AgentId, BuilderId},
    seal::Key,
    timestamp::Timestamp,
};
use artifact::Artifacts;
use bytes::Bytes;
use compile::Judgement;
use dashmap::DashMap;
use futures::FutureExt;
use guest::Guest;
use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use threads::{Known, Threads, seat};
use tokio::{runtime::Handle, sync::Semaphore};
use turnstile::Turnstile;
use uploads::Uploads;
use warm::{Kept, Warm};
use wasmtime::{Engine, component::Linker};
use world::{Agent, AgentPre};

/// Components kept ready in memory; a mapped one costs some pages of address
/// space and the pages it uses.
const READY: usize = 512;

/// What the trial of an upload may take of its own code's time, in milliseconds.
/// Every event pays for instantiation, so an agent that needs longer is of no use;
/// and strangers' start-up code must not keep the places for trials.
const TRIAL_CPU: u64 = 1_000;

/// The same on the clock: starting needs to wait for nothing.
const TRIAL_WALL: u64 = 5_000;

pub struct Config {
    pub pool: Pool,
    pub limits: Limits,
    /// Where compiled components are kept.
    pub folder: PathBuf,
    /// Bytes that they may take; the least recently used go first.
    pub artifact_bytes: u64,
    pub key: Key,
    /// The program that is run as `compile-worker`.
    pub worker: PathBuf,
    /// Threads for guests.
    pub threads: usize,
}

pub struct Sandbox {
    /// One for each seat of `threads`.
    engines: Arc<Vec<Engine>>,
    linkers: Arc<Vec<Linker<Guest>>>,
    limits: Arc<Limits>,
    worker: PathBuf,
    artifacts: Arc<Artifacts>,
    ready: DashMap<String, Arc<Component>>,
    uses: AtomicU64,
    uploads: Uploads,
    trials: Semaphore,
    turnstile: Turnstile,
    threads: Arc<Threads>,
    warm: Arc<Warm>,
    /// Slots for instances, of all seats together.
    slots: u64,
}

/// A component that is ready to be instantiated.
pub struct Component {
    pub sha256: String,
    /// One for each engine.
    pres: Vec<AgentPre<Guest>>,
    used: AtomicU64,
}

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
    /// Blocks while the pool is reserved; call it at start, inside a runtime, whose
    /// clock and sockets guests use.
    pub fn open(config: Config) -> Result<Self> {
        let seats = config.threads.max(1);
        let each = config.pool.instances.div_ceil(seats as u64);
        let engines = engine::serving(&config.pool, seats, each).map_err(internal)?;
        let each = usize::try_from(each).unwrap_or(usize::MAX);
        let threads = Threads::start(seats, each, &Handle::current())?;
        let linkers = engines.iter().map(linker).collect::<wasmtime::Result<Vec<_>>>();
        let artifacts = Artifacts::open(config.folder, config.key, config.artifact_bytes)?;
        Ok(Self {
            artifacts: Arc::new(artifacts),
            linkers: Arc::new(linkers.map_err(internal)?),
            engines: Arc::new(engines),
            worker: config.worker,
            ready: DashMap::new(),
            uses: AtomicU64::new(0),
            uploads: Uploads::default(),
            trials: Semaphore::new(engine::TRIALS as usize),
            turnstile: Turnstile::default(),
            threads: Arc::new(threads),
            warm: Arc::new(Warm::new(config.pool.warm_bytes)),
            slots: config.pool.instances,
            limits: Arc::new(config.limits),
        })
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

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
        Spool::begin(self.artifacts.folder())
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
        if let Some(component) = self.ready(sha256).await? {
            return Ok(component);
        }
        let turn = self.turn().await;
        // Somebody else may have had it compiled meanwhile.
        if let Some(component) = self.ready(sha256).await? {
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
        self.ready(sha256).await?.ok_or_else(|| broken("does not load".into()))
    }

    /// Handles one event: waits for a place, runs an instance, tells how it went.
    /// When the caller is dropped, so is the guest.
    pub async fn handle(
        &self,
        agent: AgentId,
        component: Arc<Component>,
        job: Job,
    ) -> Result<Receipt, Full> {
        let queued = Instant::now();
        let place = self.turnstile.enter(agent, &job.limits).await?;
        let waited = queued.elapsed();
        let (limits, facts) = (Arc::clone(&job.limits), job.facts.clone());
        let sha256 = component.sha256.clone();
        let kept = self.kept(&job, &sha256);
        let (instance, slot) = kept.map(|kept| (kept.instance, kept.slot)).unzip();
        let known = slot.map_or_else(Arc::default, Known::at);
        let (engines, own) = (Arc::clone(&self.engines), Arc::clone(&known));
        let (warm, threads) = (Arc::clone(&self.warm), Arc::clone(&self.threads));
        let event = self.threads.spawn(&known, async move {
            let _place = place;
            let instance =
                instance.and_then(|kept: run::Instance| kept.renewed(&job, Arc::clone(&own)));
            let fresh = || run::Instance::fresh(&engines[seat()], &job, Arc::clone(&own));
            let instance = instance.unwrap_or_else(fresh);
            let (keep, most) = (job.keep, job.limits.warm_instances);
            let pre = &component.pres[seat()];
            let (receipt, instance) = run::run(instance, pre, &component.sha256, job).await;
            if let (Some(keep), Some(instance), Some(slot)) = (keep, instance, own.take_slot()) {
                let (sha256, bytes) = (component.sha256.clone(), instance.bytes());
                let Keep { session, seq, now: since, .. } = keep;
                let kept = Kept { instance, slot, agent, sha256, bytes, seq, since };
                for gone in warm.put(session, kept, most) {
                    threads.let_go(gone);
                }
            }
            receipt
        });
        let mut receipt = match AssertUnwindSafe(event).catch_unwind().await {
            Ok(receipt) => receipt,
            Err(_) => run::lost(limits, facts, &sha256),
        };
        receipt.queue_micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        Ok(receipt)
    }

    /// The session's kept instance, if it is good for this event. Where there would
    /// be no slot for a fresh one, the one that has waited longest goes.
    fn kept(&self, job: &Job, sha256: &str) -> Option<Kept> {
        let kept = job.keep.as_ref().map_or(Ok(None), |keep| self.warm.take(keep, sha256));
        let found = kept.unwrap_or_else(|misfit| {
            self.threads.let_go(misfit);
            None
        });
        if found.is_none() && self.turnstile.running() + self.warm.count() > self.slots {
            self.threads.let_go(self.warm.give_way());
        }
        found
    }

    /// Lets go of instances that nobody has used for long.
    pub fn tidy(&self, now: Timestamp) {
        self.threads.let_go(self.warm.idle(now));
    }

    /// Instances that are kept between events.
    pub fn waiting(&self) -> Waiting {
        self.warm.waiting()
    }

    /// How this agent's events stand in this process.
    pub fn standing(&self, agent: AgentId) -> Standing {
        self.turnstile.standing(agent)
    }

    /// How all events stand in this process.
    pub fn standing_in_all(&self) -> Standing {
        self.turnstile.in_all()
    }

    /// Judges an upload and keeps the artifact, if there is one.
    async fn judge(&self, _turn: Turn, upload: &Upload, limits: &Limits) -> Result<Judgement> {
        let draft = spool::Draft::new(self.artifacts.folder());
        let judged = compile::judge(&self.worker, limits, upload, &draft).await?;
        if judged.compiled.is_some() {
            let (artifacts, engine) = (Arc::clone(&self.artifacts), self.engines[0].clone());
            let name = upload.sha256.clone();
            let kept = tokio::task::spawn_blocking(move || artifacts.keep(&engine, &name, &draft));
            kept.await.map_err(Error::internal)??;
            self.ready.remove(&upload.sha256);
        }
        Ok(judged)
    }

    /// Links the component and instantiates it once, with nothing in its scope.
    async fn try_out(&self, sha256: &str, limits: &Limits) -> Result<(), String> {
        let component = self.ready(sha256).await.map_err(|error| match error.cause {
            Some(cause) => format!("{cause:#}"),
            None => error.detail,
        })?;
        let component = component.ok_or("it does not load")?;
        let _turn = self.trials.acquire().await;
        let (engines, job) = (Arc::clone(&self.engines), trial(limits));
        let known = Known::slow();
        let own = Arc::clone(&known);
        let trial = self.threads.spawn(&known, async move {
            run::instantiate(&engines[seat()], &component.pres[seat()], job, own).await
        });
        let tried = AssertUnwindSafe(trial).catch_unwind().await;
        let tried = tried.map_err(|_| "the platform failed to try it".to_owned())?;
        tried.map_err(|error| format!("cannot be instantiated: {:#}", error.root_cause()))
    }

    /// From memory or from disk.
    async fn ready(&self, sha256: &str) -> Result<Option<Arc<Component>>> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(component) = self.ready.get(sha256) {
            component.used.store(now, Ordering::Relaxed);
            return Ok(Some(Arc::clone(&component)));
        }
        // Reading some 40 MB and linking: not for a thread that serves requests.
        let (artifacts, linkers) = (Arc::clone(&self.artifacts), Arc::clone(&self.linkers));
        let (engines, name) = (Arc::clone(&self.engines), sha256.to_owned());
        let loading = tokio::task::spawn_blocking(move || {
            let load = |(engine, linker): (&Engine, &Linker<Guest>)| {
                let component = artifacts.load(engine, &name)?;
                Some(linker.instantiate_pre(&component).and_then(AgentPre::new))
            };
            engines.iter().zip(linkers.iter()).map(load).collect::<Option<Vec<_>>>()
        });
        let Some(pres) = loading.await.map_err(Error::internal)? else { return Ok(None) };
        let pres = pres.into_iter().collect::<wasmtime::Result<Vec<_>>>().map_err(internal)?;
        let used = AtomicU64::new(now);
        let component = Arc::new(Component { sha256: sha256.to_owned(), pres, used });
        self.make_room();
        self.ready.insert(sha256.to_owned(), Arc::clone(&component));
        Ok(Some(component))
    }

    /// Forgets the component that was not used for longest. Its file stays.
    fn make_room(&self) {
        if self.ready.len() < READY {
            return;
        }
        let oldest = self.ready.iter().min_by_key(|entry| entry.used.load(Ordering::Relaxed));
        if let Some(sha256) = oldest.map(|entry| entry.key().clone()) {
            self.ready.remove(&sha256);
        }
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Agent::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

fn trial(limits: &Limits) -> Job {
    let limits = Limits {
        cpu_millis: limits.cpu_millis.min(TRIAL_CPU),
        wall_millis: limits.wall_millis.min(TRIAL_WALL),
        ..limits.clone()
    };
    Job {
        event: Event::Started,
        facts: Facts {
            session_id: "trial".into(),
            started_at: Timestamp::from_micros(0).expect("1970 is in range"),
            event_id: "trial".into(),
            attempt: 1,
        },
        scope: Arc::new(Nothing),
        limits: Arc::new(limits),
        keep: None,
    }
}

fn internal(error: wasmtime::Error) -> Error {
    Error::internal(anyhow::anyhow!("{error:#}"))
}
