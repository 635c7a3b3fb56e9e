//! What a socket should not be sent: it is passed over or ends that socket, and nothing
//! else happens.

use super::Scene;
use crate::{
    both_engines,
    harness::{Engine, json, socket::Socket},
};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

both_engines! {
    async fn frames_that_mean_nothing_are_passed_over_and_a_hundred_are_enough(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let mut socket = scene.connect().await;
        let nonsense = [
            Message::text(""),
            Message::text("{"),
            Message::text("null"),
            Message::text("[".repeat(100_000)),
            Message::text(json!({ "type": "bye" }).to_string()),
            Message::text(json!({ "type": "error", "content": "x" }).to_string()),
            Message::text(json!({ "type": "message", "content": 7 }).to_string()),
            Message::text(json!({ "type": "message", "content": " " }).to_string()),
            Message::text(json!({ "type": "message", "content": "a\0b" }).to_string()),
            Message::text(json!({ "type": "message", "content": "x".repeat((256 << 10) + 1) }).to_string()),
            Message::text(json!({ "type": "pulse", "content": "x", "meta": 1 }).to_string()),
            Message::binary(json!({ "type": "message", "content": "binary" }).to_string()),
            Message::binary(vec![0; 1_000]),
        ];
        let mut sent = 0;
        for message in nonsense.iter().cycle().take(99) {
            socket.0.send(message.clone()).await.expect("it is sent");
            sent += 1;
        }
        // Answered by nothing, and one good frame makes up for it.
        socket.settle().await;
        socket.says("still here").await;
        assert_eq!(scene.events.reply().await, "still here");
        for message in nonsense.iter().cycle().take(99) {
            socket.0.send(message.clone()).await.expect("it is sent");
        }
        socket.settle().await;
        socket.0.send(Message::text("the hundredth")).await.expect("it is sent");
        assert_eq!(socket.closed().await, (1008, "unknown_frames".into()), "after {sent}");
        // Its session goes on.
        let mut socket = scene.connect().await;
        scene.say("hello").await;
        assert_eq!(socket.told().await, "hello");
        scene.cleo.ends(&scene.session).await;
        scene.events.rest().await;
        scene.events.without_gap();
        let said = scene.events.heard.iter().filter(|heard| heard.kind == "message");
        assert_eq!(said.count(), 2, "{:?}", scene.events.heard);
    }

    async fn the_longest_reply_goes_through_and_a_longer_frame_does_not(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let mut socket = scene.connect().await;
        // Every character of it is escaped.
        let longest = "\"\n".repeat(128 << 10);
        socket.says(&longest).await;
        assert_eq!(scene.events.reply().await, longest);
        for binary in [false, true] {
            let long = vec![b' '; 600 << 10];
            let long = if binary {
                Message::binary(long)
            } else {
                Message::text(String::from_utf8(long).expect("blanks"))
            };
            socket.0.send(long).await.expect("it is sent");
            assert_eq!(socket.closed().await, (1009, "too_long".into()));
            socket = scene.connect().await;
        }
        // Far too long, in one frame or in pieces: not even read. How the end of the
        // connection looks depends on how much was on its way.
        let _ = socket.0.send(Message::binary(vec![0; 64 << 20])).await;
        while let Some(Ok(message)) = socket.0.next().await {
            assert!(!message.is_text(), "{message}");
        }
        let mut socket = scene.connect().await;
        scene.say("hello").await;
        assert_eq!(socket.told().await, "hello");
        assert_eq!(scene.hooked(), ["session_started"]);
    }

    async fn what_is_no_websocket_ends_the_connection(engine: Engine) {
        let scene = Scene::new(engine, "none", 200).await;
        let garbage: [&[u8]; 8] = [
            // Not masked; reserved bits; a reserved code; a ping that is too long; a piece
            // of nothing; masked text that is no UTF-8; a size of 2^63; HTTP.
            b"\x81\x02hi",
            b"\xf1\x80\0\0\0\0",
            b"\x83\x80\0\0\0\0",
            b"\x89\xfe\x01\x00\0\0\0\0",
            b"\x80\x80\0\0\0\0",
            b"\x81\x82\0\0\0\0\xff\xfe",
            b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        ];
        for bytes in garbage {
            let mut raw = upgraded(&scene).await;
            // What a length promises is there.
            let more = [bytes, &[0; 1_000]].concat();
            raw.write_all(&more).await.expect("it is sent");
            let mut answer = Vec::new();
            // To its end; a reset is one, too.
            let _ = raw.read_to_end(&mut answer).await;
            assert!(answer.len() < 1_000, "{bytes:?}");
        }
        // Half a handshake, and none at all.
        let mut raw = upgraded(&scene).await;
        raw.write_all(b"\x81").await.expect("it is sent");
        drop(raw);
        let mut socket: Socket = scene.connect().await;
        scene.say("hello").await;
        assert_eq!(socket.told().await, "hello");
    }
}

/// A connection that has become a socket, by hand.
async fn upgraded(scene: &Scene) -> TcpStream {
    let address = scene.platform.url.strip_prefix("http://").expect("an URL of ours");
    let mut raw = TcpStream::connect(address).await.expect("a connection");
    let (session, token) = (&scene.session, &scene.voice.token);
    let request = format!(
        "GET /t/{token}/agent/ws?sessionId={session} HTTP/1.1\r\nhost: {address}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    raw.write_all(request.as_bytes()).await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(raw.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    raw
}
