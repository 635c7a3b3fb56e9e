//! kill -9 before each thing that the platform says to its database or its bucket while a
//! file comes in: what is visible afterwards is whole, counts and bucket agree, and nothing
//! stays that nobody names.

use super::{content, get, names, text};
use crate::harness::{
    Engine, Events, Person, Place, Platform, Value,
    bucket::{Bucket, KEY_ID, SECRET},
    clerk::clerk,
    json, postgres,
    process::{Process, command},
    run,
    tripwire::Steps,
    tus::{self, Upload},
};
use aiybiz_host::config::Config;
use reqwest::Method;
use std::{process::Stdio, time::Duration};
use url::Url;

/// More than any way of bringing a file in takes; the last ones see it done.
const MOST: u64 = 200;

/// A platform whose every step is counted, and that keeps its files in a bucket.
struct Ground {
    steps: Steps,
    wired: Place,
    database_url: String,
    bucket: Bucket,
    environment: Vec<(&'static str, String)>,
}

impl Ground {
    async fn new() -> Self {
        let (steps, bucket) = (Steps::default(), Bucket::start().await);
        let mut wired = Place::new(Engine::Postgres).await;
        let database_url = wired.database_url.clone();
        let mut through = Url::parse(&database_url).expect("an URL");
        let port = through.port().expect("a port");
        let wire = steps.wire(([127, 0, 0, 1], port).into(), true).await;
        through.set_port(Some(wire.port())).expect("a port");
        wired.database_url = through.to_string();
        let server = bucket.url.split("http://").nth(1).and_then(|rest| rest.split('&').next());
        let server = server.expect("an address").parse().expect("an address");
        let wire = steps.wire(server, false).await;
        let environment = vec![
            ("AIYBIZ_STORAGE_URL", bucket.url.replace(&server.to_string(), &wire.to_string())),
            ("AIYBIZ_STORAGE_KEY_ID", KEY_ID.to_owned()),
            ("AIYBIZ_STORAGE_SECRET", SECRET.to_owned()),
            ("AIYBIZ_PROXY_FILES", "true".to_owned()),
        ];
        Self { steps, wired, database_url, bucket, environment }
    }

    fn serve(&self) -> Process {
        Process::serve_in(&self.wired, self.environment.clone())
    }

    /// Library, counts and bucket agree.
    fn agrees(&self) {
        let mut command = command(&self.wired);
        let command = command.envs(self.environment.clone()).args(["files", "check"]);
        let checked = command.stderr(Stdio::piped()).output().expect("the program");
        let told = [checked.stdout, checked.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(checked.status.success(), "{told}");
    }

    /// A day later nothing is left but what files name.
    async fn ends_swept(self, cleo: &Person, files: usize) {
        let mut config = Config::load(self.wired.flags()).expect("sensible settings");
        config.database_url = self.database_url;
        config.storage_url = self.bucket.url.clone();
        config.storage_keys = Some((KEY_ID.into(), SECRET.into()));
        let platform = Platform::open(self.wired, config).await;
        platform.clock.advance(Duration::from_hours(26));
        assert_eq!(platform.objects_of(&cleo.at(&platform.url)).await, files);
        assert_eq!(self.bucket.unfinished(), 0);
    }
}

/// As answered, or nothing when the platform is gone.
async fn post(who: &Person, path: &str, body: Value) -> Option<Value> {
    let answer = who.request(Method::POST, path).json(&body).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

async fn plain(who: &Person, name: &str, bytes: &str) -> Option<()> {
    let link = post(who, "/files/upload-url", json!({ "name": name })).await?;
    let sent = who.http.put(text(&link, "signedUrl")).body(bytes.to_owned()).send().await.ok()?;
    sent.error_for_status().ok()?;
    let said = json!({ "fileSize": bytes.len(), "mimeType": "text/plain" });
    post(who, &format!("/files/{}/complete-upload", text(&link, "nodeId")), said).await.map(drop)
}

#[test]
fn of_an_upload_that_dies_at_any_step_nothing_torn_is_seen() {
    if !postgres::available() {
        return;
    }
    run(async {
        let ground = Ground::new().await;
        let mut process = ground.serve();
        let mut cleo = Person::sign_up(&process.url, "cleo").await;
        let bytes = "0123456789".repeat(700_000);
        let mut killed = 0;
        for step in 1..MOST {
            let name = format!("{step}");
            ground.steps.until(step, process.id());
            let done = plain(&cleo, &name, &bytes).await;
            let dead = ground.steps.rest();
            killed += u64::from(dead);
            if dead {
                process.kill();
                ground.agrees();
                process = ground.serve();
                cleo = cleo.at(&process.url);
            }
            let found = cleo.get(&format!("/files?q={name}")).await.ok();
            let node =
                found["data"].as_array().and_then(|all| all.iter().find(|n| n["name"] == *name));
            assert!(node.is_some() || done.is_none(), "{step}: said to be there");
            if let Some(node) = node {
                assert!(content(&cleo, text(node, "id")).await == bytes, "{step}");
            }
            if !dead {
                break;
            }
        }
        println!("killed at {killed} steps");
        assert!(killed > 10 && killed < MOST - 2, "{killed}");
        let files = names(&cleo, "?limit=200").await.len();
        process.kill();
        ground.ends_swept(&cleo, files).await;
    });
}

#[test]
fn one_that_goes_on_goes_on_after_dying_at_any_step() {
    if !postgres::available() {
        return;
    }
    run(async {
        let ground = Ground::new().await;
        let mut process = ground.serve();
        let mut cleo = Person::sign_up(&process.url, "cleo").await;
        let bytes = "0123456789".repeat(1_200_000);
        let mut killed = 0;
        for step in 1..MOST {
            let mut upload = Upload::begin(&cleo, &format!("{step}"), bytes.len()).await;
            ground.steps.until(step, process.id());
            // Seven megabytes, and the rest: there are parts, and something after them.
            for (from, to) in [(0, 7_000_000), (7_000_000, bytes.len())] {
                let _ = upload.piece(from, bytes[from..to].to_owned()).send().await;
            }
            let dead = ground.steps.rest();
            killed += u64::from(dead);
            if dead {
                process.kill();
                ground.agrees();
                process = ground.serve();
                cleo = cleo.at(&process.url);
                upload.who = cleo.clone();
            }
            let offset = upload.offset().await;
            if offset < bytes.len() {
                assert_eq!(names(&cleo, &format!("?q={step}")).await.len(), 0, "{step}");
                let sent = upload.patch(offset, bytes[offset..].to_owned()).await.having(204);
                assert_eq!(tus::number(&sent, "upload-offset"), bytes.len(), "{step}");
            }
            assert!(content(&cleo, upload.id()).await == bytes, "{step}");
            cleo.delete(&format!("/files/{}", upload.id())).await.with(204);
            cleo.delete(&format!("/files/{}?permanent=true", upload.id())).await.with(204);
            if !dead {
                break;
            }
        }
        println!("killed at {killed} steps");
        assert!(killed > 20 && killed < MOST - 2, "{killed}");
        process.kill();
        ground.ends_swept(&cleo, 0).await;
    });
}

#[test]
fn what_a_component_writes_is_whole_whenever_its_host_dies() {
    if !postgres::available() {
        return;
    }
    run(async {
        let ground = Ground::new().await;
        let mut process = ground.serve();
        let (bea, mut cleo) = (
            Person::sign_up(&process.url, "bea").await,
            Person::sign_up(&process.url, "cleo").await,
        );
        bea.becomes_builder("Bea").await;
        let agent = bea.publish("Clerk", clerk()).await;
        let (session, _) = cleo.starts(&agent).await;
        cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.created();
        let mut killed = 0;
        let mut heard = Some(0);
        for step in 1..MOST {
            let name = format!("{step}.txt");
            cleo.says(&session, &format!("c{name}")).await;
            ground.steps.until(step, process.id());
            // It dies, or has answered.
            answered(&cleo, &session, heard).await;
            let dead = ground.steps.rest();
            killed += u64::from(dead);
            if dead {
                process.kill();
                ground.agrees();
                process = ground.serve();
                cleo = cleo.at(&process.url);
            }
            // Whoever died is followed by one that does it.
            let mut events = cleo.listens(&session, heard).await;
            while events.until("message").await["role"] != "agent" {}
            heard = Some(events.last_id());
            assert_eq!(written(&cleo, &name).await, "hello", "{step}");
            if !dead {
                break;
            }
        }
        println!("killed at {killed} steps");
        assert!(killed > 10 && killed < MOST - 2, "{killed}");
        let files = usize::try_from(killed).expect("few") + 1;
        process.kill();
        ground.ends_swept(&cleo, files).await;
    });
}

/// Waits until the agent has answered, or the platform is gone.
async fn answered(cleo: &Person, session: &str, heard: Option<i64>) {
    let answer = async {
        let path = format!("/sessions/{session}/stream");
        let request = cleo.request(Method::GET, &path);
        let request = request.header("last-event-id", heard.unwrap_or(0).to_string());
        let Ok(response) = request.send().await else { return };
        let mut events = Events::of(response);
        while let Some(heard) = events.next().await {
            if heard.kind == "message" && heard.data["role"] == "agent" {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), answer).await;
    // The last words after the answer, too.
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// What is in the one file of this name. An event that is handled once more, as nobody
/// knows that it was, puts another in its place in this moment.
async fn written(cleo: &Person, name: &str) -> String {
    for _ in 0..100 {
        let found = cleo.get(&format!("/files?q={name}")).await.ok();
        assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
        let path = format!("/files/{}/download-url", text(&found["data"][0], "id"));
        let link = cleo.get(&path).await;
        if link.status == 200 {
            let served = get(text(&link.body, "signedUrl")).await;
            if served.status() == 200 {
                return served.text().await.expect("a text");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} does not stay what it is");
}
