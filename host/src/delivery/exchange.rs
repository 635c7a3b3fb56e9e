//! What went over the wire with one try of a webhook, for its builder to read.
//!
//! Tokens and signatures are left out: a log that anybody may be shown must open no
//! session.

use reqwest::header::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{error::Error as StdError, io, time::Duration};

/// What stands for a token or a signature.
const REDACTED: &str = "[redacted]";

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    pub url: String,
    pub request_headers: Map<String, Value>,
    pub request_body: String,
    /// Null when there was no answer.
    pub response_status: Option<u16>,
    /// As much as was read of it; what is not UTF-8 is replaced.
    pub response_body: Option<String>,
    /// There was more.
    pub response_truncated: bool,
    /// A code for what went wrong: `timeout`, `dns`, `blocked_address`, `refused`, `tls`,
    /// `reset`, `unreachable`, `redirect`, `gone`, `status`, `no_secret`.
    pub error: Option<&'static str>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// Where the connection led to.
    pub address: Option<String>,
    /// Until the head of the answer was there, from the beginning.
    pub first_byte_ms: Option<u64>,
    pub duration_ms: u64,
    /// How long it asks to be left alone.
    #[serde(skip)]
    pub(super) retry_after: Option<Duration>,
    /// What was read of the answer so far.
    #[serde(skip)]
    pub(super) read: Vec<u8>,
}

impl Exchange {
    pub(super) fn sent(&mut self, headers: &HeaderMap, body: &Value) {
        let shown = |(name, value): (&reqwest::header::HeaderName, &_)| {
            let value: &reqwest::header::HeaderValue = value;
            let text = match name.as_str() {
                "webhook-signature" | "authorization" => REDACTED,
                _ => value.to_str().unwrap_or_default(),
            };
            (name.as_str().to_owned(), json!(text))
        };
        self.request_headers = headers.iter().map(shown).collect();
        let mut body = body.clone();
        body["agentAuthToken"] = json!(REDACTED);
        self.request_body = body.to_string();
    }

    /// It is over. PostgreSQL stores no NUL.
    pub(super) fn close(&mut self, took: u64) {
        self.duration_ms = took;
        if self.response_status.is_some() {
            let text = String::from_utf8_lossy(&self.read);
            self.response_body = Some(text.replace('\0', "\u{fffd}"));
        }
    }
}

/// What kind of failure it is.
pub(super) fn class(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    let mut found = "unreachable";
    while let Some(inner) = cause {
        if crate::net::is_closed(inner) {
            return "blocked_address";
        }
        if inner.to_string().starts_with("dns error") {
            found = "dns";
        }
        if inner.is::<rustls::Error>() {
            return "tls";
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => found = "refused",
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => found = "reset",
                _ => {}
            }
            // What is inside is a cause of its own, which `source` passes over.
            if let Some(inner) = error.get_ref()
                && inner.is::<rustls::Error>()
            {
                return "tls";
            }
        }
        cause = inner.source();
    }
    found
}
