//! The secrets with which a webhook agent's deliveries are signed. One that was replaced
//! goes on signing beside the new one for a day, so that no receiver has to change in
//! the same moment.

use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::AgentId,
    reseal::Column,
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;
use uuid::Uuid;

/// How long a replaced secret goes on signing (contract §4; Svix has the same).
pub const OVERLAP: Duration = Duration::from_hours(24);

/// Replaced secrets that sign at once: each makes the header longer. Svix has the same.
const FORMER: usize = 10;

/// Those in force. An agent has one, so that its name is nothing.
pub const SEALED: Column = Column {
    select: "SELECT id, '' AS name, webhook_secret AS value FROM agents
         WHERE SUBSTR(webhook_secret, 1, 8) <> $1 AND id > $2 AND $3 = '' ORDER BY id LIMIT $4",
    update: "UPDATE agents SET webhook_secret = $3 WHERE id = $1 AND $2 = ''",
    place: |agent, _| place(AgentId(agent)),
};

/// Those that were replaced.
pub const SEALED_FORMER: Column = Column {
    select: "SELECT agent_id AS id, number AS name, secret AS value FROM former_secrets
         WHERE SUBSTR(secret, 1, 8) <> $1 AND (agent_id > $2 OR (agent_id = $2 AND number > $3))
         ORDER BY agent_id, number LIMIT $4",
    update: "UPDATE former_secrets SET secret = $3 WHERE agent_id = $1 AND number = $2",
    place: |agent, _| place(AgentId(agent)),
};

/// For which place an agent's signing secrets are sealed.
pub fn place(agent: AgentId) -> String {
    format!("webhook secret/{agent}")
}

/// Puts a new secret in force; until when the one before it goes on signing.
pub async fn rotate(
    tx: &mut Tx,
    clock: &Clock,
    agent: AgentId,
    sealed: Vec<u8>,
) -> Result<Timestamp> {
    let now = clock.now();
    let sql = "SELECT webhook_secret FROM agents WHERE id = $1 AND webhook_secret IS NOT NULL";
    let current: Option<(Vec<u8>,)> = tx.query_locked(sql).bind(agent).optional().await?;
    let Some((current,)) = current else {
        return Err(Error::conflict("not_a_webhook", "a component agent has no signing secret"));
    };
    if former(tx, agent, now).await?.len() >= FORMER {
        let detail = format!("{FORMER} secrets were replaced within a day; wait for one to expire");
        return Err(Error::new(Kind::TooMany(3_600), "too_many_rotations", detail));
    }
    let until = now + OVERLAP;
    tx.query(
        "INSERT INTO former_secrets (agent_id, number, secret, until) VALUES ($1, $2, $3, $4)",
    )
    .bind(agent)
    .bind(clock.id::<Uuid>().to_string())
    .bind(current)
    .bind(until)
    .run()
    .await?;
    let sql = "UPDATE agents SET webhook_secret = $2, updated_at = $3 WHERE id = $1";
    tx.query(sql).bind(agent).bind(sealed).bind(now).run().await?;
    Ok(until)
}

/// All that sign for an agent, sealed: the one in force, and what it replaced.
pub async fn all(tx: &mut Tx, agent: AgentId, now: Timestamp) -> Result<Vec<Vec<u8>>> {
    let sql = "SELECT webhook_secret FROM agents WHERE id = $1 AND webhook_secret IS NOT NULL";
    let current: Option<(Vec<u8>,)> = tx.query(sql).bind(agent).optional().await?;
    let mut all: Vec<_> = current.into_iter().map(|(secret,)| secret).collect();
    all.extend(former(tx, agent, now).await?);
    Ok(all)
}

/// What was replaced and still signs, sealed, the latest first.
pub async fn former(tx: &mut Tx, agent: AgentId, now: Timestamp) -> Result<Vec<Vec<u8>>> {
    let sql = "SELECT secret FROM former_secrets WHERE agent_id = $1 AND until > $2
               ORDER BY number DESC";
    let found: Vec<(Vec<u8>,)> = tx.query(sql).bind(agent).bind(now).all().await?;
    Ok(found.into_iter().map(|(secret,)| secret).collect())
}

/// Forgets those whose time is over.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<()> {
    tx.query("DELETE FROM former_secrets WHERE until <= $1").bind(now).run().await?;
    Ok(())
}
