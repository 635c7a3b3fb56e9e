//! The log of a session: what its client may see, numbered without a gap.

use crate::{
    error::Result,
    id::{EventId, SessionId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Texts on one page of a list: a reply may have 256 KiB, and two hundred of them are
/// more than anybody wants at once.
const LIST_BYTES: i64 = 1 << 20;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Entry {
    pub session_id: SessionId,
    pub seq: i64,
    pub id: EventId,
    #[sqlx(rename = "type")]
    pub kind: String,
    #[sqlx(json)]
    pub body: Value,
    pub created_at: Timestamp,
    pub delivery: Option<String>,
}

/// An entry to be.
pub struct New {
    pub kind: &'static str,
    pub body: Value,
    pub reply_key: Option<String>,
    delivery: Option<&'static str>,
}

impl New {
    /// One that only the client learns of.
    pub fn of(kind: &'static str, body: Value) -> Self {
        Self { kind, body, reply_key: None, delivery: None }
    }

    /// The agent must learn of it, in its turn.
    pub fn queued(mut self) -> Self {
        self.delivery = Some("queued");
        self
    }

    /// The agent is about to learn of it: the caller drives the lane.
    pub fn running(mut self) -> Self {
        self.delivery = Some("running");
        self
    }
}

impl Entry {
    pub fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The entry as the stream and the lists show it.
    pub fn json(&self) -> Value {
        let mut all = json!({ "type": self.kind, "sessionId": self.session_id, "seq": self.seq });
        if let (Some(all), Some(body)) = (all.as_object_mut(), self.body.as_object()) {
            if matches!(self.kind.as_str(), "message" | "direct_message") {
                all.insert("id".into(), json!(self.id));
                all.insert("createdAt".into(), json!(self.created_at));
                if let Some(status) = self.status() {
                    all.insert("status".into(), json!(status));
                }
            }
            all.extend(body.clone());
        }
        all
    }

    /// How far a client's own message has come.
    fn status(&self) -> Option<&'static str> {
        Some(match self.delivery.as_deref()? {
            "queued" | "running" => "queued",
            "delivered" => "delivered",
            _ => "failed",
        })
    }

    /// The entry as lines of an event stream.
    pub fn line(&self) -> Arc<str> {
        let Self { seq, kind, .. } = self;
        format!("id: {seq}\nevent: {kind}\ndata: {}\n\n", self.json()).into()
    }
}

// Written down for the description of the API: what `Entry::json` makes of a message.
/// A message of a session.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Message {
    /// `message`.
    pub r#type: String,
    pub session_id: SessionId,
    /// Its number in the session's log.
    pub seq: i64,
    pub id: EventId,
    pub created_at: Timestamp,
    /// How far a client's message has come: `queued`, `delivered`, `failed`. Absent from an
    /// agent's.
    #[schema(nullable = false)]
    pub status: Option<String>,
    /// `user`, `agent`.
    pub role: String,
    pub content: String,
    /// True of a reply that was broken off: the content is as far as it had come.
    #[schema(nullable = false)]
    pub cancelled: Option<bool>,
}

/// A part of the log, in the order that was asked for.
pub struct Page {
    pub entries: Vec<Entry>,
    /// There is more behind it.
    pub more: bool,
}

#[derive(sqlx::FromRow)]
struct Found {
    #[sqlx(flatten)]
    entry: Entry,
    more: bool,
}

impl From<Vec<Found>> for Page {
    fn from(found: Vec<Found>) -> Self {
        let more = found.last().is_some_and(|last| last.more);
        Self { entries: found.into_iter().map(|found| found.entry).collect(), more }
    }
}

/// The entries of session `$1` that meet a condition, in an order: at most `$2`, and after
/// `$3` bytes no further one.
macro_rules! page {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT e.session_id, e.seq, e.id, e.type, e.body, e.created_at, e.delivery, p.more
             FROM (SELECT seq, ROW_NUMBER() OVER way AS place, LEAD(seq) OVER way IS NOT NULL AS more,
                          CAST(SUM(bytes) OVER way - bytes AS BIGINT) AS before
                   FROM (SELECT seq, bytes FROM events WHERE session_id = $1 AND ",
            $condition,
            "            ORDER BY seq ",
            $order,
            "            LIMIT $2 + 1) few
                   WINDOW way AS (ORDER BY seq ",
            $order,
            ")) p
             JOIN events e ON e.session_id = $1 AND e.seq = p.seq
             WHERE p.place <= $2 AND p.before < $3 ORDER BY e.seq ",
            $order
        )
    };
}

/// Writes an entry under a number that the caller has taken from the session.
pub(super) async fn insert(
    tx: &mut Tx,
    session: SessionId,
    seq: i64,
    id: EventId,
    new: New,
    now: Timestamp,
) -> Result<Entry> {
    // Serialised once more to be written; a body that is long enough to matter is rare.
    let bytes = i64::try_from(new.body.to_string().len()).unwrap_or(i64::MAX);
    let attempt = i64::from(new.delivery == Some("running"));
    tx.query(
        "INSERT INTO events (session_id, seq, id, type, body, created_at, reply_key, delivery,
             attempt, bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(session)
    .bind(seq)
    .bind(id)
    .bind(new.kind)
    .bind(Json(&new.body))
    .bind(now)
    .bind(new.reply_key)
    .bind(new.delivery)
    .bind(attempt)
    .bind(bytes)
    .run()
    .await?;
    Ok(Entry {
        session_id: session,
        seq,
        id,
        kind: new.kind.to_owned(),
        body: new.body,
        created_at: now,
        delivery: new.delivery.map(str::to_owned),
    })
}

/// Entries after number `after`, oldest first.
pub async fn after(
    tx: &mut Tx,
    session: SessionId,
    after: i64,
    limit: i64,
    bytes: i64,
) -> Result<Page> {
    let found = tx.query(page!("seq > $4", "ASC"));
    let found = found.bind(session).bind(limit).bind(bytes).bind(after);
    Ok(found.all::<Found>().await?.into())
}

/// Messages after `after` and up to `until`, oldest first: the agent's view.
pub async fn messages(
    tx: &mut Tx,
    session: SessionId,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Page> {
    let found = tx.query(page!("seq > $4 AND seq <= $5 AND type = 'message'", "ASC"));
    let found = found.bind(session).bind(limit).bind(LIST_BYTES).bind(after).bind(until);
    Ok(found.all::<Found>().await?.into())
}

/// Messages of this type before number `before`, newest first: the client's list.
pub async fn newest(
    tx: &mut Tx,
    session: SessionId,
    kind: &'static str,
    before: Option<i64>,
    limit: i64,
) -> Result<Page> {
    let found = tx.query(page!("seq < $4 AND type = $5", "DESC"));
    let found = found.bind(session).bind(limit).bind(LIST_BYTES);
    let found = found.bind(before.unwrap_or(i64::MAX)).bind(kind);
    Ok(found.all::<Found>().await?.into())
}

pub(super) async fn by_reply_key(
    tx: &mut Tx,
    session: SessionId,
    key: &str,
) -> Result<Option<Entry>> {
    let found = tx.query(
        "SELECT session_id, seq, id, type, body, created_at, delivery FROM events
         WHERE session_id = $1 AND reply_key = $2",
    );
    Ok(found.bind(session).bind(key).optional().await?)
}
