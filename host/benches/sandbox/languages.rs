//! Language runtimes: their events alone, beside a bare exchange over loopback; and
//! through the whole platform, beside the same handler as a webhook in Node.js.

use crate::{
    Busy,
    figures::{Rate, cpu_time, micros, rate, row, title},
    harness::{Engine, Person, Platform, guests, json, node::Server},
};
use std::{path::Path, time::Duration};

/// The guests in other languages, if they were built (`guest-examples/build`).
pub fn others() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/out");
    let read = |(name, file)| Some((name, std::fs::read(folder.join(file)).ok()?));
    let all = [
        ("JavaScript, QuickJS", "js-quickjs.wasm"),
        ("JavaScript, StarlingMonkey", "js-starling.wasm"),
        ("Python", "python.wasm"),
    ];
    all.into_iter().filter_map(read).collect()
}

/// Events of language runtimes, fresh and kept, beside a loopback webhook's exchange.
pub async fn alone() {
    title("Events of language runtimes on two threads, beside one exchange over loopback HTTP");
    let exchange = exchange().await;
    row("a POST with a JSON body over loopback", &exchange.to_string());
    let echo = ("Rust", guests::ECHO.to_vec());
    for (name, guest) in std::iter::once(echo).chain(others()) {
        let busy = Busy::new(&guest, 2).await;
        busy.run(320, false).await;
        let fresh = rate(3_200, async || busy.run(3_200, false).await).await;
        let warm = rate(32_000, async || busy.run(32_000, true).await).await;
        row(&format!("{name}, fresh"), &fresh.to_string());
        row(&format!("{name}, kept"), &warm.to_string());
        row("  of it the event itself", &format!("{:6.1} µs CPU each", busy.own(true).await));
        row("  CPU, as multiple of the exchange", &format!("{:.2}", warm.cpu / exchange.cpu));
    }
}

/// What a webhook agent costs before it has done anything: one exchange, both ends.
async fn exchange() -> Rate {
    use axum::{Json, Router, routing::post};
    const EACH: u64 = 500;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let echo = post(async |Json(body): Json<serde_json::Value>| Json(body));
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", echo)).await });
    let one = |_| {
        let client = Person::nobody(&url);
        tokio::spawn(async move {
            for _ in 0..EACH {
                client.post("/", json!({ "event": "message", "content": "hello" })).await;
            }
        })
    };
    let all = async || {
        futures::future::join_all((0..Busy::AT_ONCE).map(one)).await;
    };
    all().await;
    rate(EACH * Busy::AT_ONCE, all).await
}

/// Sessions that talk at once, and what each says.
const SESSIONS: usize = 16;
const MESSAGES: usize = 100;

/// What a message to its reply costs, all that happens on this machine for it: the
/// client, the platform, the database and, for the webhook, the builder's server.
pub async fn through_the_platform() {
    title("A message to its reply through the whole platform: CPU of all processes together");
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/webhook-node");
    let mut webhook = None;
    if node.join("node_modules").exists() {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let (agent, secret) = bea.publish_webhook("Node", "http://127.0.0.1:9/", "none").await;
        let server = Server::start(&platform.url, &secret);
        let change = json!({ "webhookUrl": server.address });
        bea.patch(&format!("/builder/agents/{agent}"), change).await.ok();
        let cost = conversations(&platform, &agent, || server.cpu_time()).await;
        row("JavaScript, a webhook in Node.js", &format!("{cost:7.0} µs"));
        webhook = Some(cost);
    }
    let echo = ("Rust", guests::ECHO.to_vec());
    for (name, guest) in std::iter::once(echo).chain(others()) {
        for (how, warm) in [("fresh", false), ("kept", true)] {
            let platform = Platform::start(Engine::Sqlite).await;
            let bea = platform.builder("Bea").await;
            let agent = bea.publish(name, guest.clone()).await;
            let path = format!("/builder/agents/{agent}/components/1");
            bea.patch(&path, json!({ "warm": warm })).await.ok();
            let cost = conversations(&platform, &agent, || Duration::ZERO).await;
            let times = webhook.map(|webhook| format!("   {:.2} × the webhook", cost / webhook));
            let text = format!("{cost:7.0} µs{}", times.unwrap_or_default());
            row(&format!("{name}, {how}"), &text);
        }
    }
}

/// CPU of one message to its reply, in microseconds; `others` is what other processes
/// have used.
async fn conversations(platform: &Platform, agent: &str, others: impl Fn() -> Duration) -> f64 {
    let cleo = platform.person("Cleo").await;
    let mut all = Vec::new();
    for _ in 0..SESSIONS {
        all.push(cleo.starts(agent).await);
    }
    let mut spent = Duration::ZERO;
    // The first round warms everything up.
    for round in 0..2 {
        let before = cpu_time() + others();
        let talking = all.iter_mut().map(|(session, events)| {
            let cleo = &cleo;
            async move {
                for _ in 0..MESSAGES {
                    cleo.says(session, "hello").await;
                    events.reply().await;
                }
            }
        });
        futures::future::join_all(talking).await;
        if round == 1 {
            spent = (cpu_time() + others()).saturating_sub(before);
        }
    }
    micros(spent) / (SESSIONS * MESSAGES) as f64
}
