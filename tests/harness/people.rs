//! People who use the platform through its API, and what they are answered.

use super::{Events, Value, described, json};
use reqwest::{Method, RequestBuilder};
use std::sync::atomic::{AtomicU64, Ordering};

/// A signed-in user.
#[derive(Clone)]
pub struct Person {
    pub url: String,
    pub token: String,
    pub email: String,
    pub http: reqwest::Client,
}

pub const PASSWORD: &str = "correct horse battery";

/// One answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Person {
    /// Signs up, and pays in as much as one payment may be.
    pub async fn sign_up(url: &str, name: &str) -> Self {
        let person = Self::penniless(url, name).await;
        person.pays_in(1_000_000).await;
        person
    }

    /// Tops the wallet up, and waits until the money is there.
    pub async fn pays_in(&self, cents: i64) {
        let has = async || self.get("/wallet").await.ok()["balanceCents"].as_i64().expect("cents");
        let before = has().await;
        self.asks_once("/stripe/wallet/topup", json!({ "amountCents": cents })).await.ok();
        while has().await < before + cents {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Posts under a name that was never used.
    pub async fn asks_once(&self, path: &str, body: Value) -> Answer {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", self.email, COUNT.fetch_add(1, Ordering::Relaxed));
        self.asks_as(&name, path, body).await
    }

    pub async fn asks_as(&self, name: &str, path: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", name);
        send(request.json(&body)).await
    }

    /// Becomes a builder who can be paid.
    pub async fn becomes_builder(&self, name: &str) {
        self.post("/builder", json!({ "displayName": name })).await.created();
        self.post("/stripe/connect/onboard", json!({})).await.ok();
    }

    /// Signs up under a mail address that nobody else has.
    pub async fn penniless(url: &str, name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let email = format!("{name}-{}-{number}@example.com", std::process::id()).to_lowercase();
        let mut person = Self::nobody(url);
        let body = json!({ "email": email, "password": PASSWORD, "name": name });
        let signed = person.post("/auth/signup", body).await.created();
        person.token = signed["token"].as_str().expect("a token").to_owned();
        person.email = email;
        person
    }

    /// Signs in again, when the sign-in before is too old.
    pub async fn signs_in(&mut self) {
        let body = json!({ "email": self.email, "password": PASSWORD });
        let signed = self.post("/auth/login", body).await.ok();
        self.token = signed["token"].as_str().expect("a token").to_owned();
    }

    /// Someone who is not signed in.
    pub fn nobody(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url: url.to_owned(), token: String::new(), email: String::new(), http }
    }

    /// The same person at another address.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Creates a component agent without a component.
    pub async fn component_agent(&self, name: &str) -> String {
        let body = json!({
            "name": name, "description": "for tests", "delivery": "component",
            "priceCentsPerHour": 1000,
        });
        self.post("/builder/agents", body).await.created().id()
    }

    pub async fn upload(&self, agent: &str, wasm: impl Into<reqwest::Body>) -> Answer {
        let path = format!("/builder/agents/{agent}/components");
        let request = self.request(Method::POST, &path).header("content-type", "application/wasm");
        send(request.body(wasm)).await
    }

    /// Uploads and activates; returns the version's number.
    pub async fn install(&self, agent: &str, wasm: impl Into<reqwest::Body>) -> i64 {
        let version = self.upload(agent, wasm).await.created();
        let number = version["version"].as_i64().expect("a number");
        let path = format!("/builder/agents/{agent}/components/{number}/activate");
        self.post(&path, json!({})).await.ok();
        number
    }

    /// A published component agent.
    pub async fn publish(&self, name: &str, wasm: impl Into<reqwest::Body>) -> String {
        let agent = self.component_agent(name).await;
        self.install(&agent, wasm).await;
        self.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
        agent
    }

    /// A published webhook agent; returns its id and signing secret.
    pub async fn publish_webhook(&self, name: &str, url: &str, policy: &str) -> (String, String) {
        let body = json!({
            "name": name, "description": "for tests", "delivery": "webhook",
            "webhookUrl": url, "retryPolicy": policy, "priceCentsPerHour": 1000,
        });
        let made = self.post("/builder/agents", body).await.created();
        let secret = made["signingSecret"].as_str().expect("a secret").to_owned();
        self.post(&format!("/builder/agents/{}/publish", made.id()), json!({})).await.ok();
        (made.id(), secret)
    }

    /// Opens a session and listens from the start of its log.
    pub async fn opens(&self, agent: &str) -> (String, Events) {
        let session = self.post("/sessions", json!({ "agentId": agent })).await.created().id();
        let events = self.listens(&session, Some(0)).await;
        (session, events)
    }

    /// Opens a session and waits until the agent is ready.
    pub async fn starts(&self, agent: &str) -> (String, Events) {
        let (session, mut events) = self.opens(agent).await;
        events.until("session").await;
        (session, events)
    }

    pub async fn listens(&self, session: &str, after: Option<i64>) -> Events {
        let mut request = self.request(Method::GET, &format!("/sessions/{session}/stream"));
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        Events::of(request.send().await.expect("an answer"))
    }

    pub async fn says(&self, session: &str, content: &str) -> Value {
        let path = format!("/sessions/{session}/messages");
        self.post(&path, json!({ "content": content })).await.created()
    }

    pub async fn ends(&self, session: &str) -> Value {
        self.post(&format!("/sessions/{session}/end"), json!({})).await.ok()
    }

    /// The receipts of a session's events, oldest first; waits until there are so
    /// many.
    pub async fn receipts(&self, agent: &str, session: &str, count: usize) -> Vec<Value> {
        let path = format!("/builder/agents/{agent}/invocations?sessionId={session}&limit=200");
        for _ in 0..1_000 {
            let found = self.get(&path).await.ok();
            let data = found["data"].as_array().expect("a list").clone();
            if data.len() >= count {
                return data.into_iter().rev().collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no {count} receipts for session {session}");
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, url) = (request.method().to_string(), request.url().clone());
    let sent = request.body().and_then(|body| body.as_bytes()).map(<[u8]>::to_vec);
    let response = client.execute(request).await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = Answer { status, headers, body, text };
    // Benchmarks measure something else.
    if cfg!(test) {
        described::check(&method, &url, sent.as_deref(), &answer).await;
    }
    answer
}

impl Answer {
    #[track_caller]
    pub fn ok(self) -> Value {
        self.with(200)
    }

    #[track_caller]
    pub fn created(self) -> Value {
        self.with(201)
    }

    #[track_caller]
    pub fn with(self, status: u16) -> Value {
        self.having(status).body
    }

    /// Checks its status, and is itself.
    #[track_caller]
    pub fn having(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Checks that it is a problem of this status and code, in the form that every
    /// problem has, and returns it.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.text);
        assert_eq!(self.body["status"], status, "{}", self.text);
        for field in ["type", "title", "detail", "requestId", "error"] {
            assert!(self.body[field].is_string(), "{field} of {}", self.text);
        }
        self.body
    }
}

/// Reading ids out of answers.
pub trait Id {
    fn id(&self) -> String;
}

impl Id for Value {
    #[track_caller]
    fn id(&self) -> String {
        self["id"].as_str().unwrap_or_else(|| panic!("no id in {self}")).to_owned()
    }
}
