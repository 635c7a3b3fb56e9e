//! Versions of a component agent. A version never changes; which one is active
//! does, at once and both ways.

use super::{canaries, still_there};
use crate::{
    error::{Error, Problem, Result},
    id::AgentId,
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Uploads one agent may have, refused ones included.
const VERSIONS: i64 = 10_000;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Version {
    pub version: i64,
    pub sha256: String,
    pub size_bytes: i64,
    pub state: String,
    #[sqlx(json)]
    pub report: Report,
    /// Its instances may be kept between the events of a session.
    pub warm: bool,
    pub created_at: Timestamp,
}

/// What was found out about an upload.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schema(as = ComponentReport)]
pub struct Report {
    /// The WIT world that it was made for.
    #[schema(required)]
    pub world: Option<String>,
    pub imports: Vec<String>,
    /// What the upload says of itself: its producers, its version. Nothing is decided by it.
    pub metadata: serde_json::Value,
    pub warnings: Vec<String>,
    /// Why it is refused; none when it is not.
    pub problems: Vec<Problem>,
    /// What compiling it took; null when it was not compiled.
    #[schema(required, value_type = Option<CompileCost>)]
    pub compile: serde_json::Value,
}

/// What compiling a component took, as a report has it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompileCost {
    /// Waiting for a turn is not counted.
    pub ms: u64,
    /// Of memory.
    pub peak_bytes: u64,
    /// Of the machine code.
    pub code_bytes: u64,
}

/// The process that has an upload in its hands, and its successors.
pub type Node = [u8; 8];

/// Takes the next number for an upload that waits to be looked at by this process.
pub async fn begin(
    tx: &mut Tx,
    agent: AgentId,
    sha256: &str,
    size_bytes: i64,
    node: Node,
    now: Timestamp,
) -> Result<i64> {
    // The template's row is the queue for the next number.
    tx.query_locked("SELECT id FROM agents WHERE id = $1").bind(agent).run().await?;
    let sql = "SELECT COALESCE(MAX(version), 0) FROM components WHERE agent_id = $1";
    let (last,): (i64,) = tx.query(sql).bind(agent).one().await?;
    if last >= VERSIONS {
        let detail = format!("an agent has at most {VERSIONS} versions");
        return Err(Error::conflict("too_many_versions", detail));
    }
    let begun = tx.query(
        "INSERT INTO components
             (agent_id, version, sha256, size_bytes, state, report, created_at, node, seen_at)
         VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7, $6)",
    );
    let begun = begun
        .bind(agent)
        .bind(last + 1)
        .bind(sha256)
        .bind(size_bytes)
        .bind(Json(&Report::default()))
        .bind(now)
        .bind(node.to_vec());
    begun.run().await?;
    still_there(tx, agent).await?;
    Ok(last + 1)
}

/// Its turn has come.
pub async fn compiling(tx: &mut Tx, agent: AgentId, version: i64) -> Result<()> {
    let sql = "UPDATE components SET state = 'compiling'
               WHERE agent_id = $1 AND version = $2 AND state = 'queued'";
    match tx.query(sql).bind(agent).bind(version).run().await? {
        // Its agent may have been deleted meanwhile.
        0 => Err(Error::not_found("version")),
        _ => Ok(()),
    }
}

/// Says that its process lives and has not forgotten it.
pub async fn seen(tx: &mut Tx, agent: AgentId, version: i64, now: Timestamp) -> Result<()> {
    let sql = "UPDATE components SET seen_at = $3
               WHERE agent_id = $1 AND version = $2 AND state IN ('queued', 'compiling')";
    tx.query(sql).bind(agent).bind(version).bind(now).run().await?;
    Ok(())
}

/// Writes down what became of it: ready, or refused with its problems. One that was
/// given up meanwhile stays so.
pub async fn conclude(
    tx: &mut Tx,
    agent: AgentId,
    version: i64,
    report: &Report,
) -> Result<Version> {
    let state = if report.problems.is_empty() { "ready" } else { "refused" };
    let sql = "UPDATE components SET state = $3, report = $4
               WHERE agent_id = $1 AND version = $2 AND state IN ('queued', 'compiling')";
    let concluded = tx.query(sql).bind(agent).bind(version).bind(state).bind(Json(report));
    concluded.run().await?;
    find(tx, agent, version).await?.ok_or(Error::not_found("agent"))
}

/// What is said of an upload whose process was stopped.
pub fn given_up() -> Report {
    let why = "the platform was stopped while it looked at this upload; upload it again";
    let problem = Problem { pointer: "body".into(), detail: why.into() };
    Report { problems: vec![problem], ..Report::default() }
}

/// Refuses uploads that no process has in its hands any more: none has said so since
/// `silent_since`.
pub async fn give_up(tx: &mut Tx, silent_since: Timestamp) -> Result<u64> {
    let sql = "UPDATE components SET state = 'refused', report = $2
               WHERE state IN ('queued', 'compiling') AND seen_at < $1";
    Ok(tx.query(sql).bind(silent_since).bind(Json(&given_up())).run().await?)
}

/// Refuses those that this process's dead predecessor had: begun before `started`.
pub async fn give_up_own(tx: &mut Tx, node: Node, started: Timestamp) -> Result<u64> {
    let sql = "UPDATE components SET state = 'refused', report = $3
               WHERE state IN ('queued', 'compiling') AND node = $1 AND created_at < $2";
    let given_up = Json(given_up());
    Ok(tx.query(sql).bind(node.to_vec()).bind(started).bind(given_up).run().await?)
}

pub async fn find(tx: &mut Tx, agent: AgentId, version: i64) -> Result<Option<Version>> {
    let sql = "SELECT version, sha256, size_bytes, state, report, warm, created_at FROM components
               WHERE agent_id = $1 AND version = $2";
    Ok(tx.query(sql).bind(agent).bind(version).optional().await?)
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    agent: AgentId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Version>> {
    let found = tx.query(
        "SELECT version, sha256, size_bytes, state, report, warm, created_at FROM components
         WHERE agent_id = $1 AND ($2 IS NULL OR version < $2)
         ORDER BY version DESC LIMIT $3",
    );
    Ok(found.bind(agent).bind(before).bind(limit).all().await?)
}

/// The version, if it can be run.
pub async fn ready(tx: &mut Tx, agent: AgentId, version: i64) -> Result<Version> {
    let found = find(tx, agent, version).await?.ok_or(Error::not_found("version"))?;
    if found.state != "ready" {
        let detail = format!("version {version} is {}, only a ready one can be run", found.state);
        return Err(Error::conflict("version_not_ready", detail));
    }
    Ok(found)
}

/// New events go to this version from now on; events that run finish on theirs, and
/// pinned sessions stay with theirs. A version on trial is promoted by it.
pub async fn activate(
    tx: &mut Tx,
    agent: AgentId,
    version: i64,
    now: Timestamp,
) -> Result<Version> {
    let found = ready(tx, agent, version).await?;
    let sql = "UPDATE agents SET active_version = $2, updated_at = $3 WHERE id = $1";
    tx.query(sql).bind(agent).bind(version).bind(now).run().await?;
    canaries::end(tx, agent, version, "promoted", now).await?;
    Ok(found)
}

/// Says whether instances of this version may be kept; in force with the next event.
pub async fn set_warm(tx: &mut Tx, agent: AgentId, version: i64, warm: bool) -> Result<Version> {
    let set = tx.query(
        "UPDATE components SET warm = $3 WHERE agent_id = $1 AND version = $2
         RETURNING version, sha256, size_bytes, state, report, warm, created_at",
    );
    let set = set.bind(agent).bind(version).bind(warm);
    set.optional().await?.ok_or(Error::not_found("version"))
}

/// Where the bytes of an upload are kept in the object store.
pub fn upload_key(sha256: &str) -> String {
    format!("components/{sha256}.wasm")
}
