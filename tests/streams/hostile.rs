//! Readers who send what is no place, and readers who do not read.

use super::talk;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, json, memory,
        process::Process,
        webhook::{Reply, WebhookAgent},
    },
};
use std::time::Duration;
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

    /// However many are asked for: two hundred of the longest replies would be fifty.
    async fn a_page_of_messages_ends_after_a_megabyte(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let text = "x".repeat(250_000);
        for n in 0..12 {
            voice.says(&format!("{n} {text}")).await;
        }
        let agent = Person { token: voice.token.clone(), ..Person::nobody(&platform.url) };
        for (who, path) in [(&client, "sessions"), (&agent, "agent/sessions")] {
            let (mut heard, mut pages, mut cursor) = (Vec::new(), 0, String::new());
            loop {
                let path = format!("/{path}/{}/messages?limit=200{cursor}", voice.session);
                let page = who.get(&path).await;
                assert!(page.text.len() < 1_600_000, "{}", page.text.len());
                let page = page.ok();
                for message in page["data"].as_array().expect("a list") {
                    let content = message["content"].as_str().expect("a text");
                    heard.push(content.split(' ').next().expect("a number").to_owned());
                }
                pages += 1;
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let expected: Vec<_> = (0..12).rev().map(|n| n.to_string()).collect();
            assert_eq!((heard, pages), (expected, 3));
        }
        // The stream tells all of it, in order.
        let mut events = client.listens(&voice.session, Some(0)).await;
        for n in 0..12 {
            assert!(events.reply().await.starts_with(&format!("{n} ")));
        }
        events.without_gap();
    }

    /// Each is let go of after some seconds, and those who read hear everything at once.
    async fn a_thousand_who_do_not_read_slow_nobody_and_are_let_go(engine: Engine) {
        let place = Place::new(engine).await;
        let process = Process::serve(&place);
        let bea = Person::sign_up(&process.url, "bea").await;
        bea.becomes_builder("Bea").await;
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

        let (memory, files) = (memory::resident(process.id()), memory::files(process.id()));
        let mut deaf = Vec::with_capacity(DEAF);
        let request = head(&cleo, &session, "0");
        for _ in 0..DEAF {
            let mut one = connect(&cleo).await;
            one.write_all(request.as_bytes()).await.expect("it takes the request");
            deaf.push(one);
        }
        let text = "x".repeat(200_000);
        for n in 0..30 {
            assert_eq!(say(format!("{n} {text}")).await.status(), 201);
            assert!(reader.reply().await.starts_with(&format!("{n} ")), "{n} was missed");
        }
        reader.without_gap();
        let most = memory::peak(process.id());
        assert!(most < memory + MEMORY, "{memory} → {most}");
        let_go(&process, files).await;
        // So are those who come later and ask for all of it.
        deaf.clear();
        for _ in 0..DEAF {
            let mut one = connect(&cleo).await;
            one.write_all(request.as_bytes()).await.expect("it takes the request");
            deaf.push(one);
        }
        assert_eq!(say("meanwhile".into()).await.status(), 201);
        assert_eq!(reader.reply().await, "meanwhile");
        let_go(&process, files).await;
        let most = memory::peak(process.id());
        assert!(most < memory + 2 * MEMORY, "{memory} → {most}");
        assert_eq!(say("last".into()).await.status(), 201);
        assert_eq!(reader.reply().await, "last");
    }
}

/// Waits until their connections are closed and nothing is left of them.
async fn let_go(process: &Process, before: usize) {
    let until = std::time::Instant::now() + Duration::from_mins(2);
    while memory::files(process.id()) > before + 20 {
        assert!(std::time::Instant::now() < until, "they are still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
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
    let writing = tokio::spawn(async move {
        let _ = write.write_all(request.as_bytes()).await;
        // Not closed before the answer is there.
        std::future::pending::<()>().await;
        drop(write);
    });
    let mut line = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), read.read_exact(&mut line)).await;
    let found = read.expect("an answer or an end").ok()?;
    writing.abort();
    std::str::from_utf8(&line[..found]).ok()?.rsplit(' ').next()?.parse().ok()
}
