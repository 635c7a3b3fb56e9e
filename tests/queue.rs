//! Uploads that wait: whose turn it is, how many there may be, and what becomes of
//! one that breaks off or whose process falls silent.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, people},
};
use aiybiz_host::{catalog::components, id::AgentId, timestamp::Timestamp, work};
use futures::future::join_all;
use reqwest::Method;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn send(bea: &Person, agent: &str, wasm: impl Into<reqwest::Body>) -> people::Answer {
    let path = format!("/builder/agents/{agent}/components?wait=0");
    let request = bea.request(Method::POST, &path).header("content-type", "application/wasm");
    people::send(request.body(wasm)).await
}

async fn states(bea: &Person, agent: &str) -> Vec<String> {
    let listed = bea.get(&format!("/builder/agents/{agent}/components?limit=200")).await.ok();
    let versions = listed["data"].as_array().expect("a list").iter();
    versions.map(|version| version["state"].as_str().expect("a state").to_owned()).collect()
}

async fn all_ready(bea: &Person, agent: &str) {
    while states(bea, agent).await.iter().any(|state| state != "ready") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn one_builders_uploads_do_not_delay_anothers() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, bob) = (platform.builder("Bea").await, platform.builder("Bob").await);
        let hers = bea.component_agent("Hers").await;
        let his = bob.component_agent("His").await;
        // Nobody gets a turn until everybody is there.
        let turn = platform.host.sandbox.turn().await;
        for sent in join_all((0..20).map(|_| send(&bea, &hers, guests::ECHO))).await {
            assert_eq!(sent.created()["state"], "queued");
        }
        // Twenty is the most of one builder's; another has places of his own.
        let full = send(&bea, &hers, guests::ECHO).await;
        assert_eq!(full.headers["retry-after"], "10");
        full.problem(429, "too_many_uploads");
        send(&bob, &his, guests::ECHO).await.created();
        drop(turn);

        all_ready(&bob, &his).await;
        let waiting = states(&bea, &hers).await;
        let waiting = waiting.iter().filter(|state| *state == "queued").count();
        assert!(waiting >= 10, "only {waiting} of hers wait when his is ready");
        all_ready(&bea, &hers).await;
        // Every place is free again, and none was lost on the one that had none.
        assert_eq!(states(&bea, &hers).await.len(), 20);
        for sent in join_all((0..20).map(|_| send(&bea, &hers, guests::ECHO))).await {
            sent.created();
        }
    });
}

/// Sends a head that promises more than follows, and returns the answer.
async fn broken_off(bea: &Person, agent: &str) -> Value {
    let address = bea.url.strip_prefix("http://").expect("an URL of ours");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "POST /builder/agents/{agent}/components HTTP/1.1\r\nHost: {address}\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/wasm\r\n\
         Content-Length: 1000\r\n\r\n\0asm",
        bea.token
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("it was open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn an_upload_that_breaks_off_is_told_from_one_that_is_too_large() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Half").await;
        // More often than there are places: each is given back.
        for _ in 0..21 {
            assert_eq!(broken_off(&bea, &agent).await["code"], "body_incomplete");
        }
        // A length that is too large is refused before it is sent, and a flow without
        // a length where it becomes so.
        send(&bea, &agent, vec![0; (32 << 20) + 1]).await.problem(413, "component_too_large");
        let pieces = (0..33).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 1 << 20]));
        let flow = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        send(&bea, &agent, flow).await.problem(413, "component_too_large");
        assert_eq!(states(&bea, &agent).await, [""; 0]);
        let kept = std::fs::read_dir(platform.host.config.data_dir.join("components"));
        assert_eq!(kept.expect("a folder").count(), 0);
    });
}

async fn seen(platform: &Platform, agent: AgentId) -> Timestamp {
    let mut tx = platform.host.db.read().await.expect("a snapshot");
    let sql = "SELECT seen_at FROM components WHERE agent_id = $1";
    let (seen,): (Timestamp,) = tx.query(sql).bind(agent).one().await.expect("one");
    seen
}

both_engines! {
    async fn a_living_process_keeps_its_uploads(engine: Engine) {
        let platform = Platform::start(engine).await;
        let beside = platform.beside().await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Waiting").await;
        let turn = platform.host.sandbox.turn().await;
        send(&bea, &agent, guests::ECHO).await.created();
        platform.clock.advance(Duration::from_mins(10));
        let now = platform.clock.now();
        let id = agent.parse().expect("an id");
        // It says so without being asked.
        while seen(&platform, id).await < now {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        work::tidy(&beside.host).await.expect("it tidies up");
        assert_eq!(states(&bea, &agent).await, ["queued"]);
        drop(turn);
        all_ready(&bea, &agent).await;
    }

    async fn an_upload_whose_process_fell_silent_stays_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Waiting").await;
        let turn = platform.host.sandbox.turn().await;
        send(&bea, &agent, guests::ECHO).await.created();
        let mut tx = platform.host.db.write().await.expect("a transaction");
        let later = platform.clock.now() + Duration::from_hours(1);
        assert_eq!(components::give_up(&mut tx, later).await.expect("one"), 1);
        tx.commit().await.expect("a commit");
        drop(turn);
        // The next one's turn comes after it.
        send(&bea, &agent, guests::ECHO).await.created();
        while states(&bea, &agent).await[0] != "ready" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(states(&bea, &agent).await, ["ready", "refused"]);
    }
}
