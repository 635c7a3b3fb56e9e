//! The log of a session: what its client may see, numbered without a gap.

use crate::{
    error::Result,
    id::{EventId, SessionId},
    storage::{Json, Tx},
    timestamp::Timestamp,
};
use serde_json::{Value, json};
use std::sync::Arc;

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

/// Writes an entry under a number that the caller has taken from the session.
pub(super) async fn insert(
    tx: &mut Tx,
    session: SessionId,
    seq: i64,
    id: EventId,
    new: New,
    now: Timestamp,
) -> Result<Entry> {
    let attempt = i64::from(new.delivery == Some("running"));
    tx.query(
        "INSERT INTO events (session_id, seq, id, type, body, created_at, reply_key, delivery,
             attempt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
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
pub async fn after(tx: &mut Tx, session: SessionId, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let found = tx.query(
        "SELECT session_id, seq, id, type, body, created_at, delivery FROM events
         WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    );
    Ok(found.bind(session).bind(after).bind(limit).all().await?)
}

/// Messages after `after` and up to `until`, oldest first: the agent's view.
pub async fn messages(
    tx: &mut Tx,
    session: SessionId,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    let found = tx.query(
        "SELECT session_id, seq, id, type, body, created_at, delivery FROM events
         WHERE session_id = $1 AND seq > $2 AND seq <= $3 AND type = 'message'
         ORDER BY seq LIMIT $4",
    );
    Ok(found.bind(session).bind(after).bind(until).bind(limit).all().await?)
}

/// Messages before number `before`, newest first: the client's list.
pub async fn newest_messages(
    tx: &mut Tx,
    session: SessionId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let found = tx.query(
        "SELECT session_id, seq, id, type, body, created_at, delivery FROM events
         WHERE session_id = $1 AND ($2 IS NULL OR seq < $2) AND type = 'message'
         ORDER BY seq DESC LIMIT $3",
    );
    Ok(found.bind(session).bind(before).bind(limit).all().await?)
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
