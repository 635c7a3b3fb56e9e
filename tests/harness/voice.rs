//! A webhook agent's voice: what it calls by itself, whether or not it answers what
//! it is sent.

use super::{Platform, Value, json, people::Answer, people::send};
use reqwest::{Method, RequestBuilder};

/// An address at which no agent answers: whatever is delivered there fails at once.
pub const NOBODY: &str = "http://127.0.0.1:9/hook";

#[derive(Clone)]
pub struct Voice {
    pub session: String,
    pub token: String,
    url: String,
    http: reqwest::Client,
}

impl Voice {
    /// The agent of this session, with the token that it was sent.
    pub fn of(platform: &Platform, session: &str) -> Self {
        let token = platform.host.agent_token(session.parse().expect("an id"));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { session: session.to_owned(), token, url: platform.url.clone(), http }
    }

    /// The same agent, calling another process.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// A call without any credential.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub fn call(&self, what: &str) -> RequestBuilder {
        let path = format!("/agent/{}/{what}", self.session);
        self.bare(Method::POST, &path).bearer_auth(&self.token)
    }

    pub async fn auth(&self) -> Answer {
        let path = format!("/agent/{}/auth", self.session);
        let body = json!({ "agentAuthToken": self.token });
        send(self.bare(Method::POST, &path).json(&body)).await
    }

    pub async fn posts(&self, body: Value) -> Answer {
        send(self.call("message").json(&body)).await
    }

    pub async fn says(&self, content: &str) -> Value {
        self.posts(json!({ "content": content })).await.created()
    }

    /// Under a key that makes a repetition the same message.
    pub async fn says_once(&self, key: &str, content: &str) -> Answer {
        let call = self.call("message").header("idempotency-key", key);
        send(call.json(&json!({ "content": content }))).await
    }

    /// A piece of a reply that is not the last one.
    pub async fn piece(&self, stream: &str, content: &str) -> Value {
        self.posts(json!({ "content": content, "streamId": stream })).await.with(202)
    }

    pub async fn history(&self, query: &str) -> Answer {
        let path = format!("/agent/sessions/{}/messages{query}", self.session);
        send(self.bare(Method::GET, &path).bearer_auth(&self.token)).await
    }
}
