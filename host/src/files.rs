//! The file library of a company and what of it a session may see.
//!
//! The access rule, for every kind of agent: a session sees a node when the client
//! granted it or a folder above it, or when it carries the session's tag; it writes
//! only below folders with its tag. Names live here, bytes in the object store
//! under ids.

pub mod agent;
pub mod check;
pub mod closing;
pub mod doomed;
pub mod link;
mod name;
pub mod resumable;
pub mod tree;
pub mod uploads;
pub mod usage;

pub use name::{BYTES as NAME_BYTES, NodeName, checked, disposition, key, media_type};

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{CompanyId, NodeId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// Folders within folders. Bounds the recursive queries.
pub const DEPTH: i64 = 32;

/// A file or a folder.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub id: NodeId,
    /// The company whose it is.
    #[serde(rename = "clientId")]
    pub company_id: CompanyId,
    /// The folder that it lies in; null at the root.
    pub parent_id: Option<NodeId>,
    /// `file`, `folder`.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub kind: String,
    pub name: String,
    /// Null for a folder, as the next two are.
    pub storage_path: Option<String>,
    pub mime_type: Option<String>,
    /// In bytes.
    pub file_size: Option<i64>,
    /// The session whose agent may write it.
    pub session_tag: Option<SessionId>,
    /// Where the bytes are, when not at the storage path.
    #[serde(skip)]
    pub object_key: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

macro_rules! node_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".company_id, ",
            $table,
            ".parent_id, ",
            $table,
            ".type, ",
            $table,
            ".name, ",
            $table,
            ".storage_path, ",
            $table,
            ".mime_type, ",
            $table,
            ".file_size, ",
            $table,
            ".session_tag, ",
            $table,
            ".object_key, ",
            $table,
            ".created_at, ",
            $table,
            ".updated_at"
        )
    };
}
pub(crate) use node_columns;

impl Node {
    /// Where the bytes are; none for a folder.
    pub fn key(&self) -> Option<&str> {
        self.object_key.as_deref().or(self.storage_path.as_deref())
    }
}

/// A node to be made.
pub struct NewNode<'a> {
    pub id: NodeId,
    pub company: CompanyId,
    pub parent: Option<NodeId>,
    pub name: &'a str,
    pub tag: Option<SessionId>,
    /// None for a folder.
    pub file: Option<NewFile>,
}

pub struct NewFile {
    pub storage_path: String,
    pub mime_type: Option<String>,
    pub size: u64,
}

/// Where the bytes of a file are.
pub fn storage_path(company: CompanyId, node: NodeId) -> String {
    format!("{company}/{node}")
}

/// Makes a folder, or a file whose bytes are in the store already. 409 when the
/// name is taken.
pub async fn insert(tx: &mut Tx, clock: &Clock, new: NewNode<'_>) -> Result<Node> {
    let now = clock.now();
    let kind = if new.file.is_some() { "file" } else { "folder" };
    let size = new.file.as_ref().map(|file| i64::try_from(file.size).unwrap_or(i64::MAX));
    let (path, mime) = new.file.map(|f| (Some(f.storage_path), f.mime_type)).unwrap_or_default();
    let sql = concat!(
        "INSERT INTO nodes (id, company_id, parent_id, type, name, name_key, state, storage_path,
             mime_type, file_size, session_tag, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'ready', $7, $8, $9, $10, $11, $11)
         ON CONFLICT DO NOTHING RETURNING ",
        node_columns!("nodes")
    );
    let made = tx
        .query(sql)
        .bind(new.id)
        .bind(new.company)
        .bind(new.parent)
        .bind(kind)
        .bind(new.name)
        .bind(key(new.name))
        .bind(path)
        .bind(mime)
        .bind(size)
        .bind(new.tag)
        .bind(now)
        .optional()
        .await?;
    let made: Node = made.ok_or_else(taken)?;
    usage::count(tx, new.company, size.unwrap_or(0), 1).await?;
    Ok(made)
}

fn taken() -> Error {
    Error::conflict("name_taken", "there is something of this name already")
}

/// The child of that name, whatever its case.
pub async fn child(tx: &mut Tx, parent: NodeId, name: &str) -> Result<Option<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.parent_id = $1 AND n.name_key = $2 AND n.state = 'ready'
             AND n.trashed_at IS NULL"
    );
    Ok(tx.query(sql).bind(parent).bind(key(name)).optional().await?)
}

/// Deletes a file for good. What it has in the store is doomed.
pub async fn delete(tx: &mut Tx, clock: &Clock, node: &Node) -> Result<()> {
    usage::count(tx, node.company_id, -node.file_size.unwrap_or(0), -1).await?;
    tx.query("DELETE FROM grants WHERE node_id = $1").bind(node.id).run().await?;
    tx.query("DELETE FROM nodes WHERE id = $1").bind(node.id).run().await?;
    match node.key() {
        Some(key) => doomed::doom(tx, key, clock.now()).await,
        None => Ok(()),
    }
}

/// "Share from library": lets a session of the same company see the node and, if
/// it is a folder, all below it.
pub async fn grant(tx: &mut Tx, clock: &Clock, session: SessionId, node: NodeId) -> Result<()> {
    let sql = "INSERT INTO grants (session_id, node_id, created_at) VALUES ($1, $2, $3)
               ON CONFLICT (session_id, node_id) DO NOTHING";
    tx.query(sql).bind(session).bind(node).bind(clock.now()).run().await?;
    Ok(())
}

/// Takes that back; false when it was not so.
pub async fn revoke(tx: &mut Tx, session: SessionId, node: NodeId) -> Result<bool> {
    let sql = "DELETE FROM grants WHERE session_id = $1 AND node_id = $2";
    Ok(tx.query(sql).bind(session).bind(node).run().await? == 1)
}

/// What was shared with a session by name, in the order of ids, after one.
pub async fn granted(
    tx: &mut Tx,
    session: SessionId,
    after: Option<NodeId>,
    limit: i64,
) -> Result<Vec<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM grants g JOIN nodes n ON n.id = g.node_id
         WHERE g.session_id = $1 AND n.trashed_at IS NULL AND ($2 IS NULL OR n.id > $2)
         ORDER BY n.id LIMIT $3"
    );
    Ok(tx.query(sql).bind(session).bind(after).bind(limit).all().await?)
}

/// Makes the folder that a session's agent may write into.
pub async fn agent_folder(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    session: SessionId,
    name: &str,
) -> Result<Node> {
    let id = clock.id();
    insert(tx, clock, NewNode { id, company, parent: None, name, tag: Some(session), file: None })
        .await
}
