//! Changing limits: one operator at a time, nothing senseless, and on the record.

use super::{Policy, Set, Shown, stored};
use crate::{
    audit::{self, Decision, PLATFORM},
    clock::Clock,
    error::{Error, Problem, Result},
    id::{AgentId, UserId},
    sandbox::Senseless,
    storage::Tx,
};
use serde_json::{Value, json};

/// Limits on all agents together; none of them has a part of its own in them.
const PLATFORM_ONLY: [&str; 1] = ["concurrentEventsTotal"];

impl Policy {
    /// Changes what holds for the platform. A null is no longer set: what the process
    /// was started with shows through.
    pub async fn set_platform(
        &self,
        tx: &mut Tx,
        clock: &Clock,
        actor: UserId,
        changes: &Set,
    ) -> Result<Shown> {
        let before = stored::platform_locked(tx).await?;
        let (set, was, is) = self.changed(&before, changes)?;
        let effective = self.limits(std::slice::from_ref(&set));
        let effective = effective.map_err(|why| refused(changes, why))?;
        for (agent, own) in stored::all(tx).await? {
            let limits = self.limits(&[set.clone(), own]);
            limits.map_err(|why| beside(agent, changes, why))?;
        }
        if !is.is_empty() {
            stored::put_platform(tx, &set).await?;
            record(tx, clock, actor, PLATFORM, was, is).await?;
        }
        Ok(Shown { set, effective })
    }

    /// Changes what holds for one agent. A null is no longer set: what holds for the
    /// platform shows through.
    pub async fn set_agent(
        &self,
        tx: &mut Tx,
        clock: &Clock,
        actor: UserId,
        agent: AgentId,
        changes: &Set,
    ) -> Result<Shown> {
        let platform = stored::platform_locked(tx).await?;
        let before = stored::own(tx, agent).await?.ok_or(Error::not_found("agent"))?;
        let given = |limit: &&&str| changes.get(**limit).is_some_and(|value| !value.is_null());
        if let Some(limit) = PLATFORM_ONLY.iter().find(given) {
            let why = "is for the platform as a whole; set it with PUT /admin/limits";
            return Err(Error::field(&format!("/{limit}"), why));
        }
        let (set, was, is) = self.changed(&before, changes)?;
        let layers = [platform, set];
        let effective = self.limits(&layers).map_err(|why| refused(changes, why))?;
        let [_, set] = layers;
        if !is.is_empty() {
            let put = stored::put_own(tx, agent, &set).await?;
            put.then_some(()).ok_or(Error::not_found("agent"))?;
            record(tx, clock, actor, &format!("agent/{agent}"), was, is).await?;
        }
        Ok(Shown { set, effective })
    }

    /// The layer after the changes; and of what differs, how it was and how it is.
    fn changed(&self, before: &Set, changes: &Set) -> Result<(Set, Set, Set)> {
        let all = json!(self.ground);
        let (mut after, mut was, mut is) = (before.clone(), Set::new(), Set::new());
        for (limit, value) in changes {
            if all.get(limit).is_none() {
                let pointer = limit.replace('~', "~0").replace('/', "~1");
                return Err(Error::field(&format!("/{pointer}"), "there is no such limit"));
            }
            let old = match value {
                Value::Null => after.shift_remove(limit),
                value => after.insert(limit.clone(), value.clone()),
            };
            let old = old.unwrap_or_default();
            if old != *value {
                was.insert(limit.clone(), old);
                is.insert(limit.clone(), value.clone());
            }
        }
        Ok((after, was, is))
    }
}

/// Names the limit that the caller gave, when two do not go together.
fn pointer(changes: &Set, why: &Senseless) -> String {
    let given = why.beside.filter(|other| changes.contains_key(*other));
    let given = given.filter(|_| !changes.contains_key(&why.limit));
    format!("/{}", given.unwrap_or(&why.limit))
}

fn refused(changes: &Set, why: Senseless) -> Error {
    Error::field(&pointer(changes, &why), why.why)
}

/// What is set for one agent would make no sense any more.
fn beside(agent: AgentId, changes: &Set, why: Senseless) -> Error {
    let pointer = pointer(changes, &why);
    let detail = format!("with what is set for agent {agent}, {}", why.why);
    let mut error = Error::conflict("agent_limits_conflict", detail.clone());
    error.problems.push(Problem { pointer, detail });
    error
}

async fn record(
    tx: &mut Tx,
    clock: &Clock,
    actor: UserId,
    target: &str,
    before: Set,
    after: Set,
) -> Result<()> {
    let (before, after) = (json!(before), json!(after));
    let action = "limits.set";
    audit::record(tx, clock, Decision { actor: Some(actor), action, target, before, after }).await
}
