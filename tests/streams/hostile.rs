//! Readers who send what is no place, and readers who do not read.

use super::talk;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, json,
        process::Process,
        webhook::{Reply, WebhookAgent},
    },
};
use std::{path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// As many as an attacker opens who wants to slow everybody down.
const DEAF: usize = 1_000;

/// What all of them together may cost the process while they are being found out.
const MEMORY: u64 = 200 << 20;

both_engines! {
    /// Bounded, answered, and it goes no further.
    async fn a_place_of_ten_megabytes_or_with_line_breaks_is_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let huge = "9".repeat(10 << 20);
        let huge = head(&client, &voice.session, &huge);
        assert!(answer(&client, &huge).await.is_none_or(|status| status == 431));
        for place in ["1\0", "1\u{7f}", "1\rid: 2"] {
            let status = answer(&client, &head(&client, &voice.session, place)).await;
            assert_eq!(status, Some(400), "{place:?}");
        }
        // A line break begins another header, which means nothing.
        let two = head(&client, &voice.session, "1\r\nid: 2");
        assert_eq!(answer(&client, &two).await, Some(200));
    }

    /// Each is let go of after some seconds, and those who read hear everything at once.
    async fn a_thousand_who_do_not_read_slow_nobody_and_are_let_go(engine: Engine) {
        let place = Place::new(engine).await;
        let process = Process::serve(&place);
        let bea = Person::sign_up(&process.url, "bea").await;
        bea.post("/builder", json!({ "displayName": "Bea" })).await.created();
        let hook = WebhookAgent::that(&process.url, |_| Reply::Status(200)).await;
        let (template, _) = bea.publish_webhook("Voice", &hook.address, "none").await;
        let cleo = Person::sign_up(&process.url, "cleo").await;
        let (session, mut reader) = cleo.starts(&template).await;
        let token = hook.seen()[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
        let agent = Person::nobody(&process.url);
        let say = |content: String| {
            let path = format!("/agent/{session}/message");
            let call = agent.request(reqwest::Method::POST, &path).bearer_auth(&token);
            async move { call.json(&json!({ "content": content })).send().await.expect("an answer") }
        };
        assert_eq!(say("first".into()).await.status(), 201);
        assert_eq!(reader.reply().await, "first");

        let (memory, files) = (memory(process.id()), files(process.id()));
        let mut deaf = Vec::with_capacity(DEAF);
        let request = head(&cleo, &session, "0");
        for _ in 0..DEAF {
            let mut one = connect(&cleo).await;
            one.write_all(request.as_bytes()).await.expect("it takes the request");
            deaf.push(one);
        }
        let text = "x".repeat(200_000);
        for n in 0..50 {
            assert_eq!(say(format!("{n} {text}")).await.status(), 201);
            assert!(reader.reply().await.starts_with(&format!("{n} ")), "{n} was missed");
        }
        reader.without_gap();
        let most = self::memory(process.id());
        assert!(most < memory + MEMORY, "{memory} → {most}");
        // Their connections are closed, and nothing is left of them.
        let until = std::time::Instant::now() + Duration::from_mins(2);
        while self::files(process.id()) > files + 20 {
            assert!(std::time::Instant::now() < until, "they are still there");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(say("last".into()).await.status(), 201);
        assert_eq!(reader.reply().await, "last");
    }
}

/// A request for a stream.
fn head(client: &Person, session: &str, place: &str) -> String {
    let host = client.url.strip_prefix("http://").expect("an URL of ours");
    format!(
        "GET /sessions/{session}/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         last-event-id: {place}\r\n\r\n",
        client.token
    )
}

/// Takes little, and is not read unless the test does.
async fn connect(client: &Person) -> TcpStream {
    let host = client.url.strip_prefix("http://").expect("an URL of ours");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(host.parse().expect("an address")).await.expect("it listens")
}

/// The status of the answer; none when the connection is just closed.
async fn answer(client: &Person, request: &str) -> Option<u16> {
    let (mut read, mut write) = connect(client).await.into_split();
    let request = request.to_owned();
    let writing = tokio::spawn(async move { write.write_all(request.as_bytes()).await });
    let mut line = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), read.read_exact(&mut line)).await;
    let found = read.expect("an answer or an end").ok()?;
    writing.abort();
    std::str::from_utf8(&line[..found]).ok()?.rsplit(' ').next()?.parse().ok()
}

/// Bytes that a process has in use.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(folder(process).join("status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") << 10
}

/// Files and connections that it has open.
fn files(process: u32) -> usize {
    std::fs::read_dir(folder(process).join("fd")).expect("it lives").count()
}

fn folder(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}
