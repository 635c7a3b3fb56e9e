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

mod admit;
mod artifact;
mod bounds;
mod compile;
mod description;
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
mod ready;
mod receipt;
mod run;
mod scope;
mod shape;
mod signatures;
mod site;
mod spool;
mod stage;
mod stdio;
mod threads;
mod turnstile;
mod uploads;
mod warm;
mod wasi;
mod worker;
mod world;

pub use admit::Admission;
pub use artifact::ARTIFACTS;
pub use bounds::Senseless;
pub use compile::Compiled;
pub use egress::HttpCall;
pub use guest::Facts;
pub use headstart::head_start;
pub(crate) use imports::session::REPLY_BYTES;
pub use inspect::{Inspection, inspect};
pub use limits::{Limits, Pool};
pub use ready::Component;
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
    id::AgentId,
    seal::Key,
    timestamp::Timestamp,
};
use artifact::Artifacts;
use guest::Guest;
use ready::Shelf;
use stage::Stage;
use std::{future::Future, path::PathBuf, sync::Arc};
use threads::{Known, Threads};
use tokio::{runtime::Handle, sync::Semaphore};
use uploads::Uploads;
use wasmtime::{Engine, component::Linker};
use world::Agent;

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
    limits: Arc<Limits>,
    worker: PathBuf,
    shelf: Shelf,
    uploads: Uploads,
    trials: Semaphore,
    stage: Arc<Stage>,
}

impl Sandbox {
    /// Blocks while the pool is reserved; call it at start, inside a runtime, whose
    /// clock and sockets guests use.
    pub fn open(config: Config) -> Result<Self> {
        let seats = config.threads.max(1);
        let each = config.pool.instances.div_ceil(seats as u64);
        let engines = Arc::new(engine::serving(&config.pool, seats, each).map_err(internal)?);
        let each = usize::try_from(each).unwrap_or(usize::MAX);
        let threads = Threads::start(seats, each, &Handle::current())?;
        let linkers = engines.iter().map(linker).collect::<wasmtime::Result<Vec<_>>>();
        let artifacts = Artifacts::open(config.folder, config.key, config.artifact_bytes)?;
        Ok(Self {
            stage: Arc::new(Stage::new(Arc::clone(&engines), threads, &config.pool)),
            shelf: Shelf::new(engines, linkers.map_err(internal)?, artifacts),
            worker: config.worker,
            uploads: Uploads::default(),
            trials: Semaphore::new(engine::TRIALS as usize),
            limits: Arc::new(config.limits),
        })
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Handles one event: waits for a place, runs an instance, tells how it went.
    /// When the caller is dropped, so is the guest.
    pub async fn handle(
        &self,
        agent: AgentId,
        component: Arc<Component>,
        job: Job,
    ) -> Result<Receipt, Full> {
        self.stage.handle(agent, component, job).await
    }

    /// Drives something of an agent on the guests' threads, so that its events need not
    /// be handed over to them.
    pub fn drive(&self, agent: AgentId, work: impl Future<Output = ()> + Send + 'static) {
        self.stage.threads.spawn(&Known::of(agent), work).detach();
    }

    /// Lets go of instances that nobody has used for long.
    pub fn tidy(&self, now: Timestamp) {
        self.stage.threads.let_go(self.stage.warm.idle(now));
    }

    /// Instances that are kept between events.
    pub fn waiting(&self) -> Waiting {
        self.stage.warm.waiting()
    }

    /// Instances that live, kept ones included.
    pub fn instances(&self) -> usize {
        self.stage.threads.instances()
    }

    /// How the events of each agent that has any stand in this process.
    pub fn standings(&self) -> Vec<(AgentId, Standing)> {
        self.stage.turnstile.standings()
    }

    /// How all events stand in this process.
    pub fn standing_in_all(&self) -> Standing {
        self.stage.turnstile.in_all()
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Agent::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

fn internal(error: wasmtime::Error) -> Error {
    Error::internal(anyhow::anyhow!("{error:#}"))
}
