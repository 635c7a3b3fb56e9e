//! The operators' policy: what agents may use, as a rule and one by one.
//!
//! Three layers. The settings a process was started with are the ground; on it lies
//! what operators have set for the whole platform, and on that what they have set for
//! single agents. The upper two are in the database and hold only what was set, so a
//! change below shows through.
//!
//! Nothing is announced when a limit changes: whoever needs an agent's limits reads
//! both layers along with what it reads anyway, and [`Policy`] remembers what such a
//! pair of texts means. So a change is in force with the next event, in every process.

mod change;
mod stored;

use crate::{
    error::{Error, Result},
    id::AgentId,
    sandbox::{Limits, Pool, Senseless},
    storage::Tx,
};
use dashmap::DashMap;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What one layer sets, by the limits' names.
pub type Set = Map<String, Value>;

pub struct Policy {
    ground: Limits,
    pool: Pool,
    /// Under None, what holds for every agent without limits of its own. The others
    /// are those that operators have touched.
    known: DashMap<Option<AgentId>, Known>,
}

/// What a pair of stored texts means.
struct Known {
    platform: String,
    own: Option<String>,
    limits: Arc<Limits>,
}

/// A layer, and what is in force with it.
pub struct Shown {
    pub set: Set,
    pub effective: Limits,
}

impl Policy {
    /// `ground` makes sense by itself.
    pub fn new(ground: Limits, pool: Pool) -> Self {
        Self { ground, pool, known: DashMap::new() }
    }

    /// What holds for an agent, from the two upper layers as they are stored. What
    /// they mean is worked out once.
    pub fn effective(
        &self,
        agent: AgentId,
        platform: &str,
        own: Option<&str>,
    ) -> Result<Arc<Limits>> {
        let place = own.map(|_| agent);
        if let Some(known) = self.known.get(&place)
            && known.platform == platform
            && known.own.as_deref() == own
        {
            return Ok(Arc::clone(&known.limits));
        }
        let read = |text| serde_json::from_str::<Set>(text).map_err(Error::internal);
        let layers = [read(platform)?, own.map(read).transpose()?.unwrap_or_default()];
        // Nothing senseless is ever in force, whatever is stored.
        let limits = Arc::new(self.limits(&layers).map_err(broken)?);
        let (platform, own) = (platform.to_owned(), own.map(str::to_owned));
        self.known.insert(place, Known { platform, own, limits: Arc::clone(&limits) });
        Ok(limits)
    }

    /// The same for those who have not read the layers.
    pub async fn of(&self, tx: &mut Tx, agent: AgentId) -> Result<Arc<Limits>> {
        let (platform, own) = stored::texts(tx, agent).await?.ok_or(Error::not_found("agent"))?;
        self.effective(agent, &platform, own.as_deref())
    }

    /// What operators have set for the whole platform.
    pub async fn platform(&self, tx: &mut Tx) -> Result<Shown> {
        let set = stored::platform(tx).await?;
        let effective = self.limits(std::slice::from_ref(&set)).map_err(broken)?;
        Ok(Shown { set, effective })
    }

    /// The same, which nobody else changes meanwhile.
    pub async fn platform_to_change(&self, tx: &mut Tx) -> Result<Shown> {
        stored::platform_locked(tx).await?;
        self.platform(tx).await
    }

    /// What is set for one agent, which nobody else changes meanwhile.
    pub async fn agent_to_change(&self, tx: &mut Tx, agent: AgentId) -> Result<Shown> {
        stored::platform_locked(tx).await?;
        self.agent(tx, agent).await
    }

    /// What operators have set for one agent.
    pub async fn agent(&self, tx: &mut Tx, agent: AgentId) -> Result<Shown> {
        let own = stored::own(tx, agent).await?.ok_or(Error::not_found("agent"))?;
        let layers = [stored::platform(tx).await?, own];
        let effective = self.limits(&layers).map_err(broken)?;
        let [_, set] = layers;
        Ok(Shown { set, effective })
    }

    /// Refuses to begin with what would make no sense: what is stored was checked on
    /// the ground of that time.
    pub async fn check(&self, tx: &mut Tx) -> Result<()> {
        let refused = |of: String, why: Senseless| {
            let detail = format!("what operators have set {of} makes no sense here: {why}");
            Error::conflict("senseless_limits", detail)
        };
        let platform = stored::platform(tx).await?;
        let limits = self.limits(std::slice::from_ref(&platform));
        limits.map_err(|why| refused("for the platform".into(), why))?;
        for (agent, own) in stored::all(tx).await? {
            let limits = self.limits(&[platform.clone(), own]);
            limits.map_err(|why| refused(format!("for agent {agent}"), why))?;
        }
        Ok(())
    }

    /// The ground with these layers on it, the lowest first.
    fn limits(&self, layers: &[Set]) -> Result<Limits, Senseless> {
        let mut all = json!(self.ground);
        for (limit, value) in layers.iter().flatten() {
            // A name this program does not know was written by a later one.
            if let Some(place) = all.get_mut(limit) {
                *place = value.clone();
            }
        }
        let limits: Limits = serde_path_to_error::deserialize(all).map_err(|error| Senseless {
            limit: error.path().to_string().replace('[', "/").replace(']', ""),
            beside: None,
            why: error.inner().to_string(),
        })?;
        limits.check(&self.pool)?;
        Ok(limits)
    }
}

/// What was stored made sense when it was.
fn broken(why: Senseless) -> Error {
    Error::internal(anyhow::anyhow!("the stored limits make no sense: {why}"))
}
