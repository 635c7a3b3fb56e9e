//! Many sessions at once: order within each, none left behind.

use crate::{
    both_engines,
    harness::{
        Engine, Platform, guests, json,
        people::Id,
        webhook::{Reply, WebhookAgent},
    },
};
use futures::{StreamExt, stream};
use sqlx::{Connection, Executor};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use uuid::Uuid;

const SESSIONS: usize = 100;
const MESSAGES: usize = 20;

both_engines! {
    async fn a_hundred_sessions_are_served_in_order_and_none_starves(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let agent = Arc::new(builder.publish("Echo", guests::ECHO).await);
        let mut talks = Vec::new();
        for _ in 0..SESSIONS {
            let (client, agent) = (client.clone(), Arc::clone(&agent));
            talks.push(tokio::spawn(async move {
                let (session, mut events) = client.starts(&agent).await;
                for n in 0..MESSAGES {
                    client.says(&session, &format!("{n}")).await;
                }
                // When each reply was stored, by the platform's own clock.
                let mut times = Vec::new();
                for n in 0..MESSAGES {
                    loop {
                        let message = events.until("message").await;
                        if message["role"] == "agent" {
                            assert_eq!(message["content"], format!("echo: {n}"));
                            times.push(message["createdAt"].as_str().expect("a time").to_owned());
                            break;
                        }
                    }
                }
                events.without_gap();
                times
            }));
        }
        let mut all = Vec::new();
        for talk in talks {
            all.push(talk.await.expect("no panic"));
        }
        // Nobody waits for a first answer until somebody else is done with his last.
        let first_done = all.iter().filter_map(|times| times.last()).min().expect("some");
        let last_begun = all.iter().filter_map(|times| times.first()).max().expect("some");
        assert!(last_begun < first_done, "{last_begun} is not before {first_done}");
    }

    /// A tenth of the messages fail once, some by never being answered.
    async fn a_thousand_sessions_keep_their_order_through_failures(engine: Engine) {
        let platform = Platform::start(engine).await;
        let failed = Mutex::new(HashSet::new());
        let hook = WebhookAgent::that(&platform.url, move |request| {
            let id = request.header("webhook-id");
            let lot = Uuid::parse_str(id).expect("an id").as_bytes()[15];
            let first = request.body["event"] == "message" && failed.lock().expect("no panic").insert(id.to_owned());
            match lot {
                0 if first => Reply::Hang,
                1..25 if first => Reply::Status(500),
                _ => Reply::Status(200),
            }
        })
        .await;
        let (agent, _) = platform.builder("Bea").await.publish_webhook("Hook", &hook.address, "standard").await;
        let client = platform.person("Cleo").await;
        let talks = stream::iter(0..1_000).map(async |_| {
            let session = client.post("/sessions", json!({ "agentId": agent })).await.created().id();
            let path = format!("/sessions/{session}/messages");
            let mut said = 0;
            while said < 4 {
                // Not until the agent has taken the start.
                let answer = client.post(&path, json!({ "content": said.to_string() })).await;
                match answer.status {
                    201 => said += 1,
                    409 => tokio::time::sleep(Duration::from_millis(100)).await,
                    other => panic!("{other}: {:?}", answer.body),
                }
            }
            session
        });
        let sessions: Vec<_> = talks.buffer_unordered(50).collect().await;
        for session in &sessions {
            let path = format!("/sessions/{session}/messages");
            loop {
                let messages = client.get(&path).await.ok();
                let messages = messages["data"].as_array().expect("a list");
                if messages.iter().all(|message| message["status"] == "delivered") {
                    break assert_eq!(messages.len(), 4);
                }
                assert!(messages.iter().all(|message| message["status"] != "failed"), "{messages:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let mut heard: HashMap<String, Vec<String>> = HashMap::new();
        let mut twice = 0;
        for request in hook.seen() {
            let Some(content) = request.body["message"]["content"].as_str() else { continue };
            let session = request.body["sessionId"].as_str().expect("an id").to_owned();
            let heard = heard.entry(session).or_default();
            // Tried again, it comes right after itself.
            if heard.last().is_some_and(|last| last == content) {
                twice += 1;
            } else {
                heard.push(content.to_owned());
            }
        }
        assert_eq!(heard.len(), sessions.len());
        assert!(heard.values().all(|heard| *heard == ["0", "1", "2", "3"]), "{heard:?}");
        assert!((200..800).contains(&twice), "{twice} were tried twice");
    }

    async fn a_busy_agent_does_not_hold_up_another(engine: Engine) {
        let platform = Platform::start_with(engine, |limits| limits.cpu_millis = 500).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let spinner = guests::on_message("(loop $forever (br $forever))");
        let busy = builder.publish("Spinner", spinner).await;
        let quick = builder.publish("Echo", guests::ECHO).await;
        let mut spinning = Vec::new();
        for _ in 0..8 {
            let (session, events) = client.starts(&busy).await;
            client.says(&session, "spin").await;
            spinning.push(events);
        }
        let (session, mut events) = client.starts(&quick).await;
        for n in 0..10 {
            client.says(&session, &format!("{n}")).await;
            assert_eq!(events.reply().await, format!("echo: {n}"));
        }
        // All ten were answered while the others spun: they have not failed yet.
        for mut events in spinning {
            let failed = events.until("message_failed").await;
            assert_eq!(failed["code"], "cpu");
        }
        // And the platform's own time was not lost on them.
        tokio::time::timeout(Duration::from_secs(5), client.says(&session, "still there?"))
            .await
            .expect("an answer at once");
    }
}

/// Two processes on one PostgreSQL: either takes the client's message, runs the
/// agent (compiling what it has not seen yet), and tells the other's readers at once.
#[test]
fn two_processes_serve_one_session() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let one = Platform::start(Engine::Postgres).await;
        let two = one.beside().await;
        let builder = one.builder("Bea").await;
        let here = one.person("Cleo").await;
        let there = here.at(&two.url);
        let agent = builder.publish("Echo", guests::ECHO).await;
        let (session, mut events) = here.starts(&agent).await;
        let mut elsewhere = there.listens(&session, Some(0)).await;
        for n in 0..10 {
            let speaker = if n % 2 == 0 { &here } else { &there };
            speaker.says(&session, &format!("{n}")).await;
            for events in [&mut events, &mut elsewhere] {
                // Without the hint, the other process would look on its heartbeat only.
                let heard = tokio::time::timeout(Duration::from_secs(10), events.reply());
                assert_eq!(heard.await.expect("soon"), format!("echo: {n}"));
                events.without_gap();
            }
        }
    });
}

/// The connection on which one process hears of another's news is lost again and again:
/// what was said meanwhile is looked for as soon as it is back.
#[test]
fn news_arrive_although_the_connection_for_them_is_cut() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let one = Platform::start(Engine::Postgres).await;
        let two = one.beside().await;
        let here = one.person("Cleo").await;
        let agent = one.builder("Bea").await.publish("Echo", guests::ECHO).await;
        let (session, _) = here.starts(&agent).await;
        let mut elsewhere = here.at(&two.url).listens(&session, Some(0)).await;
        let mut admin =
            sqlx::PgConnection::connect(&one.place().database_url).await.expect("PostgreSQL");
        let mut cut = 0;
        for n in 0..20 {
            let ended = admin.fetch_all(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE 'LISTEN %'",
            );
            cut += ended.await.expect("it is allowed").len();
            here.says(&session, &format!("{n}")).await;
            let heard = tokio::time::timeout(Duration::from_secs(10), elsewhere.reply());
            assert_eq!(heard.await.expect("soon"), format!("echo: {n}"));
        }
        elsewhere.without_gap();
        assert!(cut >= 20, "only {cut} were cut");
    });
}
