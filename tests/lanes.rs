//! Many sessions at once: order within each, none left behind.

use crate::{
    both_engines,
    harness::{Engine, Platform, guests},
};
use std::{sync::Arc, time::Duration};

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
