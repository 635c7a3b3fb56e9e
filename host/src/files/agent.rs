//! The library as a session's agent sees it: by path, read what is visible, write
//! below the session's own folder.
//!
//! Paths are for people: what the client shared begins with `shared/`, what lies
//! in the session's own folder has the path it was created with. Two things that
//! would have the same path are told apart by the end of their ids.

use super::{DEPTH, NewFile, NewNode, Node, name, node_columns};
use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, NodeId, SessionId},
    storage::Tx,
};
use std::collections::{BTreeMap, HashMap};

/// What a session can see at most; a bound for memory, far above use.
const VISIBLE: i64 = 10_000;

/// What the client shared lies here.
pub const SHARED: &str = "shared";

/// The longest path in bytes.
const PATH_BYTES: usize = 1024;

/// A file with the path by which the agent knows it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub node: Node,
    /// In the session's own folder.
    pub writable: bool,
}

/// Every node the session may see: granted ones with all below them, and those
/// with its tag.
pub async fn visible(tx: &mut Tx, session: SessionId) -> Result<Vec<Node>> {
    let sql = concat!(
        "WITH RECURSIVE seen (id, depth) AS (
             SELECT g.node_id, CAST(0 AS BIGINT) FROM grants g WHERE g.session_id = $1
             UNION
             SELECT n.id, seen.depth + 1 FROM nodes n JOIN seen ON n.parent_id = seen.id
             WHERE seen.depth < $2
         )
         SELECT ",
        node_columns!("n"),
        " FROM nodes n
         WHERE n.state = 'ready'
           AND (n.session_tag = $1 OR n.id IN (SELECT id FROM seen))
         ORDER BY n.id LIMIT $3"
    );
    Ok(tx.query(sql).bind(session).bind(DEPTH).bind(VISIBLE).all().await?)
}

/// The session's own folder: the first that was made for it.
pub async fn own_folder(tx: &mut Tx, session: SessionId) -> Result<Option<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n LEFT JOIN nodes p ON p.id = n.parent_id
         WHERE n.session_tag = $1 AND n.type = 'folder' AND n.state = 'ready'
           AND (p.session_tag IS NULL OR p.session_tag <> $1)
         ORDER BY n.id LIMIT 1"
    );
    Ok(tx.query(sql).bind(session).optional().await?)
}

/// All files the session may see, ordered by path.
pub async fn files(tx: &mut Tx, session: SessionId) -> Result<Vec<Seen>> {
    let own = own_folder(tx, session).await?.map(|folder| folder.id);
    let nodes = visible(tx, session).await?;
    let by_id: HashMap<NodeId, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let mut seen = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.kind == "file") {
        let (mut path, writable) = path(node, &by_id, own);
        if seen.contains_key(&path) {
            path = apart(&path, node.id);
        }
        seen.insert(path.clone(), Seen { path, node: node.clone(), writable });
    }
    Ok(seen.into_values().collect())
}

/// The names from the outermost visible folder down; without the own folder's.
fn path(node: &Node, nodes: &HashMap<NodeId, &Node>, own: Option<NodeId>) -> (String, bool) {
    let mut names = vec![node.name.as_str()];
    let mut at = node.parent_id;
    while let Some(folder) = at.and_then(|id| nodes.get(&id)) {
        if Some(folder.id) == own {
            names.reverse();
            return (names.join("/"), true);
        }
        names.push(&folder.name);
        at = folder.parent_id;
    }
    names.push(SHARED);
    names.reverse();
    (names.join("/"), false)
}

/// `report.pdf` → `report (3f2a).pdf`.
pub fn apart(path: &str, id: impl std::fmt::Display) -> String {
    let id = id.to_string();
    let id = &id[id.len() - 4..];
    match path.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => format!("{stem} ({id}).{extension}"),
        _ => format!("{path} ({id})"),
    }
}

/// A path the agent may write to, as the names along it. None when it is not one.
pub fn parse_path(path: &str) -> Option<Vec<String>> {
    if path.len() > PATH_BYTES {
        return None;
    }
    let names: Option<Vec<String>> =
        path.split('/').map(|part| name::checked("/path", part).ok()).collect();
    names.filter(|names| names[0] != SHARED && names.len() < DEPTH as usize)
}

/// What publishing a file led to.
pub enum Published {
    Now {
        file: Box<Node>,
        /// Where the bytes of the file that it replaced are.
        replaced: Option<String>,
    },
    NoFolder,
    /// Something on the path is a folder where a file should be, or the reverse.
    InTheWay,
}

/// Makes the file visible under its path below the session's own folder, in place
/// of the one that was there.
pub async fn publish(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    company: CompanyId,
    names: &[String],
    id: NodeId,
    file: NewFile,
) -> Result<Published> {
    let Some(folder) = own_folder(tx, session).await? else { return Ok(Published::NoFolder) };
    // The folder's row is the queue for names below it.
    tx.query_locked("SELECT id FROM nodes WHERE id = $1").bind(folder.id).run().await?;
    let mut parent = folder.id;
    let Some((name, folders)) = names.split_last() else { return Ok(Published::InTheWay) };
    for name in folders {
        parent = match super::child(tx, parent, name).await? {
            Some(node) if node.kind == "folder" => node.id,
            Some(_) => return Ok(Published::InTheWay),
            None => {
                let id = clock.id();
                let tag = Some(session);
                let new = NewNode { id, company, parent: Some(parent), name, tag, file: None };
                super::insert(tx, clock, new).await?.id
            }
        };
    }
    let mut replaced = None;
    if let Some(old) = super::child(tx, parent, name).await? {
        if old.kind != "file" {
            return Ok(Published::InTheWay);
        }
        replaced = old.storage_path;
        super::delete(tx, old.id).await?;
    }
    let tag = Some(session);
    let new = NewNode { id, company, parent: Some(parent), name, tag, file: Some(file) };
    let file = Box::new(super::insert(tx, clock, new).await?);
    Ok(Published::Now { file, replaced })
}
