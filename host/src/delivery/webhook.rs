//! Delivery to a builder's server: a POST, signed as Standard Webhooks asks
//! (`{id}.{timestamp}.{body}`, HMAC-SHA256, header `webhook-signature: v1,…`).

use super::{Delivery, Failure, Parcel, Report, Verdict, What, exchange::Exchange};
use crate::{
    clock::Clock,
    id::{EventId, SessionId},
    net::{Post, Unanswered},
    sandbox::Author,
    timestamp::Timestamp,
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{Duration, Instant, UNIX_EPOCH};
use url::Url;

/// For the whole exchange, from the first look-up to the last byte (contract §8).
pub const EXCHANGE: Duration = Duration::from_secs(10);

/// What is read of an answer; then the connection is dropped.
const ANSWER_BYTES: usize = 16 << 10;

/// The secret's prefix; the rest is the key in base64.
pub const SECRET_PREFIX: &str = "whsec_";

/// The code of an answer 410: nothing is to be sent there any more.
pub const GONE: &str = "gone";

pub struct ToWebhook {
    pub post: Post,
    pub clock: Clock,
    pub url: Url,
    /// With their prefix. Each signs; a receiver that knows any of them is content.
    pub secrets: Vec<String>,
    /// The session's token, by which the agent answers.
    pub token: String,
}

/// What is sent.
pub struct Letter<'a> {
    pub event: EventId,
    pub session: SessionId,
    pub attempt: u32,
    /// A field of the body that is true, for what is out of the ordinary.
    pub mark: Option<&'static str>,
    pub what: &'a What,
}

#[async_trait]
impl Delivery for ToWebhook {
    async fn deliver(&self, parcel: Parcel) -> Report {
        let letter = Letter {
            event: parcel.event,
            session: parcel.session,
            attempt: parcel.attempt,
            mark: parcel.replayed.then_some("replay"),
            what: &parcel.what,
        };
        self.send(&letter).await
    }
}

impl ToWebhook {
    /// One exchange. It takes no longer than [`EXCHANGE`].
    pub async fn send(&self, letter: &Letter<'_>) -> Report {
        let (begun, mut told) = (Instant::now(), Exchange::default());
        let exchange = self.exchange(letter, begun, &mut told);
        let verdict = match tokio::time::timeout(EXCHANGE, exchange).await {
            Ok(verdict) => verdict,
            Err(_) => later("timeout", format!("the agent did not answer within {EXCHANGE:?}")),
        };
        if let Verdict::Later(failure) | Verdict::Never(failure) = &verdict {
            told.error.get_or_insert(failure.code);
            told.detail = Some(failure.reason.clone());
        }
        told.close(millis(begun));
        let retry_after = told.retry_after;
        Report { exchange: Some(told), retry_after, ..verdict.into() }
    }

    async fn exchange(&self, letter: &Letter<'_>, begun: Instant, told: &mut Exchange) -> Verdict {
        let shown = body(letter, &self.token);
        let body = shown.to_string();
        told.url = self.url.to_string();
        let id = letter.event.to_string();
        let timestamp = self.clock.now().as_secs().to_string();
        let signatures = self.secrets.iter().map(|secret| sign(secret, &id, &timestamp, &body));
        let Some(signatures) = signatures.collect::<Option<Vec<_>>>() else {
            return never("no_secret", "the agent's signing secret is damaged");
        };
        let Some(headers) = headers(&id, &timestamp, &signatures.join(" "), letter.attempt) else {
            return never("no_secret", "the agent's signing secret is damaged");
        };
        told.sent(&headers, &shown);
        let sent = self.post.send(&self.url, headers, body.into(), &told.trace).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(unanswered) => return told.broke(unanswered),
        };
        told.reused = Some(answer.reused);
        let (head, mut rest) = answer.response.into_parts();
        let status = head.status;
        told.first_byte_ms = Some(millis(begun));
        told.response_status = Some(status.as_u16());
        told.retry_after = retry_after(&head.headers, self.clock.now());
        // Read what there is to read, so that the connection can be used again.
        while !told.response_truncated {
            match rest.frame().await {
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    let room = ANSWER_BYTES - told.read.len();
                    told.read.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    told.response_truncated = chunk.len() > room;
                }
                None => break,
                Some(Err(_)) if status.is_success() => break,
                Some(Err(error)) => return told.broke(Unanswered::broken(&error)),
            }
        }
        if status.is_success() {
            Verdict::Delivered
        } else if status == StatusCode::GONE {
            later(GONE, "the agent's address is gone (410)".into())
        } else if status.is_redirection() {
            later("redirect", "the agent's address redirects, which is not followed".into())
        } else {
            later("status", format!("the agent answered {}", status.as_u16()))
        }
    }
}

/// `Retry-After` of an answer: seconds, with a fraction or without, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_micros(now.as_micros().try_into().ok()?);
    Some(date.saturating_sub(now))
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn later(code: &'static str, reason: String) -> Verdict {
    Verdict::Later(Failure { code, reason })
}

fn never(code: &'static str, reason: &str) -> Verdict {
    Verdict::Never(Failure { code, reason: reason.to_owned() })
}

/// None when one of them is not fit for a header.
fn headers(id: &str, timestamp: &str, signature: &str, attempt: u32) -> Option<HeaderMap> {
    let attempt = attempt.to_string();
    let all = [
        ("content-type", "application/json"),
        // What cannot expand cannot burst.
        ("accept-encoding", "identity"),
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
        ("aiybiz-delivery-attempt", &attempt),
    ];
    let mut headers = HeaderMap::with_capacity(all.len());
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

fn body(letter: &Letter<'_>, token: &str) -> Value {
    let mut body = json!({
        "event": "message",
        "id": letter.event,
        "sessionId": letter.session,
        "agentAuthToken": token,
    });
    if let Some(mark) = letter.mark {
        body[mark] = json!(true);
    }
    match letter.what {
        What::Started => body["event"] = json!("session_started"),
        What::Ended(reason) => {
            body["event"] = json!("session_ended");
            body["reason"] = json!(reason);
        }
        What::Message(message) => {
            let role = if message.author == Author::Agent { "agent" } else { "user" };
            body["message"] = json!({
                "id": message.id,
                "content": message.content,
                "role": role,
                "createdAt": message.created_at,
            });
        }
    }
    body
}

/// The value of `webhook-signature`. None when the secret is not one.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &str) -> Option<String> {
    let key = BASE64_STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

/// A new secret: 32 random bytes, as Standard Webhooks writes them.
pub fn new_secret(clock: &Clock) -> String {
    format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(clock.random::<32>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = Timestamp::from_micros(1_445_412_480_000_000).expect("a time");
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers, now)
        };
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(read("120"), seconds(120));
        assert_eq!(read(" 1.5 "), Some(Duration::from_millis(1_500)));
        assert_eq!(read("0"), seconds(0));
        assert_eq!(read("Wed, 21 Oct 2015 07:29:00 GMT"), seconds(60));
        assert_eq!(read("Wed, 21 Oct 2015 07:00:00 GMT"), seconds(0), "past");
        for garbage in ["", "soon", "-1", "NaN", "inf", "1e400", "12 s"] {
            assert_eq!(read(garbage), None, "{garbage}");
        }
    }

    /// The vector that the Standard Webhooks libraries are tested with.
    #[test]
    fn signs_as_the_standard_says() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }
}
