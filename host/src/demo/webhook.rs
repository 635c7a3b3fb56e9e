//! The demo's webhook agent: what a builder would run on a server of his own. It
//! checks the signature, and answers through the agent API.

use crate::{clock::Clock, delivery::webhook::sign};
use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Agent {
    /// The platform's address.
    url: String,
    http: reqwest::Client,
    secret: Arc<OnceLock<String>>,
}

/// Starts the agent; returns its address and where to put its signing secret.
pub(super) async fn start(url: &str) -> Result<(String, Arc<OnceLock<String>>)> {
    let secret = Arc::<OnceLock<String>>::default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let agent = Agent { url: url.to_owned(), http, secret: Arc::clone(&secret) };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}/hook", listener.local_addr()?);
    let router = Router::new().route("/hook", post(hook)).with_state(agent);
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok((address, secret))
}

async fn hook(State(agent): State<Agent>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let expected = agent.secret.get().and_then(|secret| sign(secret, id, timestamp, &body));
    let fresh = timestamp
        .parse::<i64>()
        .is_ok_and(|sent| (Clock::default().now().as_secs() - sent).abs() < 300);
    if expected.as_deref() != Some(header("webhook-signature")) || !fresh {
        return StatusCode::UNAUTHORIZED;
    }
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    match answer(&agent, &event).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

async fn answer(agent: &Agent, event: &Value) -> Result<()> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let (session, token) = (text("sessionId"), text("agentAuthToken"));
    if text("event") != "message" {
        return Ok(());
    }
    let said = event["message"]["content"].as_str().unwrap_or_default();
    let reply =
        json!({ "content": format!("You wrote {} characters: {said}", said.chars().count()) });
    let call = agent.http.post(format!("{}/agent/{session}/message", agent.url));
    // The event's id makes a repeated answer the same answer.
    let call = call.bearer_auth(token).header("idempotency-key", text("id"));
    call.json(&reply).send().await?.error_for_status()?;
    Ok(())
}
