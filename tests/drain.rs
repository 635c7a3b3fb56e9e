//! Stopping in good order: what is on its way arrives, streams say when to come back.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Value, guests, json,
        process::Process,
        receiver::{Receiver, request},
    },
};
use reqwest::Method;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, sync::Notify};

both_engines! {
    async fn what_is_on_its_way_arrives_and_streams_say_when_to_come_back(engine: Engine) {
        let place = Place::new(engine).await;
        let process = Process::serve(&place);
        let url = process.url.clone();
        // Takes a message and answers two seconds later.
        let asked = Arc::new(Notify::new());
        let seen = Arc::clone(&asked);
        let slow = Receiver::that("127.0.0.1:0", move |mut stream| {
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let request = request(&mut stream).await;
                    if request.is_empty() {
                        return;
                    }
                    if request.contains("\"message\"") {
                        seen.notify_one();
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        let bea = Person::sign_up(&url, "bea").await;
        bea.becomes_builder("Bea").await;
        let hook = format!("http://{}/hook", slow.address);
        let (agent, _) = bea.publish_webhook("Slow", &hook, "standard").await;
        let cleo = Person::sign_up(&url, "cleo").await;
        let (session, _events) = cleo.starts(&agent).await;
        let path = format!("/sessions/{session}/stream");
        let stream = cleo.request(reqwest::Method::GET, &path).send().await.expect("a stream");
        cleo.says(&session, "on its way").await;
        cleo.says(&session, "after it").await;
        asked.notified().await;
        let stopped = tokio::task::spawn_blocking(move || process.terminate());
        // The stream ends in good order, with a time at which to come back.
        let text = stream.text().await.expect("a whole body");
        let hint = text.rsplit("retry: ").next().and_then(|rest| rest.lines().next());
        let hint = hint.and_then(|hint| hint.parse::<u64>().ok()).expect("a hint");
        assert!(text.trim_end().ends_with(": restarting") && (1_000..=11_000).contains(&hint), "{text}");
        assert!(stopped.await.expect("no panic").success());

        // What was on its way has arrived and is not sent again; the rest goes on.
        let _process = Process::serve_at(&place, &url);
        let tries = loop {
            let tries = bea.get(&format!("/builder/agents/{agent}/deliveries")).await.ok();
            if tries["data"].as_array().map(Vec::len) == Some(3) {
                break tries;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let all = tries["data"].as_array().expect("a list");
        assert!(all.iter().all(|one| one["outcome"] == "delivered" && one["attempt"] == 1), "{tries}");
        assert!(all[0]["requestBody"].as_str().is_some_and(|body| body.contains("after it")));
    }

    async fn stopping_under_load_loses_nothing_that_was_accepted(engine: Engine) {
        under_load(engine, async |process, url| {
            let nobody = Person::nobody(&url);
            let begun = Instant::now();
            let stopped = tokio::task::spawn_blocking(move || process.terminate());
            // Load balancers see it before anybody is turned away.
            let mut seen = false;
            while let Ok(answer) = nobody.request(Method::GET, "/readyz").send().await {
                seen |= answer.status() == 503;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(seen, "it says that it is leaving");
            assert!(stopped.await.expect("no panic").success());
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        })
        .await;
    }

    async fn dying_under_load_loses_nothing_that_was_accepted(engine: Engine) {
        under_load(engine, async |process, _| process.kill()).await;
    }
}

/// Clients that write as fast as they can while the process goes, in whatever way.
async fn under_load(engine: Engine, go: impl AsyncFnOnce(Process, String)) {
    let place = Place::new(engine).await;
    let process = Process::serve_in(&place, vec![("AIYBIZ_LEAVING_SECONDS", "1".to_owned())]);
    let url = process.url.clone();
    let bea = Person::penniless(&url, "Bea").await;
    bea.becomes_builder("Bea").await;
    let agent = bea.publish("Echo", guests::ECHO).await;
    let mut writers = Vec::new();
    for _ in 0..6 {
        let cleo = Person::sign_up(&url, "Cleo").await;
        let (session, _) = cleo.starts(&agent).await;
        writers.push((cleo, session));
    }
    let writing = writers.iter().map(|(cleo, session)| {
        let request = cleo.request(Method::POST, &format!("/sessions/{session}/messages"));
        tokio::spawn(writes(request.json(&json!({ "content": "hello" }))))
    });
    let writing: Vec<_> = writing.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    go(process, url.clone()).await;
    let mut accepted = Vec::new();
    for writer in writing {
        accepted.push(writer.await.expect("no panic"));
    }
    assert!(accepted.iter().sum::<usize>() > 20, "{accepted:?}");

    let _process = Process::serve_at(&place, &url);
    for ((cleo, session), accepted) in writers.iter().zip(accepted) {
        // One who was cut off in the middle does not know of his last one.
        let (said, answered) = loop {
            let shown = cleo.get(&format!("/sessions/{session}")).await.ok();
            let last = shown["lastSeq"].as_u64().expect("a number");
            let log = everything(cleo, session, last).await;
            let of = |role: &str| log.iter().filter(|m| m["role"] == role).count();
            if of("user") == of("agent") {
                break (of("user"), of("agent"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!((accepted..=accepted + 1).contains(&said), "{said} of {accepted}");
        assert_eq!(answered, said, "one answer each");
    }
}

/// Says the same again and again until nobody answers; how often it was accepted. Nothing
/// but success is ever said.
async fn writes(request: reqwest::RequestBuilder) -> usize {
    let mut accepted = 0;
    loop {
        let again = request.try_clone().expect("a request that can be sent again");
        match again.send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
                accepted += 1;
            }
            Err(_) => return accepted,
        }
    }
}

async fn everything(person: &Person, session: &str, last: u64) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = format!("/sessions/{session}/messages?limit=200");
    while all.len() as u64 <= last {
        let page = person.get(&path).await.ok();
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/sessions/{session}/messages?limit=200&cursor={cursor}");
    }
    all
}
