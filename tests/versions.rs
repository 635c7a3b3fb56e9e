//! Which version a session talks to: the active one, the one it is pinned to, or one
//! on trial with a share of the new sessions; and how a trial ends.

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, Value, guests, json, people::Answer, voice::NOBODY,
    },
};
use futures::future::join_all;

/// Answers with its own name, of five letters; a message that begins with `a` kills it.
fn version(name: &str) -> Vec<u8> {
    let does = "(if (i32.eq (i32.load8_u (local.get $text)) (i32.const 97)) (then unreachable))
        (call $say (i32.const 1024) (i32.const 5))";
    guests::guest(&format!(r#"(data (i32.const 1024) "{name}")"#), does, "")
}

async fn activate(builder: &Person, agent: &str, version: i64) {
    let path = format!("/builder/agents/{agent}/components/{version}/activate");
    builder.post(&path, json!({})).await.ok();
}

async fn pin(builder: &Person, agent: &str, pin: bool) {
    let path = format!("/builder/agents/{agent}");
    let changed = builder.patch(&path, json!({ "pinSessions": pin })).await.ok();
    assert_eq!(changed["pinSessions"], pin);
    assert_eq!(builder.get(&path).await.ok()["pinSessions"], pin);
}

async fn answer(client: &Person, (session, events): &mut (String, Events)) -> String {
    client.says(session, "who?").await;
    events.reply().await
}

both_engines! {
    async fn a_session_follows_the_active_version_unless_it_is_pinned(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Agent", version("first")).await;
        assert_eq!(bea.get(&format!("/builder/agents/{agent}")).await.ok()["pinSessions"], false);
        let mut follows = cleo.starts(&agent).await;
        pin(&bea, &agent, true).await;
        let mut pinned = cleo.starts(&agent).await;
        assert_eq!(bea.install(&agent, version("other")).await, 2);
        let mut later = cleo.starts(&agent).await;

        // Opened before the setting was switched on: not pinned.
        assert_eq!(answer(&cleo, &mut follows).await, "other");
        assert_eq!(answer(&cleo, &mut pinned).await, "first");
        assert_eq!(answer(&cleo, &mut later).await, "other");
        activate(&bea, &agent, 1).await;
        assert_eq!(answer(&cleo, &mut follows).await, "first");
        assert_eq!(answer(&cleo, &mut later).await, "other");
        // On already: nothing changes for anybody.
        pin(&bea, &agent, true).await;
        assert_eq!(answer(&cleo, &mut later).await, "other");
        // Receipts name what ran.
        let versions = bea.get(&format!("/builder/agents/{agent}/components")).await.ok();
        for (session, ran) in [(&pinned, [1, 1]), (&later, [2, 2])] {
            for (receipt, ran) in bea.receipts(&agent, &session.0, 2).await.iter().zip(ran) {
                assert_eq!(receipt["version"], ran);
                assert_eq!(receipt["sha256"], versions["data"][2 - ran as usize]["sha256"]);
            }
        }
        // Off: the way out of a version that turned out bad. On again: they stay free.
        pin(&bea, &agent, false).await;
        assert_eq!(answer(&cleo, &mut later).await, "first");
        pin(&bea, &agent, true).await;
        activate(&bea, &agent, 2).await;
        assert_eq!(answer(&cleo, &mut later).await, "other");
        assert_eq!(answer(&cleo, &mut pinned).await, "other");
    }
}

/// An agent with version 1 active and version 2 ready.
struct Trial {
    platform: Platform,
    bea: Person,
    cleo: Person,
    agent: String,
}

impl Trial {
    async fn new(engine: Engine, second: Vec<u8>) -> Self {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Agent", version("first")).await;
        assert_eq!(bea.upload(&agent, second).await.created()["version"], 2);
        Self { platform, bea, cleo, agent }
    }

    async fn put(&self, version: impl std::fmt::Display, terms: Value) -> Answer {
        let path = format!("/builder/agents/{}/components/{version}/canary", self.agent);
        self.bea.put(&path, terms).await
    }

    async fn stop(&self, version: i64) -> Answer {
        let path = format!("/builder/agents/{}/components/{version}/canary", self.agent);
        self.bea.delete(&path).await
    }

    async fn canary(&self) -> Value {
        self.bea.get(&format!("/builder/agents/{}", self.agent)).await.ok()["canary"].clone()
    }

    /// Waits until so many events were counted.
    async fn counted(&self, events: u64) -> Value {
        for _ in 0..1_000 {
            let canary = self.canary().await;
            if canary["events"].as_u64() >= Some(events) {
                return canary;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{events} events were never counted: {}", self.canary().await);
    }

    /// A session of its own, and the version it began with.
    async fn session(&self) -> ((String, Events), i64) {
        let session = self.cleo.starts(&self.agent).await;
        let receipt = self.bea.receipts(&self.agent, &session.0, 1).await.remove(0);
        (session, receipt["version"].as_i64().expect("a number"))
    }

    /// A session that has drawn the version on trial.
    async fn drawn(&self) -> (String, Events) {
        for _ in 0..1_000 {
            if let (session, 2) = self.session().await {
                return session;
            }
        }
        panic!("nobody was drawn");
    }

    async fn vain(&self, (session, events): &mut (String, Events), content: &str) {
        self.cleo.says(session, content).await;
        events.until("message_failed").await;
    }
}

const SESSIONS: usize = 80;

both_engines! {
    async fn a_trial_has_its_share_of_new_sessions_and_keeps_them(engine: Engine) {
        let trial = Trial::new(engine, version("other")).await;
        let mut before = trial.session().await.0;
        let begun = trial.put(2, json!({ "sharePercent": 30, "minEvents": 100_000 })).await.ok();
        assert_eq!(begun["state"], "running");
        assert_eq!(begun["trapPercent"], 10, "the default");
        let mut sessions = join_all((0..SESSIONS).map(|_| trial.session())).await;
        let drawn = sessions.iter().filter(|(_, version)| *version == 2).count();
        // Expected are 24; fewer than 5 or more than 48 once in a hundred thousand runs.
        assert!((5..=48).contains(&drawn), "{drawn} of {SESSIONS}");
        for (session, version) in &mut sessions {
            let name = if *version == 2 { "other" } else { "first" };
            assert_eq!(answer(&trial.cleo, session).await, name);
        }
        // It had begun before.
        assert_eq!(answer(&trial.cleo, &mut before).await, "first");
        let counted = trial.counted(2 * drawn as u64).await;
        assert_eq!((&counted["events"], &counted["failures"]), (&json!(2 * drawn), &json!(0)));

        // Other terms; what was counted stays.
        let changed = trial.put(2, json!({ "sharePercent": 1 })).await.ok();
        assert_eq!((&changed["sharePercent"], &changed["events"]), (&json!(1), &json!(2 * drawn)));
        trial.stop(2).await.with(204);
        trial.stop(2).await.problem(404, "not_found");
        let stopped = trial.canary().await;
        assert_eq!((&stopped["state"], &stopped["reason"]), (&json!("stopped"), &Value::Null));
        assert!(stopped["endedAt"].is_string());
        for (session, _) in &mut sessions {
            assert_eq!(answer(&trial.cleo, session).await, "first");
        }
    }

    async fn a_trial_that_is_activated_is_promoted(engine: Engine) {
        let trial = Trial::new(engine, version("other")).await;
        pin(&trial.bea, &trial.agent, true).await;
        let mut pinned = trial.session().await.0;
        trial.put(2, json!({ "sharePercent": 99 })).await.ok();
        let mut drawn = trial.drawn().await;
        activate(&trial.bea, &trial.agent, 2).await;
        assert_eq!(trial.canary().await["state"], "promoted");
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "other");
        assert_eq!(answer(&trial.cleo, &mut pinned).await, "first");
        // Pinned sessions keep a version for life, also one they began with on trial.
        activate(&trial.bea, &trial.agent, 1).await;
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "other");
        pin(&trial.bea, &trial.agent, false).await;
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "first");
        assert_eq!(trial.session().await.1, 1, "nobody is drawn any more");
    }

    async fn a_trial_that_fails_too_often_is_rolled_back(engine: Engine) {
        let trial = Trial::new(engine, version("other")).await;
        let terms = json!({ "sharePercent": 99, "trapPercent": 50, "minEvents": 4 });
        trial.put(2, terms).await.ok();
        let mut drawn = trial.drawn().await;
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "other");
        trial.vain(&mut drawn, "attack").await;
        let canary = trial.counted(3).await;
        assert_eq!((&canary["state"], &canary["failures"]), (&json!("running"), &json!(1)));
        assert_eq!(canary["reason"], Value::Null);
        // The fourth event, and two of four are half.
        trial.vain(&mut drawn, "attack").await;
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "first");
        let canary = trial.canary().await;
        assert_eq!(canary["state"], "rolled_back");
        assert_eq!((&canary["events"], &canary["failures"]), (&json!(4), &json!(2)));
        let reason = "version 2 failed at 2 of 4 events, which reaches trapPercent (50)";
        assert_eq!(canary["reason"], reason);
        assert_eq!(trial.session().await.1, 1, "nobody is drawn any more");
        // It may be tried again, from nothing.
        let again = trial.put(2, json!({})).await.ok();
        assert_eq!((&again["state"], &again["events"]), (&json!("running"), &json!(0)));
        assert_eq!((&again["sharePercent"], &again["minEvents"]), (&json!(10), &json!(20)));
        // A session of the trial before does not take part in this one.
        assert_eq!(answer(&trial.cleo, &mut drawn).await, "first");
    }

    async fn declining_is_no_failure(engine: Engine) {
        let trial = Trial::new(engine, guests::LIBRARIAN.to_vec()).await;
        let path = format!("/builder/agents/{}", trial.agent);
        trial.bea.patch(&path, json!({ "retryPolicy": "none" })).await.ok();
        trial.put(2, json!({ "sharePercent": 99, "trapPercent": 1, "minEvents": 1 })).await.ok();
        let mut drawn = trial.drawn().await;
        trial.vain(&mut drawn, "refuse").await;
        trial.vain(&mut drawn, "fail").await;
        let canary = trial.counted(3).await;
        assert_eq!((&canary["state"], &canary["failures"]), (&json!("running"), &json!(0)));
        trial.vain(&mut drawn, "panic").await;
        let canary = trial.counted(4).await;
        assert_eq!((&canary["state"], &canary["failures"]), (&json!("rolled_back"), &json!(1)));
    }

    async fn trials_that_make_no_sense(engine: Engine) {
        let trial = Trial::new(engine, version("other")).await;
        for (terms, pointer) in [
            (json!({ "sharePercent": 0 }), "/sharePercent"),
            (json!({ "sharePercent": 100 }), "/sharePercent"),
            (json!({ "sharePercent": -1 }), "/sharePercent"),
            (json!({ "sharePercent": 1.5 }), "/sharePercent"),
            (json!({ "sharePercent": "10" }), "/sharePercent"),
            (json!({ "sharePercent": null }), "/sharePercent"),
            (json!({ "trapPercent": 0 }), "/trapPercent"),
            (json!({ "trapPercent": 101 }), "/trapPercent"),
            (json!({ "minEvents": 0 }), "/minEvents"),
            (json!({ "minEvents": 1_000_001 }), "/minEvents"),
            (json!({ "share": 10 }), "/share"),
        ] {
            let problem = trial.put(2, terms.clone()).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{terms}");
        }
        trial.put(1, json!({})).await.problem(409, "version_active");
        for unknown in ["3", "0", "-1", "x"] {
            trial.put(unknown, json!({})).await.problem(404, "not_found");
        }
        trial.bea.upload(&trial.agent, "not wasm").await.problem(422, "component_refused");
        trial.put(3, json!({})).await.problem(409, "version_not_ready");
        assert_eq!(trial.canary().await, Value::Null, "nothing was half done");
        trial.bea.upload(&trial.agent, version("third")).await.created();
        trial.put(2, json!({})).await.ok();
        trial.put(4, json!({})).await.problem(409, "canary_running");
        trial.stop(4).await.problem(404, "not_found");

        let path = |agent: &str| format!("/builder/agents/{agent}/components/1/canary");
        let draft = trial.bea.component_agent("Draft").await;
        trial.bea.upload(&draft, version("first")).await.created();
        trial.bea.put(&path(&draft), json!({})).await.problem(409, "no_active_version");
        let (webhook, _) = trial.bea.publish_webhook("Hook", NOBODY, "none").await;
        let put = trial.bea.put(&path(&webhook), json!({})).await;
        put.problem(409, "not_a_component_agent");
        let pinning = json!({ "pinSessions": true });
        let pinned = trial.bea.patch(&format!("/builder/agents/{webhook}"), pinning).await;
        assert_eq!(pinned.problem(400, "invalid_field")["errors"][0]["pointer"], "/pinSessions");
        let rival = trial.platform.builder("Rival").await;
        rival.put(&path(&trial.agent), json!({})).await.problem(404, "not_found");
        rival.delete(&path(&trial.agent)).await.problem(404, "not_found");
        // What is on trial can be deleted; then the trial is over.
        activate(&trial.bea, &draft, 1).await;
        trial.bea.upload(&draft, version("other")).await.created();
        let second = format!("/builder/agents/{draft}/components/2/canary");
        trial.bea.put(&second, json!({})).await.ok();
        trial.bea.delete(&format!("/builder/agents/{draft}")).await.with(204);
    }
}

/// Events of one trial that end at the same time, in two processes, are all counted,
/// and it is rolled back once.
#[test]
fn a_trial_is_counted_right_by_two_processes() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let trial = Trial::new(Engine::Postgres, version("other")).await;
        let two = trial.platform.beside().await;
        let terms = json!({ "sharePercent": 99, "trapPercent": 50, "minEvents": 60 });
        trial.put(2, terms).await.ok();
        let drawn = join_all((0..10).map(|_| trial.drawn())).await;
        // Ten have started and five of the next fifty go well: at the sixtieth event
        // 45 have failed.
        let talks = drawn.into_iter().enumerate().map(|(number, (session, mut events))| {
            let here = trial.cleo.clone();
            let there = here.at(&two.url);
            async move {
                for n in 0..5 {
                    let speaker = if (number + n) % 2 == 0 { &here } else { &there };
                    let well = n == 0 && number < 5;
                    speaker.says(&session, if well { "hello" } else { "attack" }).await;
                    if well {
                        assert_eq!(events.reply().await, "other");
                    } else {
                        events.until("message_failed").await;
                    }
                }
                (session, events)
            }
        });
        let drawn = join_all(talks).await;
        let canary = trial.counted(60).await;
        assert_eq!((&canary["events"], &canary["failures"]), (&json!(60), &json!(45)));
        assert_eq!(canary["state"], "rolled_back");
        for mut session in drawn {
            assert_eq!(answer(&trial.cleo, &mut session).await, "first");
        }
    });
}
