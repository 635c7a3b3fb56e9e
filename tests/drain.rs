//! Stopping in good order: what is on its way arrives, streams say when to come back.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place,
        process::Process,
        receiver::{Receiver, request},
    },
};
use std::{sync::Arc, time::Duration};
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
}
