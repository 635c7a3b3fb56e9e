//! The agent API: what a webhook agent calls, and how it is known.

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, Value, json,
        people::{Id, send},
        voice::{NOBODY, Voice},
        webhook::{Reply, WebhookAgent},
    },
};
use futures::future::join_all;
use reqwest::Method;
use std::collections::BTreeSet;

/// A client in an active session with an agent that speaks by itself.
async fn talk(platform: &Platform) -> (Person, Events, Voice) {
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let (agent, _) = builder.publish_webhook("Voice", NOBODY, "none").await;
    let (session, mut events) = client.opens(&agent).await;
    let voice = Voice::of(platform, &session);
    voice.auth().await.ok();
    events.until("session").await;
    (client, events, voice)
}

/// What the log says was said, oldest first.
async fn said(client: &Person, session: &str) -> Vec<String> {
    let found = client.get(&format!("/sessions/{session}/messages?limit=200")).await.ok();
    let said = found["data"].as_array().expect("a list").iter().rev();
    said.map(|message| message["content"].as_str().expect("a text").to_owned()).collect()
}

both_engines! {
    async fn an_agent_that_did_not_take_its_start_is_ready_when_it_says_so(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (agent, _) = builder.publish_webhook("Late", &hook.address, "none").await;
        let (session, mut events) = client.opens(&agent).await;
        let voice = Voice::of(&platform, &session);
        delivered(&platform, &session).await;
        let start = &hook.seen()[0].body;
        assert_eq!(start["event"], "session_started");
        assert_eq!(start["agentAuthToken"], voice.token, "the token comes with every event");
        let path = format!("/sessions/{session}");
        assert_eq!(client.get(&path).await.ok()["status"], "provisioning");
        let refused = client.post(&format!("{path}/messages"), json!({ "content": "hello" })).await;
        refused.problem(409, "session_not_active");

        let answer = voice.auth().await.ok();
        assert_eq!(answer["session"]["status"], "active");
        assert!(answer["session"]["startedAt"].is_string());
        assert_eq!(events.until("session").await["session"]["status"], "active");
        assert_eq!(voice.auth().await.ok(), answer, "saying so again changes nothing");
        assert_eq!(client.get(&path).await.ok(), answer["session"]);
    }

    async fn the_token_travels_in_three_ways_and_opens_one_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        let agent =
            client.get(&format!("/sessions/{}", voice.session)).await.ok()["agentId"].clone();
        let other = client.post("/sessions", json!({ "agentId": agent })).await.created().id();
        let stranger = Voice::of(&platform, &other).token;
        let path = format!("/agent/{}/message", voice.session);
        let hello = |n: u8| json!({ "content": format!("hello {n}") });
        let bare = || voice.bare(Method::POST, &path);
        send(bare().bearer_auth(&voice.token).json(&hello(1))).await.created();
        send(bare().header("authorization", format!("bearer {}", voice.token)).json(&hello(2)))
            .await
            .created();
        send(bare().header("x-agent-token", &voice.token).json(&hello(3))).await.created();

        let shorter = &voice.token[..voice.token.len() - 1];
        let longer = format!("{}x", voice.token);
        for wrong in [stranger.as_str(), shorter, &longer, "", "aat_", &client.token] {
            send(bare().bearer_auth(wrong).json(&hello(4))).await.problem(401, "unauthenticated");
            send(bare().header("x-agent-token", wrong).json(&hello(4)))
                .await
                .problem(401, "unauthenticated");
            let path = format!("/agent/{}/auth", voice.session);
            let body = json!({ "agentAuthToken": wrong });
            send(voice.bare(Method::POST, &path).json(&body)).await.problem(401, "unauthenticated");
            for (method, path) in calls(&voice.session) {
                let call = voice.bare(method, &path).bearer_auth(wrong);
                send(call.json(&hello(4))).await.problem(401, "unauthenticated");
            }
        }
        send(bare().json(&hello(4))).await.problem(401, "unauthenticated");
        assert_eq!(said(&client, &voice.session).await, ["hello 1", "hello 2", "hello 3"]);
        let other = client.get(&format!("/sessions/{other}")).await.ok();
        assert_eq!(other["status"], "provisioning", "one session's token activates no other");
    }

    async fn an_agent_may_prove_itself_by_a_header_alone(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        let agent = client.get(&format!("/sessions/{}", voice.session)).await.ok()["agentId"].clone();
        for header in ["authorization", "x-agent-token"] {
            let session = client.post("/sessions", json!({ "agentId": agent })).await.created().id();
            let voice = Voice::of(&platform, &session);
            let token = match header {
                "authorization" => format!("Bearer {}", voice.token),
                _ => voice.token.clone(),
            };
            let call = voice.bare(Method::POST, &format!("/agent/{session}/auth"));
            let answer = send(call.header(header, token)).await.ok();
            assert_eq!(answer["session"]["status"], "active");
        }
        let bare = voice.bare(Method::POST, &format!("/agent/{}/auth", voice.session));
        send(bare).await.problem(401, "unauthenticated");
    }

    async fn the_token_is_dead_once_the_session_is_over(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        voice.says_once("kept", "hello").await.created();
        voice.piece("open", "half a").await;
        client.ends(&voice.session).await;
        voice.auth().await.problem(401, "unauthenticated");
        voice.says_once("kept", "hello").await.problem(401, "unauthenticated");
        voice
            .posts(json!({ "streamId": "open", "done": true }))
            .await
            .problem(401, "unauthenticated");
        for (method, path) in calls(&voice.session) {
            let call = voice.bare(method, &path).bearer_auth(&voice.token);
            send(call.json(&json!({ "content": "too late" })))
                .await
                .problem(401, "unauthenticated");
        }
        assert_eq!(said(&client, &voice.session).await, ["hello"]);
    }

    async fn a_repetition_under_the_same_key_is_the_same_message(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        let first = voice.says_once("k", "hello").await;
        assert!(!first.headers.contains_key("idempotent-replayed"));
        let first = first.created();
        let again = voice.says_once("k", "hello").await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.created(), first);
        voice.says_once("k", "other").await.problem(422, "idempotency_key_reused");
        voice.says_once("k2", "hello").await.created();
        voice.says("hello").await;
        for key in ["", &"k".repeat(129)] {
            voice.says_once(key, "hello").await.problem(400, "invalid_header");
        }
        voice.says_once(&"k".repeat(128), "long key").await.created();
        assert_eq!(said(&client, &voice.session).await, ["hello", "hello", "hello", "long key"]);

        // A key belongs to its session.
        let agent =
            client.get(&format!("/sessions/{}", voice.session)).await.ok()["agentId"].clone();
        let other = client.post("/sessions", json!({ "agentId": agent })).await.created().id();
        let elsewhere = Voice::of(&platform, &other).says_once("k", "hello").await;
        assert_ne!(elsewhere.created().id(), first.id());
    }

    async fn twenty_repetitions_at_once_are_one_message(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, mut events, voice) = talk(&platform).await;
        let answers = join_all((0..20).map(|_| voice.says_once("k", "hello"))).await;
        let replayed =
            answers.iter().filter(|a| a.headers.contains_key("idempotent-replayed")).count();
        let ids: BTreeSet<_> = answers.into_iter().map(|answer| answer.created().id()).collect();
        assert_eq!((ids.len(), replayed), (1, 19));
        assert_eq!(said(&client, &voice.session).await, ["hello"]);
        client.ends(&voice.session).await;
        events.rest().await;
        events.without_gap();
    }

    async fn pieces_are_joined_into_one_message(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        let begun = voice.piece("a", "Once ").await;
        assert_eq!(begun["streamId"], "a");
        // Another one grows beside it, and whole replies come between.
        voice.piece("b", "Two").await;
        assert_eq!(voice.piece("a", "upon ").await["messageId"], begun["messageId"]);
        voice.says("By the way").await;
        let last = json!({ "streamId": "a", "content": "a time", "done": true });
        let whole = voice.posts(last).await.created();
        assert_eq!(whole["content"], "Once upon a time");
        assert_eq!(whole["id"], begun["messageId"]);
        assert_eq!(whole["role"], "agent");
        let whole = voice.posts(json!({ "streamId": "b", "done": true })).await.created();
        assert_eq!(whole["content"], "Two", "the last piece may be none");
        let all = said(&client, &voice.session).await;
        assert_eq!(all, ["By the way", "Once upon a time", "Two"]);
    }

    async fn the_last_piece_may_come_again_and_its_stream_is_closed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        voice.piece("s", "one, ").await;
        let last = json!({ "streamId": "s", "content": "two", "done": true });
        let first = voice.posts(last.clone()).await.created();
        let again = voice.posts(last).await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.created(), first);
        let late = json!({ "streamId": "s", "content": "three" });
        voice.posts(late).await.problem(409, "stream_finished");
        assert_eq!(said(&client, &voice.session).await, ["one, two"]);
    }

    async fn what_is_no_reply_is_refused_and_leaves_no_trace(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        let most = 256 << 10;
        let long = "x".repeat(most + 1);
        let stream = "s".repeat(129);
        let refused = [
            (json!({}), 400, "/content"),
            (json!({ "content": "" }), 400, "/content"),
            (json!({ "content": " \n\t" }), 400, "/content"),
            (json!({ "content": "a\0b" }), 400, "/content"),
            (json!({ "content": 7 }), 400, "/content"),
            (json!({ "content": long }), 413, "/content"),
            (json!({ "content": "a", "done": true }), 400, "/done"),
            (json!({ "content": "a", "done": "yes", "streamId": "s" }), 400, "/done"),
            (json!({ "content": "a", "streamId": "" }), 400, "/streamId"),
            (json!({ "content": "a", "streamId": stream }), 400, "/streamId"),
            (json!({ "content": "a", "streamId": "a\0" }), 400, "/streamId"),
            (json!({ "content": "", "streamId": "s" }), 400, "/content"),
            (json!({ "content": "a\0", "streamId": "s" }), 400, "/content"),
            (json!({ "content": long, "streamId": "s" }), 413, "/content"),
            (json!({ "streamId": "never begun", "done": true }), 400, "/content"),
            (json!({ "content": " ", "streamId": "s", "done": true }), 400, "/content"),
            (json!({ "content": "a", "role": "user" }), 400, "/role"),
        ];
        for (body, status, pointer) in refused {
            let shown: String = body.to_string().chars().take(80).collect();
            let code = if status == 413 { "content_too_large" } else { "invalid_field" };
            let problem = voice.posts(body).await.problem(status, code);
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{shown}");
        }
        let keyed = voice.call("message").header("idempotency-key", "k");
        let piece = json!({ "content": "a", "streamId": "s" });
        send(keyed.json(&piece)).await.problem(400, "invalid_header");

        // Together too long, though each piece is not; what was there stays.
        voice.piece("big", &long[..most]).await;
        let more = json!({ "content": "y", "streamId": "big" });
        voice.posts(more).await.problem(413, "reply_too_long");
        for n in 1..16 {
            voice.piece(&format!("stream {n}"), "a").await;
        }
        let one_more = json!({ "content": "a", "streamId": "one more" });
        voice.posts(one_more).await.problem(409, "too_many_streams");
        assert_eq!(said(&client, &voice.session).await, Vec::<String>::new());
        let whole = voice.posts(json!({ "streamId": "big", "done": true })).await.created();
        assert_eq!(whole["content"].as_str().map(str::len), Some(most));
        voice.piece("one more", "a").await;
    }

    async fn an_agent_reads_what_was_said(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (client, _, voice) = talk(&platform).await;
        client.says(&voice.session, "question").await;
        for n in 0..4 {
            voice.says(&format!("answer {n}")).await;
        }
        let mut walked = Vec::new();
        let mut query = "?limit=2".to_owned();
        loop {
            let page = voice.history(&query).await.ok();
            walked.extend(page["data"].as_array().expect("a list").clone());
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            query = format!("?limit=2&cursor={cursor}");
        }
        let field = |name: &str| walked.iter().map(|m| m[name].clone()).collect::<Vec<Value>>();
        assert_eq!(field("content"), ["answer 3", "answer 2", "answer 1", "answer 0", "question"]);
        assert_eq!(field("role"), ["agent", "agent", "agent", "agent", "user"]);
        for query in ["?limit=0", "?limit=201", "?limit=x", "?cursor=x"] {
            voice.history(query).await.problem(400, "invalid_field");
        }
        send(voice.call("typing")).await.with(204);
    }
}

/// What an agent may call beside `/auth`.
fn calls(session: &str) -> [(Method, String); 3] {
    [
        (Method::POST, format!("/agent/{session}/message")),
        (Method::POST, format!("/agent/{session}/typing")),
        (Method::GET, format!("/agent/sessions/{session}/messages")),
    ]
}

/// Waits until nothing is on its way to the session's agent.
async fn delivered(platform: &Platform, session: &str) {
    let session: aiybiz_host::id::SessionId = session.parse().expect("an id");
    for _ in 0..1_000 {
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let sql = "SELECT queued FROM sessions WHERE id = $1";
        let (queued,): (i64,) = tx.query(sql).bind(session).one().await.expect("the session");
        if queued == 0 {
            return;
        }
        drop(tx);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the event was not delivered");
}
