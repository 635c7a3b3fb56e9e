//! Where strangers' code runs.
//!
//! The sandbox knows bytes, the WIT world and limits; it knows no database and no
//! routes. An upload is inspected, compiled in a process of its own and tried
//! ([`Sandbox::admit`]); an event is handled by a fresh instance that can reach
//! what its `Scope` offers and nothing else ([`Sandbox::handle`]), and always
//! leaves a [`Receipt`].
//!
//! Guests run on threads of their own, so that a busy one never delays an answer
//! to a client.

mod artifact;
mod compile;
mod egress;
mod engine;
mod guest;
mod imports;
mod inspect;
mod limiter;
mod limits;
mod receipt;
mod run;
mod scope;
mod shape;
mod signatures;
mod site;
mod stdio;
mod world;

pub use compile::{Compiled, this_program, worker};
pub use egress::HttpCall;
pub use guest::Facts;
pub(crate) use imports::session::REPLY_BYTES;
pub use inspect::{Inspection, inspect};
pub use limits::{Limits, Pool};
pub use receipt::{LogEntry, Outcome, Receipt};
pub use run::{Ended, Event, Job};
pub use scope::{Answer, Author, Denied, Draft, File, Message, Nothing, Scope, Secret, State};
pub use shape::{FUNCTION_BYTES, FUNCTION_KNOTS, FUNCTION_LOCALS, FUNCTIONS, MODULES};
pub use site::{Site, check_site};

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
use guest::Guest;
use sha2::{Digest, Sha256};
use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::{runtime::Runtime, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;
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
    engine: Engine,
    linker: Arc<Linker<Guest>>,
    limits: Arc<Limits>,
    worker: PathBuf,
    artifacts: Arc<Artifacts>,
    ready: DashMap<String, Arc<Component>>,
    uses: AtomicU64,
    compiles: Semaphore,
    trials: Semaphore,
    total: Semaphore,
    per_agent: DashMap<AgentId, Arc<Semaphore>>,
    /// None only while the sandbox is being dropped.
    guests: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
}

/// A component that is ready to be instantiated.
pub struct Component {
    pub sha256: String,
    pre: AgentPre<Guest>,
    used: AtomicU64,
}

/// What became of an upload.
pub struct Admission {
    pub sha256: String,
    pub inspection: Inspection,
    pub compiled: Option<Compiled>,
}

impl Sandbox {
    /// Blocks while the pool is reserved; call it at start.
    pub fn open(config: Config) -> Result<Self> {
        let engine = engine::serving(&config.pool).map_err(internal)?;
        let linker = Arc::new(linker(&engine).map_err(internal)?);
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("guest")
            .enable_all()
            .build()?;
        let total = usize::try_from(config.limits.concurrent_events_total).unwrap_or(usize::MAX);
        Ok(Self {
            artifacts: Arc::new(Artifacts::open(config.folder, config.key)?),
            linker,
            engine,
            worker: config.worker,
            ready: DashMap::new(),
            uses: AtomicU64::new(0),
            compiles: Semaphore::new(COMPILES),
            trials: Semaphore::new(engine::TRIALS as usize),
            total: Semaphore::new(total.min(Semaphore::MAX_PERMITS)),
            per_agent: DashMap::new(),
            limits: Arc::new(config.limits),
            handle: guests.handle().clone(),
            guests: Mutex::new(Some(guests)),
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
    pub async fn handle(&self, agent: AgentId, component: Arc<Component>, job: Job) -> Receipt {
        let queued = Instant::now();
        let places = Arc::clone(
            self.per_agent
                .entry(agent)
                .or_insert_with(|| {
                    let places =
                        usize::try_from(self.limits.concurrent_events).unwrap_or(usize::MAX);
                    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
                })
                .value(),
        );
        // Neither is ever closed, so both give a permit in the end.
        let _own = places.acquire().await;
        let _total = self.total.acquire().await;
        let waited = queued.elapsed();
        let engine = self.engine.clone();
        let (limits, facts) = (Arc::clone(&job.limits), job.facts.clone());
        let sha256 = component.sha256.clone();
        let guest = self
            .handle
            .spawn(async move { run::run(&engine, &component.pre, &component.sha256, job).await });
        let mut receipt = match AbortOnDropHandle::new(guest).await {
            Ok(receipt) => receipt,
            Err(error) => run::lost(limits, facts, &sha256, &error.to_string()),
        };
        receipt.queue_micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        receipt
    }

    /// Judges an upload and keeps the artifact, if there is one.
    async fn judge(&self, sha256: &str, upload: &[u8]) -> Result<Judgement> {
        let _turn = self.compiles.acquire().await;
        let draft = self.artifacts.draft();
        let _gone = RemoveOnDrop(&draft);
        let judged = compile::judge(&self.worker, &self.limits, upload, &draft).await?;
        if judged.compiled.is_some() {
            let (artifacts, engine) = (Arc::clone(&self.artifacts), self.engine.clone());
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
        let (engine, job) = (self.engine.clone(), trial(&self.limits));
        let trial =
            self.handle.spawn(async move { run::instantiate(&engine, &component.pre, job).await });
        let tried = trial.await.map_err(|error| error.to_string())?;
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
        let (artifacts, linker) = (Arc::clone(&self.artifacts), Arc::clone(&self.linker));
        let (engine, name) = (self.engine.clone(), sha256.to_owned());
        let loading = tokio::task::spawn_blocking(move || {
            let component = artifacts.load(&engine, &name)?;
            Some(linker.instantiate_pre(&component).and_then(AgentPre::new))
        });
        let Some(pre) = loading.await.map_err(Error::internal)? else { return Ok(None) };
        let pre = pre.map_err(internal)?;
        let used = AtomicU64::new(now);
        let component = Arc::new(Component { sha256: sha256.to_owned(), pre, used });
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

impl Drop for Sandbox {
    fn drop(&mut self) {
        let guests = self.guests.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(guests) = guests {
            // A guest's thread may be inside a guest; nobody waits for it.
            guests.shutdown_background();
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
