//! The client's side: folders in folders, names in them, and the trash.
//!
//! What is deleted goes to the trash with all below it, can be brought back together, and
//! is gone for good after a while. It still counts, and nobody is shown it but its owner.

use super::{
    DEPTH, NewNode, Node, doomed, name, node_columns,
    uploads::{self, Upload},
    usage,
};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, NodeId},
    storage::{Tx, containing},
    timestamp::Timestamp,
};
use std::time::Duration;

/// How long the trash keeps things.
pub const KEPT: Duration = Duration::from_hours(30 * 24);

/// What a list shows.
#[derive(Clone, Copy, Debug)]
pub enum Where<'a> {
    /// In this folder; none is the root.
    In(Option<NodeId>),
    /// Anywhere.
    All,
    /// Anywhere, with this in its name.
    Named(&'a str),
    /// What was deleted, without what lay in it.
    Trash,
}

/// What is there and meets a condition, of company `$1`, after `$2`, at most `$3`.
macro_rules! listed {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            node_columns!("n"),
            " FROM nodes n WHERE n.company_id = $1 AND n.state = 'ready'
                  AND n.trashed_at IS NULL AND ($2 IS NULL OR n.id > $2) AND ",
            $condition,
            " ORDER BY n.id LIMIT $3"
        )
    };
}

/// Node `$1` and all below it, down to `$2` levels.
macro_rules! below {
    () => {
        "WITH RECURSIVE below (id, depth) AS (
             SELECT id, CAST(0 AS BIGINT) FROM nodes WHERE id = $1
             UNION
             SELECT n.id, below.depth + 1 FROM nodes n JOIN below ON n.parent_id = below.id
             WHERE below.depth < $2
         ) "
    };
}

/// Files and folders in the order of their ids, after one.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    place: Where<'_>,
    after: Option<NodeId>,
    limit: i64,
) -> Result<Vec<Node>> {
    let sql = match place {
        Where::In(Some(_)) => listed!("n.parent_id = $4"),
        Where::In(None) => listed!("n.parent_id IS NULL"),
        // Which all of them are.
        Where::All => listed!("n.state = 'ready'"),
        Where::Named(_) => listed!("n.name_key LIKE $4 ESCAPE '!'"),
        Where::Trash => concat!(
            "SELECT ",
            node_columns!("n"),
            " FROM nodes n WHERE n.company_id = $1 AND n.trash_root = n.id
                  AND ($2 IS NULL OR n.id > $2) ORDER BY n.id LIMIT $3"
        ),
    };
    let found = tx.query(sql).bind(company).bind(after).bind(limit);
    let found = match place {
        Where::In(Some(parent)) => found.bind(parent),
        Where::Named(part) => found.bind(containing(&name::key(part))),
        Where::In(None) | Where::All | Where::Trash => found,
    };
    Ok(found.all().await?)
}

/// A file or folder of the company that is there: completed, and not in the trash.
pub async fn find(tx: &mut Tx, company: CompanyId, id: NodeId) -> Result<Node> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.id = $1 AND n.company_id = $2 AND n.state = 'ready'
              AND n.trashed_at IS NULL"
    );
    let found: Option<Node> = tx.query(sql).bind(id).bind(company).optional().await?;
    found.ok_or(Error::not_found("file or folder"))
}

/// Whosever file or folder this is, if it is there.
pub async fn ready(tx: &mut Tx, id: NodeId) -> Result<Option<Node>> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.id = $1 AND n.state = 'ready' AND n.trashed_at IS NULL"
    );
    Ok(tx.query(sql).bind(id).optional().await?)
}

/// The folder that something is to be put into; none is the root.
pub(super) async fn folder(
    tx: &mut Tx,
    company: CompanyId,
    id: Option<NodeId>,
) -> Result<Option<Node>> {
    let Some(id) = id else { return Ok(None) };
    let found = find(tx, company, id).await?;
    if found.kind != "folder" {
        return Err(Error::field("/parentId", "is a file, not a folder"));
    }
    Ok(Some(found))
}

/// Makes a folder. In a session's folder it is that session's, too.
pub async fn make_folder(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    parent: Option<NodeId>,
    name: &str,
) -> Result<Node> {
    room_for_one_more(tx, company).await?;
    let folder = folder(tx, company, parent).await?;
    if let Some(parent) = parent {
        deep_enough(tx, parent, 1).await?;
    }
    let tag = folder.and_then(|folder| folder.session_tag);
    let new = NewNode { id: clock.id(), company, parent, name, tag, file: None };
    super::insert(tx, clock, new).await
}

/// What is to be changed of a node.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    /// `Some(None)` is the root.
    pub parent: Option<Option<NodeId>>,
}

/// Renames, moves, or both. What a session may see follows from where things lie now.
pub async fn change(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    id: NodeId,
    change: Change,
) -> Result<Node> {
    // Moves of a company come one after the other: two together could make a ring.
    usage::alone(tx, company).await?;
    let node = find(tx, company, id).await?;
    let name = change.name.unwrap_or_else(|| node.name.clone());
    let parent = change.parent.unwrap_or(node.parent_id);
    let folder = folder(tx, company, parent).await?;
    let mut tag = node.session_tag;
    if parent != node.parent_id {
        tag = folder.as_ref().and_then(|folder| folder.session_tag);
        if let Some(parent) = parent {
            if above(tx, parent).await?.contains(&id) {
                return Err(Error::conflict(
                    "folder_in_itself",
                    "a folder cannot lie within itself",
                ));
            }
            let height = height(tx, id).await?;
            deep_enough(tx, parent, 1 + height).await?;
        }
    }
    if parent != node.parent_id || name::key(&name) != name::key(&node.name) {
        free(tx, company, parent, &name).await?;
    }
    if tag != node.session_tag {
        // All below comes into that session's folder, or out of one.
        let sql = concat!(
            below!(),
            "UPDATE nodes SET session_tag = $3 WHERE id IN (SELECT id FROM below)"
        );
        tx.query(sql).bind(id).bind(DEPTH).bind(tag).run().await?;
    }
    let sql = concat!(
        "UPDATE nodes SET parent_id = $2, name = $3, name_key = $4, updated_at = $5
         WHERE id = $1 RETURNING ",
        node_columns!("nodes")
    );
    let changed = tx.query(sql).bind(id).bind(parent).bind(&*name).bind(name::key(&name));
    Ok(changed.bind(clock.now()).one().await?)
}

/// Puts it into the trash, with all below it. Uploads into it can no longer be completed,
/// and expire.
pub async fn trash(tx: &mut Tx, clock: &Clock, company: CompanyId, id: NodeId) -> Result<()> {
    usage::alone(tx, company).await?;
    find(tx, company, id).await?;
    let sql = concat!(
        below!(),
        "UPDATE nodes SET trashed_at = $3, trash_root = $1
         WHERE id IN (SELECT id FROM below) AND trashed_at IS NULL"
    );
    tx.query(sql).bind(id).bind(DEPTH).bind(clock.now()).run().await?;
    Ok(())
}

/// Brings it back from the trash to where it was, or to the root when that is gone.
pub async fn restore(tx: &mut Tx, clock: &Clock, company: CompanyId, id: NodeId) -> Result<Node> {
    usage::alone(tx, company).await?;
    let node = trashed(tx, company, id).await?;
    let there = match node.parent_id {
        Some(parent) => ready(tx, parent).await?.is_some(),
        None => true,
    };
    let parent = node.parent_id.filter(|_| there);
    if !there {
        // Out of its folder, it is out of the session whose folder that was.
        let sql = "UPDATE nodes SET session_tag = NULL WHERE trash_root = $1";
        tx.query(sql).bind(id).run().await?;
    }
    free(tx, company, parent, &node.name).await?;
    let sql = "UPDATE nodes SET trashed_at = NULL, trash_root = NULL WHERE trash_root = $1";
    tx.query(sql).bind(id).run().await?;
    let sql = concat!(
        "UPDATE nodes SET parent_id = $2, updated_at = $3 WHERE id = $1 RETURNING ",
        node_columns!("nodes")
    );
    Ok(tx.query(sql).bind(id).bind(parent).bind(clock.now()).one().await?)
}

async fn trashed(tx: &mut Tx, company: CompanyId, id: NodeId) -> Result<Node> {
    let sql = concat!(
        "SELECT ",
        node_columns!("n"),
        " FROM nodes n WHERE n.id = $1 AND n.company_id = $2 AND n.trash_root = n.id"
    );
    let found: Option<Node> = tx.query(sql).bind(id).bind(company).optional().await?;
    found.ok_or(Error::not_found("file or folder in the trash"))
}

/// Deletes for good what is in the trash: this, with all that was deleted with it.
pub async fn purge(tx: &mut Tx, now: Timestamp, company: CompanyId, id: NodeId) -> Result<()> {
    usage::alone(tx, company).await?;
    trashed(tx, company, id).await?;
    empty(tx, now, company, id).await
}

/// Whose trash has something from before `until`, and what.
pub async fn old_trash(
    tx: &mut Tx,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<(CompanyId, NodeId)>> {
    let sql = "SELECT company_id, id FROM nodes WHERE trash_root = id AND trashed_at < $1
               ORDER BY trashed_at LIMIT $2";
    Ok(tx.query(sql).bind(until).bind(limit).all().await?)
}

async fn empty(tx: &mut Tx, now: Timestamp, company: CompanyId, root: NodeId) -> Result<()> {
    let sql = concat!(
        uploads::upload!(),
        " WHERE node_id IN (SELECT id FROM nodes WHERE trash_root = $1)"
    );
    let waiting: Vec<Upload> = tx.query(sql).bind(root).all().await?;
    for upload in &waiting {
        uploads::give_up(tx, now, upload).await?;
    }
    let sql = concat!("SELECT ", node_columns!("n"), " FROM nodes n WHERE n.trash_root = $1");
    let nodes: Vec<Node> = tx.query(sql).bind(root).all().await?;
    for key in nodes.iter().filter_map(Node::key) {
        doomed::doom(tx, key, now).await?;
    }
    let sql = "DELETE FROM grants WHERE node_id IN (SELECT id FROM nodes WHERE trash_root = $1)";
    tx.query(sql).bind(root).run().await?;
    // Something that was deleted before, on its own, may lie in a folder that goes now.
    // It will be out of that, and out of the session whose folder that was.
    let lost = "UPDATE nodes SET session_tag = NULL WHERE trash_root IN (
                    SELECT inner_node.id FROM nodes inner_node
                    JOIN nodes gone ON gone.id = inner_node.parent_id
                    WHERE gone.trash_root = $1 AND inner_node.trash_root <> $1)";
    tx.query(lost).bind(root).run().await?;
    let sql = "UPDATE nodes SET parent_id = NULL
               WHERE parent_id IN (SELECT id FROM nodes WHERE trash_root = $1)";
    tx.query(sql).bind(root).run().await?;
    tx.query("DELETE FROM nodes WHERE trash_root = $1").bind(root).run().await?;
    let bytes = nodes.iter().filter_map(|node| node.file_size).sum::<i64>();
    let count = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    usage::count(tx, company, -bytes, -count).await?;
    Ok(())
}

/// 409 when something of this name is there already.
pub(super) async fn free(
    tx: &mut Tx,
    company: CompanyId,
    parent: Option<NodeId>,
    name: &str,
) -> Result<()> {
    let sql = "SELECT id FROM nodes
               WHERE company_id = $1 AND name_key = $2 AND state = 'ready' AND trashed_at IS NULL
                 AND (parent_id = $3 OR (parent_id IS NULL AND $3 IS NULL))";
    let taken = tx.query(sql).bind(company).bind(name::key(name)).bind(parent);
    let taken: Option<(NodeId,)> = taken.optional().await?;
    if taken.is_some() { Err(super::taken()) } else { Ok(()) }
}

/// 413 when the company has as many nodes as a library may have. Nobody else adds one
/// until the transaction ends.
pub(super) async fn room_for_one_more(tx: &mut Tx, company: CompanyId) -> Result<()> {
    if usage::alone(tx, company).await?.nodes >= usage::NODES {
        let detail = format!("a library has at most {} files and folders", usage::NODES);
        return Err(Error::new(Kind::TooLarge, "too_many_nodes", detail));
    }
    Ok(())
}

/// 409 when so many more levels in this folder would be too deep.
pub(super) async fn deep_enough(tx: &mut Tx, folder: NodeId, more: i64) -> Result<()> {
    let depth = i64::try_from(above(tx, folder).await?.len()).unwrap_or(i64::MAX);
    if depth + more > DEPTH {
        let detail = format!("folders lie at most {DEPTH} deep");
        return Err(Error::conflict("too_deep", detail));
    }
    Ok(())
}

/// A folder and those that it lies in.
async fn above(tx: &mut Tx, folder: NodeId) -> Result<Vec<NodeId>> {
    let sql = "WITH RECURSIVE above (id, parent_id, depth) AS (
                   SELECT id, parent_id, CAST(0 AS BIGINT) FROM nodes WHERE id = $1
                   UNION
                   SELECT n.id, n.parent_id, above.depth + 1 FROM nodes n
                   JOIN above ON n.id = above.parent_id WHERE above.depth <= $2
               )
               SELECT id FROM above";
    let found: Vec<(NodeId,)> = tx.query(sql).bind(folder).bind(DEPTH).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// How many levels lie below a node.
async fn height(tx: &mut Tx, id: NodeId) -> Result<i64> {
    let sql = concat!(below!(), "SELECT CAST(MAX(depth) AS BIGINT) FROM below");
    let (height,): (i64,) = tx.query(sql).bind(id).bind(DEPTH).one().await?;
    Ok(height)
}
