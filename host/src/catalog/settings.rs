//! Config and secrets that a builder gives his agent. Both are sealed where they
//! lie; config can be read back, a secret cannot.

use super::still_there;
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::AgentId,
    reseal::Column,
    seal::Key,
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest key and value in bytes, and how many an agent may have.
pub const KEY_BYTES: usize = 128;
pub const VALUE_BYTES: usize = 16 << 10;
const SETTINGS: i64 = 100;

/// Sites that one secret may be bound to.
pub const SITES: usize = 20;

pub const SEALED: Column = Column {
    select: "SELECT agent_id AS id, key AS name, value FROM settings
         WHERE SUBSTR(value, 1, 8) <> $1 AND (agent_id > $2 OR (agent_id = $2 AND key > $3))
         ORDER BY agent_id, key LIMIT $4",
    update: "UPDATE settings SET value = $3 WHERE agent_id = $1 AND key = $2",
    place: |agent, key| place(AgentId(agent), key),
};

/// A line of an agent's config, or a secret.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    pub key: String,
    pub secret: bool,
    /// Where the host may send a secret. Absent when it is bound to none, and the
    /// component may have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<String>,
    /// Absent for a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value: Option<String>,
    pub updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    key: String,
    secret: bool,
    #[sqlx(json)]
    sites: Vec<String>,
    value: Vec<u8>,
    updated_at: Timestamp,
}

/// What a builder writes.
pub struct New {
    pub value: String,
    pub secret: bool,
    pub sites: Vec<String>,
}

pub async fn put(
    tx: &mut Tx,
    clock: &Clock,
    seal: &Key,
    agent: AgentId,
    key: &str,
    new: &New,
) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM settings WHERE agent_id = $1 AND key <> $2";
    let (others,): (i64,) = tx.query(sql).bind(agent).bind(key).one().await?;
    if others >= SETTINGS {
        let detail = format!("an agent has at most {SETTINGS} settings");
        return Err(Error::conflict("too_many_settings", detail));
    }
    let sealed = seal.seal(clock, &place(agent, key), new.value.as_bytes())?;
    let put = tx.query(
        "INSERT INTO settings (agent_id, key, secret, sites, value, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (agent_id, key)
         DO UPDATE SET secret = excluded.secret, sites = excluded.sites,
             value = excluded.value, updated_at = excluded.updated_at",
    );
    let put = put.bind(agent).bind(key).bind(new.secret).bind(Json(&new.sites));
    let put = put.bind(sealed).bind(clock.now());
    put.run().await?;
    still_there(tx, agent).await
}

pub async fn list(tx: &mut Tx, seal: &Key, agent: AgentId) -> Result<Vec<Setting>> {
    let rows = rows(tx, agent).await?;
    rows.into_iter()
        .map(|row| {
            let value = (!row.secret).then(|| open(seal, agent, &row)).transpose()?;
            let Row { key, secret, sites, updated_at, .. } = row;
            Ok(Setting { key, secret, sites, value, updated_at })
        })
        .collect()
}

/// False when there was no such key.
pub async fn delete(tx: &mut Tx, agent: AgentId, key: &str) -> Result<bool> {
    let sql = "DELETE FROM settings WHERE agent_id = $1 AND key = $2";
    Ok(tx.query(sql).bind(agent).bind(key).run().await? > 0)
}

/// What the guest's `config` sees.
pub async fn config(tx: &mut Tx, seal: &Key, agent: AgentId) -> Result<BTreeMap<String, String>> {
    let rows = rows(tx, agent).await?;
    let plain = rows.iter().filter(|row| !row.secret);
    plain.map(|row| Ok((row.key.clone(), open(seal, agent, row)?))).collect()
}

/// The secret of this name, and the sites it is bound to.
pub async fn secret(
    tx: &mut Tx,
    seal: &Key,
    agent: AgentId,
    key: &str,
) -> Result<Option<(String, Vec<String>)>> {
    let found = rows(tx, agent).await?.into_iter().find(|row| row.secret && row.key == key);
    found.map(|row| Ok((open(seal, agent, &row)?, row.sites))).transpose()
}

async fn rows(tx: &mut Tx, agent: AgentId) -> Result<Vec<Row>> {
    let sql = "SELECT key, secret, sites, value, updated_at FROM settings
         WHERE agent_id = $1 ORDER BY key";
    Ok(tx.query(sql).bind(agent).all().await?)
}

fn open(seal: &Key, agent: AgentId, row: &Row) -> Result<String> {
    let value = seal.open(&place(agent, &row.key), &row.value)?;
    String::from_utf8(value).map_err(Error::internal)
}

fn place(agent: AgentId, key: &str) -> String {
    format!("setting/{agent}/{key}")
}
