//! The library as a session's agent sees it: by path, read what is visible, write
//! below the session's own folder.
//!
//! Paths are for people: what the client shared begins with `shared/`, what lies
//! in the session's own folder has the path it was created with. Two things that
//! would have the same path are told apart by the end of their ids.

use super::{
    DEPTH, NewFile, NewNode, Node, name, node_columns,
    usage::{self, Quota},
};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
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
         WHERE n.state = 'ready' AND n.trashed_at IS NULL
           AND (n.session_tag = $1 OR n.id IN (SELECT id FROM seen))
         ORDER BY n.id LIMIT $3"
    );
    Ok(tx.query(sql).bind(session).bind(DEPTH).bind(VISIBLE).all().await?)
}

/// The node, if the session may see it: going up from it there is one that was granted,
/// or it has the session's tag.
pub async fn seen(tx: &mut Tx, session: SessionId, id: NodeId) -> Result<Option<Node>> {
    let sql = concat!(
        "WITH RECURSIVE above (id, parent_id, depth) AS (
             SELECT id, parent_id, CAST(0 AS BIGINT) FROM nodes WHERE id = $2
             UNION
             SELECT p.id, p.parent_id, above.depth + 1 FROM nodes p
             JOIN above ON p.id = above.parent_id WHERE above.depth < $3
         )
         SELECT ",
        node_columns!("n"),
        " FROM nodes n JOIN sessions s ON s.id = $1 AND s.company_id = n.company_id
         WHERE n.id = $2 AND n.state = 'ready' AND n.trashed_at IS NULL
           AND (n.session_tag = $1 OR EXISTS (SELECT 1 FROM grants g
                    WHERE g.session_id = $1 AND g.node_id IN (SELECT id FROM above)))"
    );
    Ok(tx.query(sql).bind(session).bind(id).bind(DEPTH).optional().await?)
}

/// The folder that a session's agent wants to write into: one with its tag. 404 for one
/// that it cannot see, 403 for one that it can only read.
pub(super) async fn folder_for(
    tx: &mut Tx,
    session: SessionId,
    id: Option<NodeId>,
) -> Result<Node> {
    let Some(id) = id else {
        let detail = "the session has no agent folder; the client makes one";
        let found = own_folder(tx, session).await?;
        return found.ok_or(Error::new(Kind::NotFound, "no_agent_folder", detail));
    };
    let folder = seen(tx, session, id).await?.ok_or(Error::not_found("folder"))?;
    if folder.kind != "folder" {
        return Err(Error::field("/parentId", "is a file, not a folder"));
    }
    if folder.session_tag != Some(session) {
        let detail = "the folder is shared to be read; agents write into their session's own";
        return Err(Error::forbidden("not_writable", detail));
    }
    Ok(folder)
}

/// The session's own folder: the first that was made for it.
pub async fn own_folder(tx: &mut Tx, session: SessionId) -> Result<Option<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n LEFT JOIN nodes p ON p.id = n.parent_id
         WHERE n.session_tag = $1 AND n.type = 'folder' AND n.trashed_at IS NULL
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

/// The file that one of this path would take the place of.
pub async fn replaced(tx: &mut Tx, session: SessionId, names: &[String]) -> Result<Option<Node>> {
    let mut at = own_folder(tx, session).await?;
    for name in names {
        at = match at {
            Some(folder) => super::child(tx, folder.id, name).await?,
            None => break,
        };
    }
    Ok(at.filter(|node| node.kind == "file"))
}

/// What publishing a file led to.
pub enum Published {
    Now(Box<Node>),
    NoFolder,
    /// There is room for so many bytes.
    NoRoom(u64),
    /// Something on the path is a folder where a file should be, or the reverse.
    InTheWay,
}

/// Makes the file visible under its path below the session's own folder, in place
/// of the one that was there.
pub async fn publish(
    tx: &mut Tx,
    clock: &Clock,
    quota: Quota,
    (session, company): (SessionId, CompanyId),
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
    if let Some(old) = super::child(tx, parent, name).await? {
        if old.kind != "file" {
            return Ok(Published::InTheWay);
        }
        super::delete(tx, clock, &old).await?;
    }
    let room = usage::room(tx, quota, company, Some(session)).await?;
    if file.size > room {
        return Ok(Published::NoRoom(room));
    }
    let tag = Some(session);
    let new = NewNode { id, company, parent: Some(parent), name, tag, file: Some(file) };
    let file = Box::new(super::insert(tx, clock, new).await?);
    Ok(Published::Now(file))
}
