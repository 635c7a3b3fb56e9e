//! Ten thousand streams on which nothing happens, and one event that a thousand read.

use crate::{
    figures::{micros, row, spread, title},
    harness::{
        Engine, Person, Place, guests, json,
        process::Process,
        webhook::{Reply, WebhookAgent},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Barrier, mpsc},
};

const IDLE: usize = 10_000;
const SESSIONS: usize = 100;
const READERS: usize = 1_000;
const EVENTS: usize = 50;

pub async fn idle_and_fan_out() {
    title("Streams: memory of idle ones, and one event for many readers");
    let place = Place::new(Engine::Sqlite).await;
    let process = Process::serve(&place);
    let builder = Person::sign_up(&process.url, "bea").await;
    builder.becomes_builder("Bea").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let client = Person::sign_up(&process.url, "cleo").await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(client.starts(&echo).await.0);
    }
    let before = resident(process.id());
    let mut open = Vec::with_capacity(IDLE);
    for n in 0..IDLE {
        open.push(stream(&client, &sessions[n % SESSIONS]).await);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let with = resident(process.id());
    row("10 000 idle streams", &format!("{:.1} KB each", (with - before) / IDLE as f64));
    // Through a heartbeat, which each of them is sent.
    tokio::time::sleep(Duration::from_secs(16)).await;
    let later = resident(process.id());
    row("after a heartbeat", &format!("{:.1} KB each", (later - before) / IDLE as f64));
    drop(open);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = resident(process.id());
    row("after they have gone", &format!("{:+.1} MB", (after - before) / 1024.0));

    let hook = WebhookAgent::that(&process.url, |_| Reply::Status(200)).await;
    let (silent, _) = builder.publish_webhook("Silent", &hook.address, "none").await;
    let (session, _) = client.starts(&silent).await;
    let token = hook.seen()[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
    let talk = Talk { client, session, token };
    let platform = fan_out("one event to 1 000 readers", &talk, process.id()).await;
    let floor = bare().await;
    row("platform / bare broadcast, p99", &format!("{:.2}", platform / floor));
}

/// A session in which the agent speaks by itself.
struct Talk {
    client: Person,
    session: String,
    token: String,
}

impl Talk {
    async fn say(&self) {
        let path = format!("/agent/{}/message", self.session);
        let call = Person::nobody(&self.client.url)
            .request(reqwest::Method::POST, &path)
            .bearer_auth(&self.token);
        let answer = call.json(&json!({ "content": "hello" })).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
}

/// How long from the agent's POST until each reader has what it said, in µs at p99.
async fn fan_out(name: &str, talk: &Talk, process: u32) -> f64 {
    let (told, mut heard) = mpsc::channel(READERS);
    let ready = Arc::new(Barrier::new(READERS + 1));
    for _ in 0..READERS {
        let mut stream = stream(&talk.client, &talk.session).await;
        let (told, ready) = (told.clone(), Arc::clone(&ready));
        tokio::spawn(async move {
            ready.wait().await;
            count(&mut stream, b"event: message\n", &told).await;
        });
    }
    ready.wait().await;
    let mut times = Vec::with_capacity(READERS * EVENTS);
    let cpu = cpu_of(process);
    for _ in 0..EVENTS {
        let begun = Instant::now();
        talk.say().await;
        for _ in 0..READERS {
            let at: Instant = heard.recv().await.expect("readers");
            times.push(at - begun);
        }
    }
    let cpu = cpu_of(process).saturating_sub(cpu).as_secs_f64() * 1e6 / (READERS * EVENTS) as f64;
    let (p50, p99) = spread(&mut times);
    row(name, &format!("p50 {:7.0} µs   p99 {:7.0} µs", micros(p50), micros(p99)));
    row("CPU of the platform, for each reader of each event", &format!("{cpu:.1} µs"));
    micros(p99)
}

/// The same readers on a server that does nothing but pass one line on to all.
async fn bare() -> f64 {
    use axum::{
        Router,
        body::Body,
        routing::{get, post},
    };
    use futures::StreamExt;
    let (line, _) = tokio::sync::broadcast::channel::<&'static str>(64);
    let (reading, writing) = (line.clone(), line);
    let read = get(move || {
        let heard = reading.subscribe();
        let lines = futures::stream::unfold(heard, async |mut heard| {
            let line = heard.recv().await.ok()?;
            Some((Ok::<_, std::convert::Infallible>(line), heard))
        });
        let first = futures::stream::once(async { Ok(": welcome\n\n") });
        async { Body::from_stream(first.chain(lines)) }
    });
    let write = post(move || {
        let _ = writing.send("id: 1\nevent: message\ndata: {\"content\":\"hello\"}\n\n");
        async {}
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/sessions/x/stream", read).route("/say", write);
    tokio::spawn(async { axum::serve(listener, router).await });
    let client = Person::nobody(&url);
    let (told, mut heard) = mpsc::channel(READERS);
    for _ in 0..READERS {
        let mut stream = stream(&client, "x").await;
        let told = told.clone();
        tokio::spawn(async move { count(&mut stream, b"event: message\n", &told).await });
    }
    let mut times = Vec::with_capacity(READERS * EVENTS);
    for _ in 0..EVENTS {
        let begun = Instant::now();
        client.post("/say", json!({})).await;
        for _ in 0..READERS {
            let at: Instant = heard.recv().await.expect("readers");
            times.push(at - begun);
        }
    }
    let (p50, p99) = spread(&mut times);
    row("bare broadcast", &format!("p50 {:7.0} µs   p99 {:7.0} µs", micros(p50), micros(p99)));
    micros(p99)
}

/// A stream on a connection of its own, past its first lines.
async fn stream(client: &Person, session: &str) -> TcpStream {
    let host = client.url.strip_prefix("http://").expect("an URL of ours");
    let mut stream = TcpStream::connect(host).await.expect("a connection");
    let request = format!(
        "GET /sessions/{session}/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n",
        client.token
    );
    stream.write_all(request.as_bytes()).await.expect("it is written");
    let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
    while !read.windows(7).any(|seven| seven == b"welcome") {
        let count = stream.read(&mut buffer).await.expect("an answer");
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    stream
}

/// Tells the time of every mark that comes, also when it is cut between two reads.
async fn count(stream: &mut TcpStream, mark: &[u8], told: &mpsc::Sender<Instant>) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        read.extend_from_slice(&buffer[..count]);
        while let Some(at) = read.windows(mark.len()).position(|window| window == mark) {
            read.drain(..at + mark.len());
            if told.send(Instant::now()).await.is_err() {
                return;
            }
        }
    }
}

/// Of another process, in KB.
fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a size");
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).expect("a number")
}

/// Of another process: what it has used so far.
fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let rest = stat.rsplit_once(')').expect("a name").1;
    let field = |n: usize| rest.split_whitespace().nth(n).and_then(|ticks| ticks.parse().ok());
    let ticks: u64 = field(11).unwrap_or(0) + field(12).unwrap_or(0);
    // A hundred ticks a second, on every Linux there is.
    Duration::from_millis(ticks * 10)
}
