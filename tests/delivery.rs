//! How events reach agents: one contract for both ways, and what is particular to
//! webhooks.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, guests, json,
        people::Id,
        webhook::{Reply, Request, WebhookAgent},
    },
};
use std::time::Duration;

#[derive(Clone, Copy)]
enum Kind {
    Component,
    Webhook,
}

both_engines! {
    async fn a_component_keeps_the_contract(engine: Engine) {
        keeps_the_contract(engine, Kind::Component).await;
    }

    async fn a_webhook_keeps_the_contract(engine: Engine) {
        keeps_the_contract(engine, Kind::Webhook).await;
    }
}

/// What a client sees of an agent, however its events are delivered: it activates
/// when it has taken its start; messages are answered in order; one it fails at
/// fails alone and visibly; after the end nothing comes but the end, once.
async fn keeps_the_contract(engine: Engine, kind: Kind) {
    let platform = Platform::start(engine).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let agent = picky_agent(&platform, &builder, kind).await;

    let (session, mut events) = client.opens(&agent).await;
    let active = events.until("session").await;
    assert_eq!(active["session"]["status"], "active");
    assert!(active["session"]["startedAt"].is_string());

    let mut ids = Vec::new();
    for content in ["one", "bad", "two"] {
        ids.push(client.says(&session, content).await.id());
    }
    assert_eq!(events.reply().await, "echo: one");
    let failed = events.until("message_failed").await;
    assert_eq!(
        (failed["messageId"].as_str(), failed["eventId"].as_str()),
        (Some(&*ids[1]), Some(&*ids[1]))
    );
    assert!(failed["code"].is_string() && failed["reason"].is_string());
    assert_eq!(events.reply().await, "echo: two");
    assert_eq!(statuses(&client, &session).await, ["delivered", "failed", "delivered"]);

    let ended = client.ends(&session).await;
    assert_eq!((&ended["status"], &ended["endReason"]), (&json!("completed"), &json!("client")));
    assert_eq!(client.ends(&session).await, ended, "ending twice is a no-op");
    let path = format!("/sessions/{session}/messages");
    client.post(&path, json!({ "content": "late" })).await.problem(409, "session_ended");
    events.rest().await;
    events.without_gap();
    let last = events.heard.last().expect("events");
    assert_eq!((last.kind.as_str(), &last.data["reason"]), ("session_ended", &json!("client")));
    let kinds = events.heard.iter().filter(|heard| heard.kind == "session_ended").count();
    assert_eq!(kinds, 1);
}

/// Echoes everything but `bad`, at which it fails for good.
async fn picky_agent(platform: &Platform, builder: &Person, kind: Kind) -> String {
    match kind {
        Kind::Webhook => {
            let hook =
                WebhookAgent::that(
                    &platform.url,
                    |request| match request.body["message"]["content"].as_str() {
                        Some("bad") => Reply::Status(500),
                        Some(content) => Reply::Say(vec![format!("echo: {content}")]),
                        None => Reply::Status(200),
                    },
                );
            builder.publish_webhook("Picky", &hook.await.address, "none").await.0
        }
        Kind::Component => {
            // `bad` is the one message of its length that begins with b.
            let body = r"
                (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 98)) (then unreachable))
                (memory.copy (i32.const 1030) (local.get $text) (local.get $textn))
                (call $reply (i32.const 1024) (i32.add (local.get $textn) (i32.const 6)) (i32.const 64))";
            let wasm = guests::guest(r#"(data (i32.const 1024) "echo: ")"#, body, "");
            builder.publish("Picky", wasm).await
        }
    }
}

/// How far the client's own messages have come, oldest first; waits until none is
/// under way.
async fn statuses(client: &Person, session: &str) -> Vec<String> {
    for _ in 0..500 {
        let page = client.get(&format!("/sessions/{session}/messages")).await.ok();
        let page = page["data"].as_array().expect("a list");
        let own = page.iter().rev().filter(|message| message["role"] == "user");
        let all: Vec<_> = own.map(|m| m["status"].as_str().expect("a status").to_owned()).collect();
        if !all.contains(&"queued".to_owned()) {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("messages stay queued");
}

fn kinds(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.body["event"].as_str().expect("an event")).collect()
}

/// Waits until the agent has seen so many requests.
async fn requests(hook: &WebhookAgent, count: usize) -> Vec<Request> {
    for _ in 0..1_000 {
        if hook.seen().len() >= count {
            return hook.seen();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("only {:?}", kinds(&hook.seen()));
}

both_engines! {
    async fn a_webhook_is_signed_and_says_what_the_contract_says(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, secret) = builder.publish_webhook("Hook", &hook.address, "none").await;
        assert!(secret.starts_with("whsec_"));
        let again = builder.get(&format!("/builder/agents/{agent}")).await.ok();
        assert_eq!(again["signingSecret"], Value::Null, "shown once");

        let (session, mut events) = client.starts(&agent).await;
        let said = client.says(&session, "hello").await;
        events.reply().await;
        client.ends(&session).await;
        let seen = requests(&hook, 3).await;
        assert_eq!(kinds(&seen), ["session_started", "message", "session_ended"]);
        for request in &seen {
            assert!(request.is_signed_with(&secret));
            assert_eq!(request.header("content-type"), "application/json");
            assert_eq!(request.header("webhook-id"), request.body["id"]);
            assert_eq!(request.body["agentAuthToken"], seen[0].body["agentAuthToken"]);
        }
        let message = &seen[1].body["message"];
        for field in ["id", "content", "role", "createdAt"] {
            assert_eq!(message[field], said[field], "{field}");
        }
    }

    async fn a_failed_webhook_is_tried_again_when_its_policy_says_so(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let hook = WebhookAgent::that(&platform.url, |request| {
            match (request.body["event"].as_str(), request.header("aiybiz-delivery-attempt")) {
                (Some("message"), "1" | "2") => Reply::Status(503),
                (Some("message"), _) => Reply::Say(vec!["at last".into()]),
                _ => Reply::Status(200),
            }
        });
        let hook = hook.await;
        let (agent, _) = builder.publish_webhook("Hook", &hook.address, "standard").await;
        let (session, mut events) = client.starts(&agent).await;
        client.says(&session, "hello").await;
        for (tries, wait) in [(2, 7), (3, 37)] {
            requests(&hook, tries).await;
            // The try is written down a moment after it was seen.
            while statuses_now(&client, &session).await != ["queued"] {}
            platform.clock.advance(Duration::from_secs(wait));
            platform.host.due.notify_one();
        }
        assert_eq!(events.reply().await, "at last");
        let seen = requests(&hook, 4).await;
        let ids: Vec<_> = seen[1..].iter().map(|request| request.header("webhook-id")).collect();
        assert_eq!(ids, [ids[0]; 3], "the same event keeps its id");
        assert_eq!(statuses(&client, &session).await, ["delivered"]);
    }

    async fn redirects_are_not_followed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let elsewhere = WebhookAgent::echo(&platform.url).await;
        let to = elsewhere.address.clone();
        let hook = WebhookAgent::that(&platform.url, move |request| {
            match request.body["event"].as_str() {
                Some("message") => Reply::Redirect(to.clone()),
                _ => Reply::Status(200),
            }
        });
        let (agent, _) = builder.publish_webhook("Hook", &hook.await.address, "none").await;
        let (session, mut events) = client.starts(&agent).await;
        client.says(&session, "hello").await;
        assert_eq!(events.until("message_failed").await["code"], "redirect");
        assert!(elsewhere.seen().is_empty());
    }

    async fn an_agent_that_never_answers_is_given_ten_seconds(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let hook = WebhookAgent::that(&platform.url, |request| {
            match request.body["event"].as_str() {
                Some("message") => Reply::Hang,
                _ => Reply::Status(200),
            }
        });
        let (agent, _) = builder.publish_webhook("Hook", &hook.await.address, "none").await;
        let (session, mut events) = client.starts(&agent).await;
        client.says(&session, "hello").await;
        assert_eq!(events.until("message_failed").await["code"], "timeout");
    }

    async fn a_component_that_cannot_start_ends_its_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let agent = builder.publish("Broken", guests::guest("", "", "unreachable")).await;
        let (session, mut events) = client.opens(&agent).await;
        let ended = events.until("session_ended").await;
        assert_eq!((&ended["reason"], &ended["billedCents"]), (&json!("agent_failed"), &json!(0)));
        let session = client.get(&format!("/sessions/{session}")).await.ok();
        assert_eq!(session["status"], "completed");
    }
}

async fn statuses_now(client: &Person, session: &str) -> Vec<String> {
    let page = client.get(&format!("/sessions/{session}/messages")).await.ok();
    let page = page["data"].as_array().expect("a list");
    let own = page.iter().rev().filter(|message| message["role"] == "user");
    own.map(|m| m["status"].as_str().expect("a status").to_owned()).collect()
}
