//! kill -9 at random moments of uploads and of a component's writing: whatever was said to
//! be there is there, whole; nothing torn is visible; counts and store agree.

use super::{content, text};
use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Value, guests, json,
        people::Id,
        process::{Process, command},
    },
};
use reqwest::{Client, Method};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const KILLS: usize = 30;

/// Uploads one file after the other; returns what was certainly completed.
async fn uploads(client: Person, mark: char, stop: Arc<AtomicBool>) -> Vec<(String, String)> {
    let mut done = Vec::new();
    for n in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = mark.to_string().repeat(1 + (n * 7_919) % 300_000);
        // Whatever broke off is not known to be there, and must not be torn.
        if let Some(node) = one(&client, &format!("{mark} {n}"), &body).await {
            done.push((node, body));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    done
}

async fn one(client: &Person, name: &str, body: &str) -> Option<String> {
    let post = async |path: &str, body: Value| {
        let answer = client.request(Method::POST, path).json(&body).send().await.ok()?;
        answer.error_for_status().ok()?.json::<Value>().await.ok()
    };
    let link = post("/files/upload-url", json!({ "name": name })).await?;
    let http = Client::builder().no_proxy().build().ok()?;
    let sent = http.put(text(&link, "signedUrl")).body(body.to_owned()).send().await.ok()?;
    sent.error_for_status().ok()?;
    let path = format!("/files/{}/complete-upload", text(&link, "nodeId"));
    let said = json!({ "fileSize": body.len(), "mimeType": "text/plain" });
    post(&path, said).await.map(|node| node.id())
}

both_engines! {
    async fn nothing_is_torn_however_often_the_host_dies(engine: Engine) {
        let place = Place::new(engine).await;
        let mut process = Process::serve(&place);
        let url = process.url.clone();
        let bea = Person::sign_up(&url, "bea").await;
        bea.becomes_builder("Bea").await;
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let cleo = Person::sign_up(&url, "cleo").await;
        let (session, _) = cleo.starts(&agent).await;
        cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.created();
        let stop = Arc::new(AtomicBool::new(false));
        let uploaders: Vec<_> = ['a', 'b', 'c']
            .into_iter()
            .map(|mark| tokio::spawn(uploads(cleo.clone(), mark, Arc::clone(&stop))))
            .collect();
        for kill in 0..KILLS {
            // The component writes meanwhile.
            let path = format!("/sessions/{session}/messages");
            let ask = cleo.request(Method::POST, &path);
            let _ = ask.json(&json!({ "content": "Report!" })).send().await;
            tokio::time::sleep(Duration::from_millis(50 + (kill as u64 * 37) % 250)).await;
            process.kill();
            process = Process::serve_at(&place, &url);
        }
        stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for uploader in uploaders {
            for (node, body) in uploader.await.expect("no panic") {
                assert!(content(&cleo, &node).await == body, "{node}");
                count += 1;
            }
        }
        assert!(count > 0, "nothing was uploaded");
        // Every file that is listed is whole, also those of which nobody knew.
        let mut cursor = String::new();
        loop {
            let page = cleo.get(&format!("/files?q=&limit=200{cursor}")).await.ok();
            for node in page["data"].as_array().expect("a list") {
                if node["type"] == "file" {
                    let found = content(&cleo, &node.id()).await;
                    assert_eq!(json!(found.len()), node["fileSize"], "{node}");
                }
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let checked = command(&place).args(["files", "check"]).output().expect("the program");
        let told = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{told}");
        drop(process);
    }
}
