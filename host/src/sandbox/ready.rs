//! Components that are ready to be instantiated, the most recently used ones.

use super::{artifact::Artifacts, guest::Guest, internal, world::AgentPre};
use crate::error::{Error, Result};
use dashmap::DashMap;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use wasmtime::{Engine, component::Linker};

/// Components kept ready in memory; a mapped one costs some pages of address
/// space and the pages it uses.
const READY: usize = 512;

/// A component that is ready to be instantiated.
pub struct Component {
    pub sha256: String,
    /// One for each engine.
    pub(super) pres: Vec<AgentPre<Guest>>,
    used: AtomicU64,
}

pub(super) struct Shelf {
    /// One for each seat of `threads`.
    pub(super) engines: Arc<Vec<Engine>>,
    linkers: Arc<Vec<Linker<Guest>>>,
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) components: DashMap<String, Arc<Component>>,
    uses: AtomicU64,
}

impl Shelf {
    pub(super) fn new(
        engines: Arc<Vec<Engine>>,
        linkers: Vec<Linker<Guest>>,
        artifacts: Artifacts,
    ) -> Self {
        Self {
            engines,
            linkers: Arc::new(linkers),
            artifacts: Arc::new(artifacts),
            components: DashMap::new(),
            uses: AtomicU64::new(0),
        }
    }

    /// From memory or from disk.
    pub(super) async fn find(&self, sha256: &str) -> Result<Option<Arc<Component>>> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(component) = self.components.get(sha256) {
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
        self.components.insert(sha256.to_owned(), Arc::clone(&component));
        Ok(Some(component))
    }

    /// Forgets the component that was not used for longest. Its file stays.
    fn make_room(&self) {
        if self.components.len() < READY {
            return;
        }
        let oldest = self.components.iter().min_by_key(|entry| entry.used.load(Ordering::Relaxed));
        if let Some(sha256) = oldest.map(|entry| entry.key().clone()) {
            self.components.remove(&sha256);
        }
    }
}
