//! What is on the stream and in no log: replies as they grow, and typing.

use super::talk;
use crate::{
    both_engines,
    harness::{Engine, Platform, json, people::send},
};
use futures::future::join_all;
use std::time::Duration;

both_engines! {
    async fn a_reply_in_pieces_is_seen_growing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let mut early = client.listens(&voice.session, Some(2)).await;
        // Once it hears this, it is all ears.
        send(voice.call("typing")).await.with(204);
        early.until("typing").await;
        early.heard.clear();
        let begun = voice.piece("s", "Grüße 🦉").await;
        let first = early.until("message_delta").await;
        assert_eq!(first["messageId"], begun["messageId"]);
        assert_eq!((&first["offset"], &first["text"]), (&json!(0), &json!("Grüße 🦉")));

        let mut middle = client.listens(&voice.session, Some(2)).await;
        let snapshot = middle.until("message_snapshot").await;
        assert_eq!(snapshot["messageId"], begun["messageId"]);
        // Offsets count as a browser's strings do: the owl is two.
        assert_eq!((&snapshot["offset"], &snapshot["text"]), (&json!(8), &json!("Grüße 🦉")));

        voice.piece("s", " from").await;
        voice.posts(json!({ "streamId": "s", "content": " here", "done": true })).await.created();
        let mut late = client.listens(&voice.session, Some(2)).await;
        for (events, kinds) in [
            (&mut early, &["message_delta", "message_delta", "message_delta", "message"][..]),
            (&mut middle, &["message_snapshot", "message_delta", "message_delta", "message"]),
            (&mut late, &["message"]),
        ] {
            let message = events.until("message").await;
            assert_eq!(message["content"], "Grüße 🦉 from here");
            assert_eq!(message["id"], begun["messageId"]);
            let heard: Vec<_> = events.heard.iter().map(|heard| heard.kind.as_str()).collect();
            assert_eq!(heard, kinds);
            let mut text = String::new();
            for heard in events.heard.iter().filter(|heard| heard.kind != "message") {
                assert_eq!(heard.id, None, "a piece is in no log");
                let offset = usize::try_from(heard.data["offset"].as_u64().expect("a number"));
                let length = text.encode_utf16().count();
                assert!(heard.kind == "message_snapshot" || offset == Ok(length));
                text.push_str(heard.data["text"].as_str().expect("a text"));
            }
            assert!(text.is_empty() || text == "Grüße 🦉 from here");
        }
    }

    async fn one_who_joins_sees_every_piece_once(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let pieces: Vec<_> = (0..50).map(|n| format!("piece {n}; ")).collect();
        let writes = async {
            for piece in &pieces {
                voice.piece("s", piece).await;
            }
            voice.posts(json!({ "streamId": "s", "done": true })).await.created();
        };
        let joins = join_all((0..40).map(async |n| {
            tokio::time::sleep(Duration::from_millis(n * 5)).await;
            let mut events = client.listens(&voice.session, Some(2)).await;
            let message = events.until("message").await;
            let mut text = String::new();
            for heard in events.heard.iter().filter(|heard| heard.id.is_none()) {
                let offset = heard.data["offset"].as_u64().expect("a number");
                let piece = heard.data["text"].as_str().expect("a text");
                if heard.kind == "message_snapshot" {
                    assert_eq!(text, "", "a snapshot comes first");
                } else {
                    assert_eq!(offset, text.len() as u64, "{:?}", events.heard);
                }
                text.push_str(piece);
            }
            assert!(text.is_empty() || message["content"] == text, "{:?}", events.heard);
        }));
        tokio::join!(writes, joins);
    }

    async fn a_reply_goes_on_after_a_restart(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let begun = voice.piece("s", "Once ").await;
        // As if the process had started anew: what it had in mind is lost.
        let id = begun["messageId"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        platform.host.bus.written(voice.session.parse().expect("an id"), id);
        voice.piece("s", "upon").await;
        let mut events = client.listens(&voice.session, Some(2)).await;
        let snapshot = events.until("message_snapshot").await;
        assert_eq!((&snapshot["offset"], &snapshot["text"]), (&json!(9), &json!("Once upon")));
    }

    async fn a_reply_that_began_in_another_process_is_shown_whole(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let beside = platform.beside().await;
        let mut events = client.at(&beside.url).listens(&voice.session, Some(2)).await;
        // Once it hears this, it is all ears.
        send(voice.at(&beside.url).call("typing")).await.with(204);
        events.until("typing").await;
        voice.piece("s", "Once ").await;
        let voice = voice.at(&beside.url);
        voice.piece("s", "upon ").await;
        voice.piece("s", "a time").await;
        let snapshot = events.next().await.expect("an event");
        assert_eq!(snapshot.kind, "message_snapshot");
        // It may have been taken after the last piece, which then does not come.
        let mut text = snapshot.data["text"].as_str().expect("a text").to_owned();
        if text == "Once upon " {
            let delta = events.until("message_delta").await;
            assert_eq!(delta["offset"], 10);
            text.push_str(delta["text"].as_str().expect("a text"));
        }
        assert_eq!(text, "Once upon a time");
        voice.posts(json!({ "streamId": "s", "done": true })).await.created();
        assert_eq!(events.until("message").await["content"], "Once upon a time");
    }

    async fn a_reply_left_unfinished_ends_with_the_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let mut events = client.listens(&voice.session, Some(0)).await;
        voice.piece("s", "half a").await;
        client.ends(&voice.session).await;
        events.rest().await;
        let mut late = client.listens(&voice.session, Some(0)).await;
        let heard: Vec<_> = late.rest().await.iter().map(|heard| heard.kind.clone()).collect();
        assert_eq!(heard, ["session_started", "session", "session_ended"]);
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let left: (i64,) = tx.query("SELECT COUNT(*) FROM drafts").one().await.expect("a number");
        assert_eq!(left, (0,));
    }

    async fn a_reader_sees_the_agent_typing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, voice) = talk(&platform).await;
        let mut events = client.listens(&voice.session, Some(0)).await;
        events.until("session").await;
        send(voice.call("typing")).await.with(204);
        let typing = events.next().await.expect("an event");
        assert_eq!((typing.kind.as_str(), typing.id), ("typing", None));
        voice.says("done").await;
        assert_eq!(events.reply().await, "done");
    }
}
