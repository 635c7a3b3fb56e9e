//! What went over the wire with one try, for the agent's builder to read.
//!
//! Tokens and signatures are left out: a log that anybody may be shown must open no
//! session.

use super::{Failure, Verdict};
use crate::net::{Trace, Unanswered};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What stands for a token or a signature.
const REDACTED: &str = "[redacted]";

/// What went over the wire with one try.
#[derive(Clone, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The webhook's, or `ws:` and the session when it went through the agent's socket.
    pub url: String,
    /// Tokens and signatures are `[redacted]`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub request_headers: Map<String, Value>,
    pub request_body: String,
    /// Null when there was no answer.
    pub response_status: Option<u16>,
    /// As much as was read of it; what is not UTF-8 is replaced.
    pub response_body: Option<String>,
    /// There was more.
    pub response_truncated: bool,
    /// A code for what went wrong: `timeout`, `dns`, `blocked_address`, `refused`,
    /// `connect_timeout`, `tls`, `reset`, `protocol`, `unreachable`, `redirect`, `gone`,
    /// `status`, `no_secret`, `socket_closed`.
    pub error: Option<&'static str>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// Where the connection led to, or should have.
    pub address: Option<String>,
    /// It was open already.
    pub reused: Option<bool>,
    /// What each step of opening it took; null for those that there were not.
    pub dns_ms: Option<u64>,
    pub connect_ms: Option<u64>,
    pub tls_ms: Option<u64>,
    /// Until the head of the answer was there, from the beginning.
    pub first_byte_ms: Option<u64>,
    pub duration_ms: u64,
    /// How far the connection is.
    #[serde(skip)]
    pub(super) trace: Trace,
    /// How long it asks to be left alone.
    #[serde(skip)]
    pub(super) retry_after: Option<Duration>,
    /// What was read of the answer so far.
    #[serde(skip)]
    pub(super) read: Vec<u8>,
}

impl Exchange {
    /// One that was broken off before anything came of it.
    pub fn broken_off(url: String, error: &'static str, detail: String) -> Self {
        Self { url, error: Some(error), detail: Some(detail), ..Self::default() }
    }

    pub(super) fn sent(&mut self, headers: &HeaderMap, body: &Value) {
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
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

    /// There is no answer, or not all of it.
    pub(super) fn broke(&mut self, unanswered: Unanswered) -> Verdict {
        self.error = Some(unanswered.class);
        // Without the URL: that is the builder's business.
        let reason = format!("the agent could not be reached: {}", unanswered.why);
        Verdict::Later(Failure { code: "unreachable", reason })
    }

    /// It is over. PostgreSQL stores no NUL.
    pub(super) fn close(&mut self, took: u64) {
        let dialled = self.trace.dialled();
        self.address = dialled.address.map(|address| address.to_string());
        self.dns_ms = dialled.dns.map(millis);
        self.connect_ms = dialled.connect.map(millis);
        self.tls_ms = dialled.tls.map(millis);
        self.duration_ms = took;
        if self.response_status.is_some() {
            let text = String::from_utf8_lossy(&self.read);
            self.response_body = Some(text.replace('\0', "\u{fffd}"));
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
