//! A server that speaks like Stripe and is not ours (`conformance/stripe.mjs` says whose):
//! every request is held against the parameters that Stripe's own library declares.

use super::{Value, json, people::send};
use std::{path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// With which it signs what it tells.
pub const SECRET: &str = "whsec_conformance";

pub struct Stripe {
    pub url: String,
    http: reqwest::Client,
    _server: Child,
}

impl Stripe {
    pub async fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
        let mut server = Command::new("node")
            .arg("stripe.mjs")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node: ./tests/run installs what the tests need");
        let mut line = String::new();
        let mut said = BufReader::new(server.stdout.take().expect("a pipe"));
        said.read_line(&mut line).await.expect("a line");
        let url = line.trim().strip_prefix("listening ");
        let url = url.unwrap_or_else(|| panic!("no Stripe in {}: {line}", folder.display()));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url: url.to_owned(), http, _server: server }
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        send(self.http.post(format!("{}/_test/{path}", self.url)).json(&body)).await.ok()
    }

    /// From now on it tells this platform.
    pub async fn tells(&self, platform: &str) {
        let url = format!("{platform}/stripe/webhook");
        self.ask("webhook", json!({ "url": url, "secret": SECRET })).await;
    }

    /// It tells this, and was answered with 200.
    pub async fn emits(&self, kind: &str, object: Value) {
        self.ask("emit", json!({ "type": kind, "object": object })).await;
    }

    /// Everything once more.
    pub async fn tells_again(&self) {
        self.ask("resend", json!({})).await;
    }

    /// The next requests to this path fail so: `500`, `kept-500`, `insufficient`, `timeout`,
    /// `drop-after`.
    pub async fn fails(&self, path: &str, mode: &str, times: u32) {
        self.ask("fail", json!({ "path": path, "mode": mode, "times": times })).await;
    }

    /// Pays as a browser does with a card, which may be declined.
    pub async fn pays(&self, client_secret: &str, card: &str) {
        let body = json!({ "intent": client_secret, "card": card });
        send(self.http.post(format!("{}/_test/pay", self.url)).json(&body)).await;
    }

    /// All that was asked of it: method, path, params, key, status.
    pub async fn requests(&self) -> Vec<Value> {
        let asked = send(self.http.get(format!("{}/_test/requests", self.url))).await.ok();
        asked.as_array().expect("a list").clone()
    }

    /// As Stripe's API answers it.
    pub async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.url));
        send(request.bearer_auth("sk_test_x")).await.ok()
    }
}
