//! Lines of the event stream for what is in no log: they have no number, so a
//! client that reconnects still asks for what it missed of the log.

use crate::id::{EventId, SessionId};
use serde_json::{Value, json};
use std::sync::Arc;

/// A piece of a reply; `offset` counts UTF-16 units, as a browser does.
pub fn delta(id: EventId, offset: u64, text: &str) -> Arc<str> {
    let kind = "message_delta";
    passing(kind, &json!({ "type": kind, "messageId": id, "offset": offset, "text": text }))
}

/// A reply in progress, for one who comes in the middle; pieces go on at `offset`.
pub fn snapshot(id: EventId, text: &str) -> Arc<str> {
    let kind = "message_snapshot";
    let offset = text.encode_utf16().count();
    passing(kind, &json!({ "type": kind, "messageId": id, "offset": offset, "text": text }))
}

/// Whether the agent can be reached: `online`, `degraded` or `offline`.
pub fn presence(session: SessionId, status: &str) -> Arc<str> {
    let kind = "presence";
    passing(kind, &json!({ "type": kind, "sessionId": session, "status": status }))
}

pub fn typing() -> Arc<str> {
    passing("typing", &json!({ "type": "typing", "from": "agent" }))
}

/// The number the client asked to resume after is not one of this log.
pub fn reset(last_seq: i64) -> Arc<str> {
    let kind = "stream_reset";
    passing(kind, &json!({ "type": kind, "lastSeq": last_seq }))
}

fn passing(kind: &str, data: &Value) -> Arc<str> {
    format!("event: {kind}\ndata: {data}\n\n").into()
}
