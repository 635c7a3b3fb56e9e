//! What an agent says through its socket: JSON texts, as the published SDK writes them.
//!
//! Of a frame only what has a meaning here is looked at; `instanceId`, `to`, `timestamp`
//! and whatever else there may be is passed over. A pulse means different things: the
//! stock bridge tells by its `meta` that it works on an answer or how it is, and puts a
//! text for people beside it, which would only be noise in a conversation.

use crate::{api::input, sandbox::REPLY_BYTES, sessions::sockets::Status};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest frame: a reply at its longest in which every other character is escaped,
/// and what is around it. A longer one closes the socket.
pub(super) const FRAME_BYTES: usize = 2 * REPLY_BYTES + (16 << 10);

/// What is read of a longer frame, so that its sender can still be told why in the
/// closing frame. Beyond it the connection just ends.
pub(super) const READ_BYTES: usize = 2 * FRAME_BYTES;

/// So many frames in a row that mean nothing: whoever sends them speaks something else.
pub(super) const BAD_FRAMES: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Ready,
    /// Nothing but a sign of life.
    Heartbeat,
    /// A reply, good to be stored.
    Say(String),
    /// It works on an answer.
    Typing,
    Status(Status),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    content: Option<String>,
    meta: Option<Map<String, Value>>,
}

/// Reads a text frame; or says, for the log, what is wrong with it.
pub(super) fn read(text: &str) -> Result<Frame, String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match raw.kind.as_str() {
        "ready" => Ok(Frame::Ready),
        "heartbeat" => Ok(Frame::Heartbeat),
        "message" => said(raw.content.unwrap_or_default()),
        "pulse" => pulse(raw.content.unwrap_or_default(), &raw.meta.unwrap_or_default()),
        other => Err(format!("unknown type {:?}", other.chars().take(40).collect::<String>())),
    }
}

fn pulse(content: String, meta: &Map<String, Value>) -> Result<Frame, String> {
    if meta.get("processing") == Some(&Value::Bool(true)) {
        return Ok(Frame::Typing);
    }
    match meta.get("status").and_then(Value::as_str) {
        Some("ok") => return Ok(Frame::Status(Status::Online)),
        Some("degraded" | "error") => return Ok(Frame::Status(Status::Degraded)),
        _ => {}
    }
    // "Agent is online and ready."
    if meta.len() == 1 && meta.contains_key("sessionId") {
        return Ok(Frame::Status(Status::Online));
    }
    if content.trim().is_empty() { Ok(Frame::Heartbeat) } else { said(content) }
}

fn said(content: String) -> Result<Frame, String> {
    input::content(&content, REPLY_BYTES).map_err(|error| error.detail)?;
    Ok(Frame::Say(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(frame: Value) -> Result<Frame, String> {
        super::read(&frame.to_string())
    }

    fn pulse(content: &str, meta: Value) -> Result<Frame, String> {
        read(
            json!({ "type": "pulse", "content": content, "meta": meta, "instanceId": "s", "timestamp": 1 }),
        )
    }

    /// As the published SDK and its bridge send them.
    #[test]
    fn frames_of_the_published_sdk() {
        let ready =
            json!({ "type": "ready", "instanceId": "s", "capabilities": ["llm"], "timestamp": 1 });
        assert_eq!(read(ready), Ok(Frame::Ready));
        assert_eq!(read(json!({ "type": "heartbeat", "timestamp": 1 })), Ok(Frame::Heartbeat));
        let said = || Ok(Frame::Say("hello".into()));
        assert_eq!(read(json!({ "type": "message", "to": "client", "content": "hello" })), said());
        assert_eq!(read(json!({ "type": "message", "content": "hello" })), said());
        assert_eq!(read(json!({ "type": "pulse", "content": "hello" })), said());

        let status = |status| Ok(Frame::Status(status));
        assert_eq!(
            pulse("Agent is online and ready.", json!({ "sessionId": "s" })),
            status(Status::Online)
        );
        assert_eq!(pulse("⏳ Processing...", json!({ "processing": true })), Ok(Frame::Typing));
        let up = json!({ "status": "ok", "openclawUrl": "http://inside" });
        assert_eq!(pulse("✅ Agent is up and ready.", up), status(Status::Online));
        assert_eq!(pulse("⚠️", json!({ "status": "degraded" })), status(Status::Degraded));
        assert_eq!(
            pulse("❌", json!({ "status": "error", "error": "x" })),
            status(Status::Degraded)
        );
        // What a builder's own code pushes is said to the client.
        for meta in [
            json!({ "job": "scrape" }),
            json!({ "processing": false }),
            json!({ "processing": "true" }),
            json!({ "status": "done" }),
            json!({ "status": 7 }),
            json!({ "sessionId": "s", "job": "scrape" }),
            json!({}),
            json!(null),
        ] {
            assert_eq!(pulse("hello", meta.clone()), said(), "{meta}");
        }
        assert_eq!(pulse(" ", json!({ "job": "scrape" })), Ok(Frame::Heartbeat));
    }

    #[test]
    fn frames_that_mean_nothing() {
        for frame in [
            json!({}),
            json!([]),
            json!("ready"),
            json!(null),
            json!({ "type": 7 }),
            json!({ "type": "READY" }),
            json!({ "type": "error", "content": "x" }),
            json!({ "type": "x".repeat(1_000) }),
            json!({ "type": "message" }),
            json!({ "type": "message", "content": " \n" }),
            json!({ "type": "message", "content": 7 }),
            json!({ "type": "message", "content": "a\0b" }),
            json!({ "type": "message", "content": "x".repeat(REPLY_BYTES + 1) }),
            json!({ "type": "pulse", "content": "a", "meta": [] }),
            json!({ "type": "pulse", "content": "a", "meta": "x" }),
        ] {
            let why = read(frame).expect_err("it means nothing");
            assert!(why.len() < 200, "{why}");
        }
        for text in ["", "{", "ready", "{\"type\":\"ready\"}x", "\u{0}", &"[".repeat(10_000)] {
            assert!(super::read(text).is_err());
        }
    }

    #[test]
    fn the_longest_reply_fits() {
        let content = "\"\n".repeat(REPLY_BYTES / 2);
        let text = json!({ "type": "message", "content": content }).to_string();
        assert!(text.len() <= FRAME_BYTES);
        assert_eq!(super::read(&text), Ok(Frame::Say(content)));
    }
}
