//! A builder's server: a webhook agent on a real port, that does as it is told.

use super::{Value, json};
use aiybiz_host::delivery::webhook::sign;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;

/// What came in, in order.
#[derive(Clone, Debug)]
pub struct Request {
    pub headers: HeaderMap,
    pub body: Value,
    pub raw: String,
}

type Reaction = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// What the agent does with a request.
pub enum Reply {
    /// Calls back with these messages, then answers 200.
    Say(Vec<String>),
    /// Calls back with one message in these pieces, a moment apart, then answers 200.
    Stream(Vec<String>),
    Status(u16),
    /// With a header.
    With(u16, &'static str, String),
    /// Answers 307 to this address.
    Redirect(String),
    /// Never answers.
    Hang,
}

#[derive(Clone)]
pub struct WebhookAgent {
    pub address: String,
    pub requests: Arc<Mutex<Vec<Request>>>,
    platform: Arc<Mutex<String>>,
    reaction: Reaction,
    http: reqwest::Client,
}

impl WebhookAgent {
    /// An agent that answers every message with `echo: …`.
    pub async fn echo(platform: &str) -> Self {
        Self::that(platform, |request| match request.body["event"].as_str() {
            Some("message") => {
                let said = request.body["message"]["content"].as_str().unwrap_or_default();
                Reply::Say(vec![format!("echo: {said}")])
            }
            _ => Reply::Status(200),
        })
        .await
    }

    pub async fn that(
        platform: &str,
        reaction: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let agent = Self {
            address: format!("http://{}/hook", listener.local_addr().expect("an address")),
            requests: Arc::default(),
            platform: Arc::new(Mutex::new(platform.to_owned())),
            reaction: Arc::new(reaction),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        let router = Router::new().route("/hook", post(hook)).with_state(agent.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        agent
    }

    /// The platform has moved.
    pub fn platform_is_at(&self, url: &str) {
        *self.platform.lock().expect("no panic") = url.to_owned();
    }

    pub fn seen(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// Is it signed with this secret?
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let expected = sign(secret, id, timestamp, &self.raw).expect("a secret");
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

async fn hook(
    State(agent): State<WebhookAgent>,
    headers: HeaderMap,
    raw: String,
) -> (StatusCode, HeaderMap) {
    let body = serde_json::from_str(&raw).expect("JSON");
    let request = Request { headers, body, raw };
    agent.requests.lock().expect("no panic").push(request.clone());
    let mut headers = HeaderMap::new();
    let status = match (agent.reaction)(&request) {
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status"),
        Reply::With(status, name, value) => {
            headers.insert(name, value.parse().expect("a header"));
            StatusCode::from_u16(status).expect("a status")
        }
        Reply::Redirect(to) => {
            headers.insert("location", to.parse().expect("a header"));
            StatusCode::TEMPORARY_REDIRECT
        }
        Reply::Hang => std::future::pending().await,
        Reply::Say(all) => answered(say(&agent, &request, &all).await),
        Reply::Stream(pieces) => answered(stream(&agent, &request, &pieces).await),
    };
    (status, headers)
}

fn answered(called: reqwest::Result<()>) -> StatusCode {
    if called.is_ok() { StatusCode::OK } else { StatusCode::BAD_GATEWAY }
}

/// Calls back, each reply under a key of its own, so that one that was taken
/// before a crash is not taken twice.
async fn say(agent: &WebhookAgent, request: &Request, all: &[String]) -> reqwest::Result<()> {
    for (n, content) in all.iter().enumerate() {
        let key = format!("{}-{n}", request.header("webhook-id"));
        let call = call_back(agent, request).header("idempotency-key", key);
        call.json(&json!({ "content": content })).send().await?.error_for_status()?;
    }
    Ok(())
}

async fn stream(agent: &WebhookAgent, request: &Request, pieces: &[String]) -> reqwest::Result<()> {
    let id = request.header("webhook-id");
    for (n, piece) in pieces.iter().enumerate() {
        let body = json!({ "streamId": id, "content": piece, "done": n + 1 == pieces.len() });
        call_back(agent, request).json(&body).send().await?.error_for_status()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn call_back(agent: &WebhookAgent, request: &Request) -> reqwest::RequestBuilder {
    let platform = agent.platform.lock().expect("no panic").clone();
    let session = request.body["sessionId"].as_str().unwrap_or_default();
    let call = agent.http.post(format!("{platform}/agent/{session}/message"));
    call.bearer_auth(request.body["agentAuthToken"].as_str().unwrap_or_default())
}
