//! Events that a builder asks for again, and events made up to test a webhook.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::Id,
        webhook::{Reply, WebhookAgent},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// An echo that can be switched off.
async fn switched(platform: &Platform) -> (WebhookAgent, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&works);
    let hook =
        WebhookAgent::that(&platform.url, move |request| match request.body["message"]["content"]
            .as_str()
        {
            Some(_) if !switch.load(Ordering::Relaxed) => Reply::Status(500),
            Some(said) => Reply::Say(vec![format!("echo: {said}")]),
            None => Reply::Status(200),
        })
        .await;
    (hook, works)
}

async fn tries(bea: &Person, agent: &str) -> Vec<Value> {
    let found = bea.get(&format!("/builder/agents/{agent}/deliveries?limit=200")).await.ok();
    found["data"].as_array().expect("a list").clone()
}

/// The newest try, once it is this one of its event.
async fn newest(bea: &Person, agent: &str, attempt: i64) -> Value {
    for _ in 0..2_000 {
        let newest = tries(bea, agent).await.remove(0);
        if newest["attempt"] == attempt {
            return newest;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there is no try {attempt}");
}

async fn finished(bea: &Person, path: &str) -> Value {
    for _ in 0..3_000 {
        let replay = bea.get(path).await.ok();
        if replay["state"] != "running" {
            return replay;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} does not end");
}

both_engines! {
    async fn a_dead_event_is_sent_again_with_its_id(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (hook, works) = switched(&platform).await;
        let (agent, _) = bea.publish_webhook("Echo", &hook.address, "none").await;
        let (session, mut events) = cleo.starts(&agent).await;
        works.store(false, Ordering::Relaxed);
        let message = cleo.says(&session, "hello").await.id();
        events.until("message_failed").await;
        works.store(true, Ordering::Relaxed);
        let dead = tries(&bea, &agent).await.remove(0);
        assert_eq!((&dead["outcome"], &dead["cause"]), (&json!("dead"), &json!("lane")));
        let path = format!("/builder/agents/{agent}/deliveries/{}/replay", dead.id());
        let answer = bea.post(&path, json!({})).await.with(202);
        assert_eq!((&answer["eventId"], &answer["status"]), (&json!(message), &json!("queued")));
        assert_eq!(events.reply().await, "echo: hello");
        let sent = hook.seen().pop().expect("a request");
        assert_eq!(sent.header("webhook-id"), message);
        assert_eq!((&sent.body["replay"], &sent.body["message"]["id"]), (&json!(true), &json!(message)));
        let again = newest(&bea, &agent, 2).await;
        assert_eq!((&again["cause"], &again["attempt"], &again["eventId"]), (&json!("replay"), &json!(2), &json!(message)));
        let messages = cleo.get(&format!("/sessions/{session}/messages")).await.ok();
        assert_eq!(messages["data"][1]["status"], "delivered");

        // What was delivered can be had again too: the agent's own key keeps it from
        // answering twice.
        bea.post(&path, json!({})).await.with(202);
        newest(&bea, &agent, 3).await;
        cleo.says(&session, "last").await;
        assert_eq!(events.reply().await, "echo: last");
        events.without_gap();

        // Its session's start, again: it does no harm.
        let start = tries(&bea, &agent).await.pop().expect("the start");
        assert_eq!(start["event"], "session_started");
        works.store(false, Ordering::Relaxed);
        let start = format!("/builder/agents/{agent}/deliveries/{}/replay", start.id());
        bea.post(&start, json!({})).await.with(202);
        works.store(true, Ordering::Relaxed);
        cleo.says(&session, "still here").await;
        assert_eq!(events.reply().await, "echo: still here");

        cleo.ends(&session).await;
        events.rest().await;
        bea.post(&path, json!({})).await.problem(409, "session_ended");
        cleo.post(&path, json!({})).await.problem(403, "not_a_builder");
        platform.builder("Rival").await.post(&path, json!({})).await.problem(404, "not_found");
        let nothing = format!("/builder/agents/{agent}/deliveries/{agent}/replay");
        bea.post(&nothing, json!({})).await.problem(404, "not_found");
    }

    async fn what_waits_for_another_try_is_tried_now(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (hook, works) = switched(&platform).await;
        let (agent, _) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        works.store(false, Ordering::Relaxed);
        cleo.says(&session, "one").await;
        cleo.says(&session, "two").await;
        events.until("delivery_failed").await;
        works.store(true, Ordering::Relaxed);
        let waits = tries(&bea, &agent).await.remove(0);
        assert_eq!(waits["outcome"], "retrying");
        let path = format!("/builder/agents/{agent}/deliveries/{}/replay", waits.id());
        bea.post(&path, json!({})).await.with(202);
        // Without the clock having moved; and what came after it follows.
        assert_eq!(events.reply().await, "echo: one");
        assert_eq!(events.reply().await, "echo: two");
        events.without_gap();
    }

    async fn a_range_is_replayed_and_goes_on_after_a_restart(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (hook, works) = switched(&platform).await;
        let (agent, _) = bea.publish_webhook("Echo", &hook.address, "none").await;
        let before = platform.clock.now();
        works.store(false, Ordering::Relaxed);
        let mut sessions = Vec::new();
        for _ in 0..5 {
            let (session, mut events) = cleo.starts(&agent).await;
            for n in 0..6 {
                cleo.says(&session, &format!("message {n}")).await;
                events.until("message_failed").await;
            }
            // Ten failures in a minute would open the breaker.
            platform.clock.advance(Duration::from_secs(70));
            sessions.push((session, events));
        }
        // One session is over: what died in it stays dead.
        let (over, _) = sessions.remove(0);
        cleo.ends(&over).await;
        works.store(true, Ordering::Relaxed);
        let path = format!("/builder/agents/{agent}/replays");
        let dry = json!({ "since": before, "dryRun": true });
        assert_eq!(bea.post(&path, dry).await.ok()["total"], 30);
        let begun = bea.post(&path, json!({ "since": before })).await.with(202);
        assert_eq!((&begun["state"], &begun["total"]), (&json!("running"), &json!(30)));
        let mut platform = platform.again(|| ()).await;
        let bea = bea.at(&platform.url);
        hook.platform_is_at(&platform.url);
        let one = format!("{path}/{}", begun.id());
        let done = finished(&bea, &one).await;
        assert_eq!((&done["state"], &done["replayed"], &done["skipped"]), (&json!("done"), &json!(24), &json!(6)));
        assert!(done["finishedAt"].is_string());
        let cleo = cleo.at(&platform.url);
        for (session, events) in sessions {
            let mut events = { let last = events.last_id(); cleo.listens(&session, Some(last)).await };
            for n in 0..6 {
                assert_eq!(events.reply().await, format!("echo: message {n}"));
            }
        }
        // Nothing is dead any more but what is over.
        let second = bea.post(&path, json!({ "since": before })).await.with(202).id();
        let second = finished(&bea, &format!("{path}/{second}")).await;
        assert_eq!((&second["replayed"], &second["skipped"]), (&json!(0), &json!(30)));
        assert_eq!(bea.get(&path).await.ok()["data"].as_array().map(Vec::len), Some(2));
        // Cancelling what is done changes nothing.
        assert_eq!(bea.post(&format!("{one}/cancel"), json!({})).await.ok()["state"], "done");

        for (body, field) in [
            (json!({ "since": "yesterday" }), "/since"),
            (json!({ "since": before, "until": before }), "/since"),
            (json!({ "since": before, "until": 5 }), "/until"),
            (json!({ "since": before, "sessionId": "x" }), "/sessionId"),
            (json!({}), "/since"),
        ] {
            let problem = bea.post(&path, body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], field);
        }
        let rival = platform.builder("Rival").await;
        rival.get(&one).await.problem(404, "not_found");
        platform.clock.advance(Duration::from_secs(1));
        platform = platform.again(|| ()).await;
        assert_eq!(bea.at(&platform.url).get(&one).await.ok()["state"], "done");
    }

    async fn a_test_event_is_signed_logged_and_opens_nothing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let (hook, works) = switched(&platform).await;
        let (agent, secret) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        works.store(false, Ordering::Relaxed);
        let path = format!("/builder/agents/{agent}/test-event");
        let failed = bea.post(&path, json!({ "content": "hello" })).await.ok();
        assert_eq!((&failed["outcome"], &failed["cause"], &failed["responseStatus"]), (&json!("dead"), &json!("test"), &json!(500)));
        let well = bea.post(&path, json!({ "event": "session_started" })).await.ok();
        assert_eq!((&well["outcome"], &well["event"]), (&json!("delivered"), &json!("session_started")));
        let seen = hook.seen();
        assert!(seen.iter().all(|one| one.is_signed_with(&secret) && one.body["test"] == true));
        assert_eq!(seen[0].body["message"]["content"], "hello");
        // The token that came with it is of no session.
        let (session, token) = (seen[0].body["sessionId"].as_str().expect("an id"), &seen[0].body["agentAuthToken"]);
        let call = Person { token: token.as_str().expect("a token").into(), ..Person::nobody(&platform.url) };
        call.post(&format!("/agent/{session}/message"), json!({ "content": "x" })).await.problem(401, "unauthenticated");
        // It is on record, cannot be replayed, and says nothing of the webhook.
        assert_eq!(tries(&bea, &agent).await.len(), 2);
        let replay = format!("/builder/agents/{agent}/deliveries/{}/replay", failed.id());
        bea.post(&replay, json!({})).await.problem(409, "test_event");
        assert_eq!(bea.get(&format!("/builder/agents/{agent}/webhook")).await.ok()["state"], "ok");
        for (body, field) in [
            (json!({ "event": "message_failed" }), "/event"),
            (json!({ "event": "session_ended", "content": "x" }), "/content"),
            (json!({ "content": " " }), "/content"),
        ] {
            let problem = bea.post(&path, body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], field);
        }
        let component = bea.component_agent("Component").await;
        bea.post(&format!("/builder/agents/{component}/test-event"), json!({})).await.problem(409, "not_a_webhook");
        // An agent that was only tested can be deleted.
        bea.post(&format!("/builder/agents/{agent}/unpublish"), json!({})).await.ok();
        assert_eq!(bea.delete(&format!("/builder/agents/{agent}")).await.status, 204);
    }
}
