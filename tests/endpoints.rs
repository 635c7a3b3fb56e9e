//! What happens when a builder's server fails: breakers, disabling and enabling, and
//! what clients and builders see of it.

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, Value, json,
        webhook::{Reply, WebhookAgent},
        within,
    },
};
use aiybiz_host::work;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

const SOON: Duration = Duration::from_secs(20);

/// A server that answers `/auth` of every session well and messages with a status that
/// the test sets; 200 is an echo.
struct Moody {
    hook: WebhookAgent,
    status: Arc<AtomicU16>,
}

impl Moody {
    async fn new(platform: &Platform) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let mood = Arc::clone(&status);
        let hook = WebhookAgent::that(&platform.url, move |request| {
            match (mood.load(Ordering::Relaxed), request.body["message"]["content"].as_str()) {
                (_, None) => Reply::Status(200),
                (200, Some(said)) => Reply::Say(vec![format!("echo: {said}")]),
                (status, Some(_)) => Reply::Status(status),
            }
        })
        .await;
        Self { hook, status }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Messages that it was sent, however it answered.
    fn messages(&self) -> usize {
        self.hook.seen().iter().filter(|seen| seen.body["event"] == "message").count()
    }
}

async fn state(bea: &Person, agent: &str) -> Value {
    bea.get(&format!("/builder/agents/{agent}/webhook")).await.ok()
}

async fn until_state(bea: &Person, agent: &str, wanted: &str) -> Value {
    for _ in 0..2_000 {
        let found = state(bea, agent).await;
        if found["state"] == wanted {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {wanted}: {}", state(bea, agent).await);
}

both_engines! {
    async fn a_client_is_told_once_that_its_agent_fails_and_once_that_it_is_back(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let moody = Moody::new(&platform).await;
        let (agent, _) = bea.publish_webhook("Moody", &moody.hook.address, "standard").await;
        assert_eq!(state(&bea, &agent).await["state"], "ok");
        let (session, mut events) = cleo.starts(&agent).await;
        moody.answers(503);
        cleo.says(&session, "hello").await;
        let failed = events.until("delivery_failed").await;
        assert_eq!((&failed["code"], &failed["event"]), (&json!("status"), &json!("message")));
        assert!(failed["nextAttemptAt"].is_string() && failed["seq"].is_i64(), "{failed}");
        events.presence("degraded").await;
        let ailing = state(&bea, &agent).await;
        assert_eq!((&ailing["state"], &ailing["failures"]), (&json!("failing"), &json!(1)));
        assert_eq!(ailing["waitingEvents"], 1);

        // Failing once more is no news.
        platform.clock.advance(Duration::from_secs(7));
        within(SOON, || (moody.messages() == 2).then_some(())).await;
        moody.answers(200);
        platform.clock.advance(Duration::from_secs(40));
        assert_eq!(events.reply().await, "echo: hello");
        events.until("delivery_recovered").await;
        events.presence("online").await;
        assert_eq!(state(&bea, &agent).await["state"], "ok");
        let told = |kind: &str| events.heard.iter().filter(|heard| heard.kind == kind).count();
        assert_eq!((told("delivery_failed"), told("delivery_recovered")), (1, 1));
        events.without_gap();
        // Whoever comes back is told how it is.
        let last = events.last_id();
        let mut back = cleo.listens(&session, Some(last)).await;
        back.presence("online").await;
    }

    async fn a_breaker_holds_everything_and_lets_one_through_to_see(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let moody = Moody::new(&platform).await;
        let (agent, _) = bea.publish_webhook("Moody", &moody.hook.address, "standard").await;
        let mut sessions = Vec::new();
        for _ in 0..20 {
            sessions.push(cleo.starts(&agent).await);
        }
        platform.clock.advance(Duration::from_mins(2));
        moody.answers(500);
        for (session, _) in &sessions {
            cleo.says(session, "first").await;
        }
        let open = until_state(&bea, &agent, "open").await;
        assert!(open["heldUntil"].is_string(), "{open}");
        for (_, events) in &mut sessions {
            events.presence("offline").await;
        }
        within(SOON, || platform.host.lanes.is_empty().then_some(())).await;
        let sent = moody.messages();
        // A second message to each, and the time of the first retry: nothing is sent.
        for (session, _) in &sessions {
            cleo.says(session, "second").await;
        }
        platform.clock.advance(Duration::from_secs(10));
        work::tidy(&platform.host).await.expect("it tidies up");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(moody.messages(), sent, "an open breaker sends nothing");
        // Who comes now sees it at once.
        let (session, _) = &sessions[0];
        let mut late = cleo.listens(session, None).await;
        late.presence("offline").await;

        // Its time is over: exactly one goes to see, and finds it as it was.
        platform.clock.advance(Duration::from_secs(25));
        within(SOON, || (moody.messages() > sent).then_some(())).await;
        let again = until_state(&bea, &agent, "open").await;
        assert_ne!(again["heldUntil"], open["heldUntil"]);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(moody.messages(), sent + 1, "one alone");

        // The next one finds it well, and everything follows at once, in order.
        moody.answers(200);
        platform.clock.advance(Duration::from_secs(65));
        for (_, events) in &mut sessions {
            assert_eq!(events.reply().await, "echo: first");
            assert_eq!(events.reply().await, "echo: second");
            events.without_gap();
        }
        let well = until_state(&bea, &agent, "ok").await;
        assert_eq!(well["failingSince"], Value::Null);
        within(SOON, || platform.host.lanes.is_empty().then_some(())).await;
        assert_eq!(state(&bea, &agent).await["waitingEvents"], 0);
        // What was held spent no tries of its schedule.
        let path = format!("/builder/agents/{agent}/deliveries?limit=200");
        let tries = bea.get(&path).await.ok();
        let seconds = tries["data"].as_array().expect("a list").iter().filter(|one| {
            one["requestBody"].as_str().is_some_and(|body| body.contains("second"))
        });
        let seconds: Vec<_> = seconds.collect();
        assert_eq!(seconds.len(), 20);
        assert!(seconds.iter().all(|one| one["attempt"] == 1 && one["outcome"] == "delivered"));
    }

    async fn gone_disables_at_once_and_enabling_sends_what_was_held(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let moody = Moody::new(&platform).await;
        let (agent, _) = bea.publish_webhook("Moody", &moody.hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        moody.answers(410);
        cleo.says(&session, "one").await;
        let disabled = until_state(&bea, &agent, "disabled").await;
        assert_eq!(disabled["disabledReason"], "gone");
        // Its builder is told, once.
        let told = loop {
            let told = bea.get("/notifications").await.ok()["data"].clone();
            if told != json!([]) {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(told[0]["type"], "webhook_disabled");
        assert!(told[0]["text"].as_str().is_some_and(|text| text.contains("Moody") && text.contains("410")));
        events.presence("offline").await;
        // Messages are still taken, and wait.
        for content in ["two", "three"] {
            assert_eq!(cleo.says(&session, content).await["status"], "queued");
        }
        moody.answers(200);
        platform.clock.advance(Duration::from_hours(30));
        work::tidy(&platform.host).await.expect("it tidies up");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(moody.messages(), 1, "a disabled webhook is sent nothing");
        assert_eq!(state(&bea, &agent).await["waitingEvents"], 3);
        cleo.post("/sessions", json!({ "agentId": agent })).await.problem(409, "agent_offline");

        let path = format!("/builder/agents/{agent}/webhook/enable");
        cleo.post(&path, json!({})).await.problem(403, "not_a_builder");
        platform.builder("Rival").await.post(&path, json!({})).await.problem(404, "not_found");
        assert_eq!(bea.post(&path, json!({})).await.ok()["state"], "ok");
        events.presence("online").await;
        for content in ["one", "two", "three"] {
            assert_eq!(events.reply().await, format!("echo: {content}"));
        }
        events.without_gap();
        assert_eq!(bea.get("/notifications").await.ok()["data"].as_array().map(Vec::len), Some(1));
        // A second time changes nothing.
        assert_eq!(bea.post(&path, json!({})).await.ok()["state"], "ok");
        let (_session, _events) = cleo.starts(&agent).await;
    }

    async fn failing_for_long_disables_but_not_a_few_failures(engine: Engine) {
        let platform = Platform::configured(engine, |config| config.webhook_patience_seconds = 3_600).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let moody = Moody::new(&platform).await;
        let (agent, _) = bea.publish_webhook("Moody", &moody.hook.address, "none").await;
        let (session, mut events) = cleo.starts(&agent).await;
        let fail = async |events: &mut Events| {
            cleo.says(&session, "hello").await;
            events.until("message_failed").await;
            // So that the breaker sees no ten in a minute.
            platform.clock.advance(Duration::from_secs(61));
        };
        moody.answers(500);
        for _ in 0..5 {
            fail(&mut events).await;
        }
        platform.clock.advance(Duration::from_hours(2));
        fail(&mut events).await;
        assert_eq!(state(&bea, &agent).await["state"], "failing", "six are few");
        // A success begins the count anew.
        moody.answers(200);
        cleo.says(&session, "well").await;
        assert_eq!(events.reply().await, "echo: well");
        moody.answers(500);
        for _ in 0..19 {
            fail(&mut events).await;
        }
        platform.clock.advance(Duration::from_hours(1));
        assert_eq!(state(&bea, &agent).await["failures"], 19);
        fail(&mut events).await;
        let disabled = until_state(&bea, &agent, "disabled").await;
        assert_eq!((&disabled["disabledReason"], &disabled["failures"]), (&json!("failing"), &json!(20)));
    }

    async fn another_address_begins_anew(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (moody, well) = (Moody::new(&platform).await, Moody::new(&platform).await);
        let (agent, _) = bea.publish_webhook("Moody", &moody.hook.address, "standard").await;
        let mut sessions = Vec::new();
        for _ in 0..10 {
            sessions.push(cleo.starts(&agent).await);
        }
        platform.clock.advance(Duration::from_mins(2));
        moody.answers(500);
        for (session, _) in &sessions {
            cleo.says(session, "hello").await;
        }
        until_state(&bea, &agent, "open").await;
        let moved = json!({ "webhookUrl": well.hook.address });
        bea.patch(&format!("/builder/agents/{agent}"), moved).await.ok();
        for (_, events) in &mut sessions {
            assert_eq!(events.reply().await, "echo: hello");
        }
        until_state(&bea, &agent, "ok").await;
    }

    async fn retry_after_is_kept_within_bounds(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |request| {
            match request.body["message"]["content"].as_str() {
                Some(said) => Reply::With(429, "retry-after", said.into()),
                None => Reply::Status(200),
            }
        })
        .await;
        let (agent, _) = bea.publish_webhook("Busy", &hook.address, "standard").await;
        // Asked for, and what came of it in seconds.
        for (asked, least, most) in [("600", 600, 601), ("1", 4, 7), ("999999", 3_600, 3_601), ("soon", 4, 7)] {
            let (session, mut events) = cleo.starts(&agent).await;
            let now = platform.clock.now();
            cleo.says(&session, asked).await;
            let failed = events.until("delivery_failed").await;
            let at: aiybiz_host::timestamp::Timestamp =
                failed["nextAttemptAt"].as_str().expect("a time").parse().expect("a time");
            // The exchange itself takes a moment.
            let waits = at.since(now).as_secs();
            assert!((least..=most + 5).contains(&waits), "{asked}: {waits}");
        }
    }
}
