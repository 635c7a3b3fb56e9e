//! Instances that are kept between the events of a session: a convenience that
//! nobody may rely on, and that never shows anybody else's memory.

use crate::harness::{Engine, Events, Person, Platform, guests, json, people::Id};
use aiybiz_host::sandbox::Waiting;
use std::time::Duration;

/// Counts its events in a global, which is no storage. A message that begins with
/// `t` makes it trap, one with `h` leaves it with a handle.
fn counter() -> Vec<u8> {
    guests::guest(
        "(global $n (mut i32) (i32.const 48))",
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))
         (i32.store8 (i32.const 1024) (global.get $n))
         (call $say (i32.const 1024) (i32.const 1))
         (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 116)) (then unreachable))
         (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 104))
           (then (call $begin_reply (i32.const 64))))",
        "",
    )
}

/// A published counter whose instances may be kept.
async fn published(bea: &Person) -> String {
    let agent = bea.publish("Counter", counter()).await;
    keep(bea, &agent, 1, true).await;
    agent
}

async fn keep(bea: &Person, agent: &str, version: i64, warm: bool) {
    let path = format!("/builder/agents/{agent}/components/{version}");
    assert_eq!(bea.patch(&path, json!({ "warm": warm })).await.ok()["warm"], warm);
    assert_eq!(bea.get(&path).await.ok()["warm"], warm);
}

async fn counts(cleo: &Person, session: &str, events: &mut Events, message: &str) -> String {
    cleo.says(session, message).await;
    events.reply().await
}

crate::both_engines! {
    async fn an_instance_serves_one_session_until_it_fails(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = published(&bea).await;
        let (one, mut first) = cleo.starts(&agent).await;
        let (two, mut second) = cleo.starts(&agent).await;
        assert_eq!(counts(&cleo, &one, &mut first, "a").await, "1");
        assert_eq!(counts(&cleo, &one, &mut first, "b").await, "2");
        assert_eq!(counts(&cleo, &two, &mut second, "a").await, "1");
        // A trap ends the event, and the instance with it.
        assert_eq!(counts(&cleo, &one, &mut first, "trap").await, "3");
        assert_eq!(counts(&cleo, &one, &mut first, "c").await, "1");
        assert_eq!(counts(&cleo, &two, &mut second, "b").await, "2");
        let receipts = bea.receipts(&agent, &one, 5).await;
        let warm: Vec<_> = receipts.iter().map(|receipt| receipt["warm"].clone()).collect();
        assert_eq!(warm, [false, true, true, true, false].map(|warm| json!(warm)));
        // What one event took, the next one's receipt does not tell again.
        assert_eq!(receipts[1]["hostCalls"], json!({ "session.reply": 1 }));
        assert_eq!(receipts[2]["hostCalls"], json!({ "session.reply": 1 }));

        // A handle that is left over belongs to its event: the instance goes.
        assert_eq!(counts(&cleo, &two, &mut second, "hold").await, "3");
        assert_eq!(counts(&cleo, &two, &mut second, "c").await, "1");

        cleo.ends(&one).await;
        cleo.ends(&two).await;
        bea.receipts(&agent, &one, 6).await;
        bea.receipts(&agent, &two, 6).await;
        assert_eq!(platform.host.sandbox.waiting(), Waiting::default());
    }

    async fn another_version_begins_anew_and_so_does_one_that_missed_something(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = published(&bea).await;
        let (session, mut events) = cleo.starts(&agent).await;
        assert_eq!(counts(&cleo, &session, &mut events, "a").await, "1");
        assert_eq!(counts(&cleo, &session, &mut events, "b").await, "2");
        let other = guests::guest(
            "(global $n (mut i32) (i32.const 64))",
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (i32.store8 (i32.const 1024) (global.get $n))
             (call $say (i32.const 1024) (i32.const 1))",
            "",
        );
        let version = bea.install(&agent, other).await;
        assert_eq!(counts(&cleo, &session, &mut events, "c").await, "A");
        // Nobody asked for the new version's instances to be kept.
        assert_eq!(counts(&cleo, &session, &mut events, "d").await, "A");
        keep(&bea, &agent, version, true).await;
        assert_eq!(counts(&cleo, &session, &mut events, "e").await, "A");
        assert_eq!(counts(&cleo, &session, &mut events, "f").await, "B");

        // Another process handles one event: this one's instance has missed it.
        bea.receipts(&agent, &session, 7).await;
        let beside = platform.beside().await;
        let there = cleo.at(&beside.url);
        assert_eq!(counts(&there, &session, &mut events, "g").await, "A");
        bea.receipts(&agent, &session, 8).await;
        assert_eq!(counts(&cleo, &session, &mut events, "h").await, "A");
    }
}

#[test]
fn tests_of_a_draft_do_not_keep_unless_asked_to() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.component_agent("Draft").await;
        bea.install(&agent, counter()).await;
        keep(&bea, &agent, 1, true).await;
        let (session, mut events) = bea.starts(&agent).await;
        assert_eq!(counts(&bea, &session, &mut events, "a").await, "1");
        assert_eq!(counts(&bea, &session, &mut events, "b").await, "1");
        let asked = json!({ "agentId": agent, "keepInstance": true });
        let session = bea.post("/sessions", asked.clone()).await.created().id();
        let mut events = bea.listens(&session, Some(0)).await;
        events.until("session").await;
        assert_eq!(counts(&bea, &session, &mut events, "a").await, "1");
        assert_eq!(counts(&bea, &session, &mut events, "b").await, "2");
        // What is for rent is kept as its version says, and nobody has a say in that.
        bea.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
        let refused = cleo.post("/sessions", asked).await.problem(400, "invalid_field");
        assert_eq!(refused["errors"][0]["pointer"], "/keepInstance");

        let path = format!("/builder/agents/{agent}/components/1");
        let refused = bea.patch(&path, json!({ "warm": 1 })).await.problem(400, "invalid_field");
        assert_eq!(refused["errors"][0]["pointer"], "/warm");
        cleo.patch(&path, json!({ "warm": true })).await.problem(403, "not_a_builder");
        let path = format!("/builder/agents/{agent}/components/2");
        bea.patch(&path, json!({ "warm": true })).await.problem(404, "not_found");
    });
}

#[test]
fn no_more_are_kept_than_may_be() {
    crate::harness::run(async {
        // One of each agent, and slots for two instances in all.
        let platform = Platform::configured(Engine::Sqlite, |config| {
            config.limits.warm_instances = 1;
            config.limits.concurrent_events = 2;
            config.limits.concurrent_events_total = 2;
            config.pool.instances = 2;
            config.guest_threads = 1;
        });
        let platform = platform.await;
        let waiting = || platform.host.sandbox.waiting().instances;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = published(&bea).await;
        let (one, mut first) = cleo.starts(&agent).await;
        let (two, mut second) = cleo.starts(&agent).await;
        assert_eq!(counts(&cleo, &two, &mut second, "a").await, "1");
        assert_eq!(counts(&cleo, &one, &mut first, "a").await, "1");
        bea.receipts(&agent, &one, 2).await;
        assert_eq!(waiting(), 1);
        assert_eq!(counts(&cleo, &two, &mut second, "b").await, "1");
        bea.receipts(&agent, &two, 3).await;
        assert_eq!(waiting(), 1);

        // Those of other agents take up the slots, and give them up for what runs.
        for name in ["Second", "Third", "Fourth"] {
            let other = bea.publish(name, counter()).await;
            keep(&bea, &other, 1, true).await;
            let (session, mut events) = cleo.starts(&other).await;
            assert_eq!(counts(&cleo, &session, &mut events, "a").await, "1");
            assert_eq!(counts(&cleo, &session, &mut events, "b").await, "2");
            bea.receipts(&other, &session, 3).await;
            assert!(waiting() <= 2, "{}", waiting());
        }

        // Whoever has waited for ten minutes goes.
        platform.clock.advance(Duration::from_mins(10));
        aiybiz_host::work::tidy(&platform.host).await.expect("tidied up");
        assert_eq!(waiting(), 0);
        assert_eq!(counts(&cleo, &two, &mut second, "c").await, "1");
    });
}

#[test]
fn what_all_hold_together_is_bounded_and_none_at_all_is_a_policy() {
    crate::harness::run(async {
        // Not even one instance of a counter.
        let change = |config: &mut aiybiz_host::config::Config| config.pool.warm_bytes = 100 << 10;
        let platform = Platform::configured(Engine::Sqlite, change).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = published(&bea).await;
        let (session, mut events) = cleo.starts(&agent).await;
        assert_eq!(counts(&cleo, &session, &mut events, "a").await, "1");
        assert_eq!(counts(&cleo, &session, &mut events, "b").await, "1");
        assert_eq!(platform.host.sandbox.waiting(), Waiting::default());

        let none = |limits: &mut aiybiz_host::sandbox::Limits| limits.warm_instances = 0;
        let platform = Platform::start_with(Engine::Sqlite, none).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = published(&bea).await;
        let (session, mut events) = cleo.starts(&agent).await;
        assert_eq!(counts(&cleo, &session, &mut events, "a").await, "1");
        assert_eq!(counts(&cleo, &session, &mut events, "b").await, "1");
    });
}
