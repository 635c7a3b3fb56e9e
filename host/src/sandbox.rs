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
mod compile;
mod egress;
mod engine;
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
mod stdio;
mod threads;
mod turnstile;
mod world;

pub use compile::{Compiled, this_program, worker};
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
pub use turnstile::{Full, Standing};

use crate::{
    error::{Error, Result},
    id::AgentId,
    seal::{Key, hex},
    timestamp::Timestamp,
};
use artifact::Artifacts;
use bytes::Bytes;
use compile::Judgement;
use dashmap::DashMap;
use futures::FutureExt;
use guest::Guest;
use meter::Meter;
use sha2::{Digest, Sha256};
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use threads::{Begin, Threads, seat};
use tokio::{runtime::Handle, sync::Semaphore};
use turnstile::Turnstile;
use wasmtime::{Engine, component::Linker};
use world::{Agent, AgentPre};

/// Components kept ready in memory; a mapped one costs some pages of address
/// space and the pages it uses.
const READY: usize = 512;

/// One upload is compiled at a time: the compiler takes a core and up to
/// `compileMemoryBytes`.
const COMPILES: usize = 1;

pub struct Config {
    pub pool: Pool,
    pub limits: Limits,
    /// Where compiled components are kept.
    pub folder: PathBuf,
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
    compiles: Semaphore,
    trials: Semaphore,
    turnstile: Turnstile,
    threads: Threads,
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
    pub sha256: String,
    pub inspection: Inspection,
    pub compiled: Option<Compiled>,
}

impl Sandbox {
    /// Blocks while the pool is reserved; call it at start, inside a runtime, whose
    /// clock and sockets guests use.
    pub fn open(config: Config) -> Result<Self> {
        let threads = Threads::start(config.threads.max(1), &Handle::current())?;
        let engines = engine::serving(&config.pool, threads.seats()).map_err(internal)?;
        let linkers = engines.iter().map(linker).collect::<wasmtime::Result<Vec<_>>>();
        Ok(Self {
            artifacts: Arc::new(Artifacts::open(config.folder, config.key)?),
            linkers: Arc::new(linkers.map_err(internal)?),
            engines: Arc::new(engines),
            worker: config.worker,
            ready: DashMap::new(),
            uses: AtomicU64::new(0),
            compiles: Semaphore::new(COMPILES),
            trials: Semaphore::new(engine::TRIALS as usize),
            turnstile: Turnstile::default(),
            threads,
            limits: Arc::new(config.limits),
        })
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Inspects, compiles and tries an upload. Problems are in the answer; an
    /// error is the platform's.
    pub async fn admit(&self, upload: Bytes) -> Result<Admission> {
        let hashed = upload.clone();
        let sha256 = tokio::task::spawn_blocking(move || hex(&Sha256::digest(&hashed)));
        let sha256 = sha256.await.map_err(Error::internal)?;
        let Judgement { mut inspection, compiled } = self.judge(&sha256, &upload).await?;
        if inspection.problems.is_empty()
            && let Err(why) = self.try_out(&sha256).await
        {
            inspection.refuse("body", why);
        }
        Ok(Admission { sha256, inspection, compiled })
    }

    /// The component of that digest, ready to run. `upload` fetches the bytes in
    /// case it has to be compiled again (another machine, a new Wasmtime).
    pub async fn load(
        &self,
        sha256: &str,
        upload: impl Future<Output = Result<Bytes>>,
    ) -> Result<Arc<Component>> {
        if let Some(component) = self.ready(sha256).await? {
            return Ok(component);
        }
        let upload = upload.await?;
        let broken = |why: String| Error::internal(anyhow::anyhow!("component {sha256}: {why}"));
        let Judgement { inspection, .. } = self.judge(sha256, &upload).await?;
        if let Some(problem) = inspection.problems.first() {
            return Err(broken(format!("{}: {}", problem.pointer, problem.detail)));
        }
        self.ready(sha256).await?.ok_or_else(|| broken("does not load".into()))
    }

    /// Handles one event: waits for a place, runs a fresh instance, tells how it
    /// went. When the caller is dropped, so is the guest.
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
        let (engines, meter) = (Arc::clone(&self.engines), Arc::<Meter>::default());
        let (sha256, counted) = (component.sha256.clone(), Arc::clone(&meter));
        let event = self.threads.spawn(Begin::Anywhere, meter, async move {
            let _place = place;
            let (engine, pre) = (&engines[seat()], &component.pres[seat()]);
            run::run(engine, pre, &component.sha256, job, counted).await
        });
        let mut receipt = match AssertUnwindSafe(event).catch_unwind().await {
            Ok(receipt) => receipt,
            Err(_) => run::lost(limits, facts, &sha256),
        };
        receipt.queue_micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        Ok(receipt)
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
    async fn judge(&self, sha256: &str, upload: &[u8]) -> Result<Judgement> {
        let _turn = self.compiles.acquire().await;
        let draft = self.artifacts.draft();
        let _gone = RemoveOnDrop(&draft);
        let judged = compile::judge(&self.worker, &self.limits, upload, &draft).await?;
        if judged.compiled.is_some() {
            let (artifacts, engine) = (Arc::clone(&self.artifacts), self.engines[0].clone());
            let (name, path) = (sha256.to_owned(), draft.clone());
            let kept = tokio::task::spawn_blocking(move || artifacts.keep(&engine, &name, &path));
            kept.await.map_err(Error::internal)??;
            self.ready.remove(sha256);
        }
        Ok(judged)
    }

    /// Links the component and instantiates it once, with nothing in its scope.
    async fn try_out(&self, sha256: &str) -> Result<(), String> {
        let component = self.ready(sha256).await.map_err(|error| match error.cause {
            Some(cause) => format!("{cause:#}"),
            None => error.detail,
        })?;
        let component = component.ok_or("it does not load")?;
        let _turn = self.trials.acquire().await;
        let (engines, job) = (Arc::clone(&self.engines), trial(&self.limits));
        let meter = Arc::<Meter>::default();
        let counted = Arc::clone(&meter);
        let trial = self.threads.spawn(Begin::Slow, meter, async move {
            run::instantiate(&engines[seat()], &component.pres[seat()], job, counted).await
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

fn trial(limits: &Arc<Limits>) -> Job {
    Job {
        event: Event::Started,
        facts: Facts {
            session_id: "trial".into(),
            started_at: Timestamp::from_micros(0).expect("1970 is in range"),
            event_id: "trial".into(),
            attempt: 1,
        },
        scope: Arc::new(Nothing),
        limits: Arc::clone(limits),
    }
}

fn internal(error: wasmtime::Error) -> Error {
    Error::internal(anyhow::anyhow!("{error:#}"))
}

struct RemoveOnDrop<'a>(&'a std::path::Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}
