//! A client that does not want to wait any longer.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, guests, json,
        voice::Voice,
        webhook::{Reply, WebhookAgent},
        within,
    },
};
use std::time::Duration;

both_engines! {
    async fn a_component_is_broken_off_and_what_it_said_stays(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        // What begins with a `w` is shown as a piece of a reply that never ends.
        let waits = "(if (i32.eq (i32.load8_u (local.get $text)) (i32.const 119))
            (then
              (call $begin_reply (i32.const 64))
              (call $piece (i32.load (i32.const 68)) (local.get $text) (local.get $textn) (i32.const 96))
              (call $sleep (i64.const 20000000000)))
            (else (call $say (local.get $text) (local.get $textn))))";
        let agent = bea.publish("Slow", guests::on_message(waits)).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let path = format!("/sessions/{session}/cancel");
        assert_eq!(cleo.post(&path, json!({})).await.ok()["cancelled"], false, "it is at nothing");
        let asked = cleo.says(&session, "write and wait").await;
        events.until("message_delta").await;
        cleo.says(&session, "after").await;
        let cancelled = cleo.post(&path, json!({})).await.ok();
        assert_eq!((&cancelled["cancelled"], &cancelled["eventId"]), (&json!(true), &asked["id"]));
        let failed = events.until("message_failed").await;
        assert_eq!((&failed["messageId"], &failed["code"]), (&asked["id"], &json!("cancelled")));
        let shown = cleo.get(&format!("/sessions/{session}/messages")).await.ok();
        let kept = shown["data"].as_array().expect("a list").iter().find(|one| one["cancelled"] == true);
        assert_eq!(kept.expect("what was shown")["content"], "write and wait");
        // What comes after it is answered.
        assert_eq!(events.reply().await, "after");
        events.without_gap();
        let gone = || (platform.host.sandbox.instances() == 0).then_some(());
        within(Duration::from_secs(5), gone).await;
        platform.person("Rival").await.post(&path, json!({})).await.problem(404, "not_found");
        cleo.ends(&session).await;
        cleo.post(&path, json!({})).await.problem(409, "session_ended");
    }

    async fn a_webhook_is_broken_off_and_its_pieces_are_kept(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |request| {
            match request.body["message"]["content"].as_str() {
                Some("wait") => Reply::Hang,
                Some(said) => Reply::Say(vec![format!("echo: {said}")]),
                None => Reply::Status(200),
            }
        })
        .await;
        let (agent, _) = bea.publish_webhook("Slow", &hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        let voice = Voice::of(&platform, &session);
        cleo.says(&session, "wait").await;
        let begun = voice.piece("s", "Once upon").await;
        while hook.seen().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let path = format!("/sessions/{session}/cancel");
        let cancelled = cleo.post(&path, json!({})).await.ok();
        assert_eq!(cancelled["messages"][0]["content"], "Once upon");
        assert_eq!(cancelled["messages"][0]["id"], begun["messageId"]);
        assert_eq!(events.until("message_failed").await["code"], "cancelled");
        // A piece that comes late is told that there is nothing to go on with.
        let late = voice.call("message").json(&json!({ "content": " a", "streamId": "s" }));
        crate::harness::people::send(late).await.problem(409, "stream_finished");
        let history = voice.history("").await.ok();
        assert!(history["data"].as_array().expect("a list").iter().any(|one| one["content"] == "Once upon"));
        let tries = bea.get(&format!("/builder/agents/{agent}/deliveries")).await.ok();
        assert_eq!((&tries["data"][0]["error"], &tries["data"][0]["outcome"]), (&json!("cancelled"), &json!("dead")));
        cleo.says(&session, "next").await;
        assert_eq!(events.reply().await, "echo: next");
        events.without_gap();
    }

    async fn what_waits_for_another_try_is_given_up(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |request| {
            match request.body["message"]["content"].as_str() {
                Some("bad") => Reply::Status(500),
                Some(said) => Reply::Say(vec![format!("echo: {said}")]),
                None => Reply::Status(200),
            }
        })
        .await;
        let (agent, _) = bea.publish_webhook("Moody", &hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "bad").await;
        cleo.says(&session, "good").await;
        events.until("delivery_failed").await;
        let path = format!("/sessions/{session}/cancel");
        assert_eq!(cleo.post(&path, json!({})).await.ok()["cancelled"], true);
        // Long before its next try, and without one.
        assert_eq!(events.until("message_failed").await["code"], "cancelled");
        assert_eq!(events.reply().await, "echo: good");
        let bad = hook.seen().iter().filter(|seen| seen.body["message"]["content"] == "bad").count();
        assert_eq!(bad, 1);
        // Hanging up is no cancelling, and a session that is not ready has nothing.
        Person::nobody(&platform.url).post(&path, json!({})).await.problem(401, "unauthenticated");
    }

}

#[test]
fn another_process_is_told_too() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let platform = Platform::start(Engine::Postgres).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook =
            WebhookAgent::that(&platform.url, |request| match request.body["event"].as_str() {
                Some("message") => Reply::Hang,
                _ => Reply::Status(200),
            })
            .await;
        let (agent, _) = bea.publish_webhook("Slow", &hook.address, "none").await;
        let (session, mut events) = cleo.starts(&agent).await;
        let other = platform.beside().await;
        cleo.says(&session, "wait").await;
        while hook.seen().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Its driver is in the first process and looks when it renews its claim.
        let path = format!("/sessions/{session}/cancel");
        assert_eq!(cleo.at(&other.url).post(&path, json!({})).await.ok()["cancelled"], true);
        assert_eq!(events.until("message_failed").await["code"], "cancelled");
    });
}
