//! A small client of the API: JSON in, JSON out, and a reader of event streams.

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// Long enough for a compiler on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// Signs up, or in when an earlier demo signed up already.
    pub(super) async fn enter(url: &str, email: &str, name: &str, password: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let mut client = Self { http, url: url.to_owned(), token: String::new() };
        let account = json!({ "email": email, "name": name, "password": password });
        let signed = match client.post("/auth/signup", account).await {
            Ok(signed) => signed,
            Err(_) => {
                let account = json!({ "email": email, "password": password });
                client.post("/auth/login", account).await?
            }
        };
        client.token = signed["token"].as_str().context("no token")?.to_owned();
        Ok(client)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        answer(self.request(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value> {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// Pays in, under a name of its own.
    pub(super) async fn pay_in(&self, name: &str, cents: i64) -> Result<Value> {
        let request = self.request(Method::POST, "/stripe/wallet/topup");
        let request = request.header("idempotency-key", name);
        answer(request.json(&json!({ "amountCents": cents }))).await
    }

    pub(super) async fn upload(&self, path: &str, wasm: &'static [u8]) -> Result<Value> {
        let request = self.request(Method::POST, path).header("content-type", "application/wasm");
        answer(request.body(wasm)).await
    }

    /// Follows a session from the beginning of its log.
    pub(super) async fn stream(&self, session: &str) -> Result<Events> {
        let path = format!("/sessions/{session}/stream?after=0");
        let response = self.request(Method::GET, &path).send().await?.error_for_status()?;
        Ok(Events { response, buffer: String::new() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }
}

async fn answer(request: RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    if !status.is_success() {
        bail!("{status}: {}", body["detail"].as_str().unwrap_or("no reason given"));
    }
    Ok(body)
}

/// The events of one stream.
pub(super) struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// The next event's data.
    pub(super) async fn next(&mut self) -> Result<Value> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let event: String = self.buffer.drain(..end + 2).collect();
                if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                    return Ok(serde_json::from_str(data)?);
                }
            }
            let chunk = self.response.chunk().await?.context("the stream ended")?;
            self.buffer.push_str(std::str::from_utf8(&chunk)?);
        }
    }

    /// The next event of this type; others are passed to `seen`.
    pub(super) async fn until(
        &mut self,
        kind: &str,
        mut seen: impl FnMut(&Value),
    ) -> Result<Value> {
        loop {
            let event = self.next().await?;
            if event["type"] == kind {
                return Ok(event);
            }
            seen(&event);
        }
    }
}
