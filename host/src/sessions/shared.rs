//! What a client hands to one session: documents, and secrets that nobody but the
//! session's agent reads, and that are gone when the session is over.
//!
//! Both are sealed where they lie. The log tells that something was shared, never
//! what was in it.

use super::{
    log::{Entry, New},
    owned_by,
    replies::{self, Speaker},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{CompanyId, ItemId, SessionId},
    reseal::Column,
    seal::Key,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;
use serde_json::json;

/// Items of one session, and the most that one holds, in bytes. Together they fit
/// into one answer; what is larger is a file.
const ITEMS: i64 = 50;
pub const DOCUMENT_BYTES: usize = 64 << 10;
pub const SECRET_BYTES: usize = 16 << 10;

/// What was shared and not forgotten. An item's id is enough to know it by.
pub const SEALED: Column = Column {
    select: "SELECT id, '' AS name, content AS value FROM shared_items
         WHERE SUBSTR(content, 1, 8) <> $1 AND id > $2 AND $3 = '' ORDER BY id LIMIT $4",
    update: "UPDATE shared_items SET content = $3 WHERE id = $1 AND $2 = ''",
    place: |id, _| place(ItemId(id)),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Document,
    Secret,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Secret => "secret",
        }
    }
}

/// A document or a secret that a client has handed to a session.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SharedItem)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub id: ItemId,
    /// `document`, `secret`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub created_at: Timestamp,
    /// Absent where it is not shown: what a secret is, only its session's agent reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub content: Option<String>,
}

/// A document as a component finds it: a file.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Document {
    pub id: ItemId,
    pub name: String,
    pub size_bytes: i64,
    pub created_at: Timestamp,
}

/// An item whose fields have been looked at.
pub struct NewItem {
    pub kind: Kind,
    pub name: String,
    pub content: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Sees that there is a secret, not what it is.
    Client,
    Agent,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: ItemId,
    #[sqlx(rename = "type")]
    kind: String,
    name: String,
    content: Option<Vec<u8>>,
    created_at: Timestamp,
}

/// Stores the item for as long as the session is not over. The entry tells the
/// client's other readers.
pub async fn add(
    tx: &mut Tx,
    clock: &Clock,
    seal: &Key,
    (session, company): (SessionId, CompanyId),
    new: NewItem,
) -> Result<(Item, Entry)> {
    let NewItem { kind, name, content } = new;
    let (id, created_at) = (clock.id::<ItemId>(), clock.now());
    let item = Item { id, kind: kind.as_str().into(), name, created_at, content: None };
    // The session's row is the queue from here on.
    let entry = tell(tx, clock, (session, company), &item, "added").await?;
    let sql = "SELECT COUNT(*) FROM shared_items WHERE session_id = $1";
    let (others,): (i64,) = tx.query(sql).bind(session).one().await?;
    if others >= ITEMS {
        let detail = format!("a session has at most {ITEMS} shared items");
        return Err(Error::conflict("too_many_shared_items", detail));
    }
    let made = tx.query(
        "INSERT INTO shared_items (id, session_id, type, name, content, size_bytes, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    );
    let sealed = seal.seal(clock, &place(id), content.as_bytes())?;
    let made = made.bind(id).bind(session).bind(kind.as_str()).bind(item.name.as_str());
    if made.bind(sealed).bind(content.len() as i64).bind(created_at).run().await? == 0 {
        let detail = "the session has a secret of this name; delete it first";
        return Err(Error::conflict("shared_item_exists", detail));
    }
    let shown = (kind == Kind::Document).then_some(content);
    Ok((Item { content: shown, ..item }, entry))
}

/// Takes the item back, for as long as the session is not over.
pub async fn remove(
    tx: &mut Tx,
    clock: &Clock,
    (session, company): (SessionId, CompanyId),
    id: ItemId,
) -> Result<Entry> {
    owned_by(tx, session, company).await?;
    let found = tx.query(
        "SELECT id, type, name, content, created_at FROM shared_items
         WHERE id = $1 AND session_id = $2",
    );
    let found: Option<Row> = found.bind(id).bind(session).optional().await?;
    let Row { kind, name, created_at, .. } = found.ok_or(Error::not_found("shared item"))?;
    let item = Item { id, kind, name, created_at, content: None };
    let entry = tell(tx, clock, (session, company), &item, "removed").await?;
    let gone = tx.query("DELETE FROM shared_items WHERE id = $1").bind(id).run().await?;
    // Somebody else may have been faster.
    (gone > 0).then_some(entry).ok_or(Error::not_found("shared item"))
}

/// Writes down that an item came or went, without what is in it.
async fn tell(
    tx: &mut Tx,
    clock: &Clock,
    (session, company): (SessionId, CompanyId),
    item: &Item,
    change: &str,
) -> Result<Entry> {
    owned_by(tx, session, company).await?;
    let new = New::of("shared_item", json!({ "item": item, "change": change }));
    let told = replies::note(tx, clock, session, Speaker::Token, new).await?;
    told.ok_or_else(|| Error::conflict("session_ended", "the session is over"))
}

/// A page of the session's items, newest first.
pub async fn list(
    tx: &mut Tx,
    seal: &Key,
    session: SessionId,
    reader: Reader,
    before: Option<ItemId>,
    limit: i64,
) -> Result<Vec<Item>> {
    let found = tx.query(
        "SELECT id, type, name, content, created_at FROM shared_items
         WHERE session_id = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    );
    let rows: Vec<Row> = found.bind(session).bind(before).bind(limit).all().await?;
    rows.into_iter()
        .map(|row| {
            let shown = reader == Reader::Agent || row.kind != Kind::Secret.as_str();
            let content = if shown { open(seal, &row)? } else { None };
            let Row { id, kind, name, created_at, .. } = row;
            Ok(Item { id, kind, name, created_at, content })
        })
        .collect()
}

/// What the guest's `secrets` sees of this name.
pub async fn secret(
    tx: &mut Tx,
    seal: &Key,
    session: SessionId,
    name: &str,
) -> Result<Option<String>> {
    let found = tx.query(
        "SELECT id, type, name, content, created_at FROM shared_items
         WHERE session_id = $1 AND name = $2 AND type = 'secret'",
    );
    let row: Option<Row> = found.bind(session).bind(name).optional().await?;
    row.map_or(Ok(None), |row| open(seal, &row))
}

/// The session's documents, oldest first.
pub async fn documents(tx: &mut Tx, session: SessionId) -> Result<Vec<Document>> {
    let found = tx.query(
        "SELECT id, name, size_bytes, created_at FROM shared_items
         WHERE session_id = $1 AND type = 'document' ORDER BY id",
    );
    Ok(found.bind(session).all().await?)
}

/// What is in a document; none when it was taken back.
pub async fn document(
    tx: &mut Tx,
    seal: &Key,
    session: SessionId,
    id: ItemId,
) -> Result<Option<String>> {
    let found = tx.query(
        "SELECT id, type, name, content, created_at FROM shared_items
         WHERE session_id = $1 AND id = $2 AND type = 'document'",
    );
    let row: Option<Row> = found.bind(session).bind(id).optional().await?;
    row.map_or(Ok(None), |row| open(seal, &row))
}

/// Forgets what the session's secrets were. Call it in the transaction that ends the
/// session.
pub(super) async fn purge(tx: &mut Tx, session: SessionId) -> Result<()> {
    let sql = "UPDATE shared_items SET content = NULL WHERE session_id = $1 AND type = 'secret'";
    tx.query(sql).bind(session).run().await?;
    Ok(())
}

fn open(seal: &Key, row: &Row) -> Result<Option<String>> {
    let Some(sealed) = &row.content else { return Ok(None) };
    let content = seal.open(&place(row.id), sealed)?;
    String::from_utf8(content).map(Some).map_err(Error::internal)
}

fn place(id: ItemId) -> String {
    format!("shared item/{id}")
}
