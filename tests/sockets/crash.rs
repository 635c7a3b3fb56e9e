//! kill -9 in mid-conversation: an agent that connects again is sent everything, and
//! answers everything.
//!
//! A message may come twice, when the platform dies before it has written down that the
//! pong came; an agent of the published SDK, whose frames carry no key, answers it twice
//! then. None is left out, and none overtakes another.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Value, json,
        process::Process,
        socket::Echo,
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

const KILLS: usize = 20;
const SESSIONS: usize = 4;

both_engines! {
    async fn every_message_is_answered_however_often_the_host_dies(engine: Engine) {
        let place = Place::new(engine).await;
        let mut process = Process::serve(&place);
        let url = process.url.clone();
        let bea = Person::sign_up(&url, "bea").await;
        bea.becomes_builder("Bea").await;
        // Takes starts and ends; messages are not its business.
        let hook = WebhookAgent::that(&url, |request| {
            Reply::Status(if request.body["event"] == "message" { 503 } else { 200 })
        })
        .await;
        let (agent, _) = bea.publish_webhook("Bridge", &hook.address, "standard").await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut talkers = Vec::new();
        for _ in 0..SESSIONS {
            let (session, _events) = bea.starts(&agent).await;
            let token = token(&hook, &session);
            let echo = Echo::start(&url, &session, &token);
            talkers.push((
                tokio::spawn(talk(bea.clone(), session.clone(), Arc::clone(&stop))),
                session,
                echo,
            ));
        }
        for kill in 0..KILLS {
            // Spread over the first half of a second of its life.
            tokio::time::sleep(Duration::from_millis(100 + (kill as u64 * 67) % 400)).await;
            process.kill();
            process = Process::serve_at(&place, &url);
        }
        stop.store(true, Ordering::Relaxed);
        for (talker, session, echo) in talkers {
            let taken = talker.await.expect("no panic");
            assert!(taken.len() > KILLS / 4, "only {} messages were taken: no load", taken.len());
            check(&bea, &session, &taken, &echo).await;
        }
    }
}

/// The token that came with the session's start.
fn token(hook: &WebhookAgent, session: &str) -> String {
    let seen = hook.seen();
    let start = seen.iter().find(|request| request.body["sessionId"] == session);
    start.expect("it was told").body["agentAuthToken"].as_str().expect("a token").to_owned()
}

/// Says one thing after the other; returns what was certainly taken, in order.
async fn talk(client: Person, session: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let (path, mut taken) = (format!("/sessions/{session}/messages"), Vec::new());
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("message {n}");
        let said =
            client.request(reqwest::Method::POST, &path).json(&json!({ "content": content }));
        match said.timeout(Duration::from_secs(10)).send().await {
            Ok(answer) if answer.status().as_u16() == 201 => taken.push(content),
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    taken
}

async fn check(client: &Person, session: &str, taken: &[String], echo: &Echo) {
    let mut events = client.listens(session, Some(0)).await;
    let last = format!("echo: {}", taken[taken.len() - 1]);
    let said = |message: &Value, role: &str| {
        (message["role"] == role).then(|| message["content"].as_str().expect("a text").to_owned())
    };
    loop {
        let message = events.until("message").await;
        if said(&message, "agent").is_some_and(|answer| answer == last) {
            break;
        }
    }
    client.ends(session).await;
    events.rest().await;
    events.without_gap();
    let failed = events.heard.iter().find(|heard| heard.kind == "message_failed");
    assert!(failed.is_none(), "{failed:?}");
    let (mut asked, mut ids, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for heard in events.heard.iter().filter(|heard| heard.kind == "message") {
        if let Some(content) = said(&heard.data, "user") {
            asked.push(content);
            ids.push(heard.data["id"].as_str().expect("an id").to_owned());
        }
        answers.extend(said(&heard.data, "agent"));
    }
    for content in taken {
        assert!(asked.contains(content), "{content} was taken and is not in the log");
    }
    // Each the first time, in order; none left out.
    let expected: Vec<_> = asked.iter().map(|content| format!("echo: {content}")).collect();
    assert_eq!(firsts(&answers), expected);
    assert_eq!(firsts(&echo.told.lock().expect("no panic")), ids);
}

fn firsts(all: &[String]) -> Vec<String> {
    let mut firsts = Vec::new();
    for one in all {
        if !firsts.contains(one) {
            firsts.push(one.clone());
        }
    }
    firsts
}
