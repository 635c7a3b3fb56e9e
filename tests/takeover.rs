//! What becomes of a delivery when the process that is at it dies, sleeps, or loses its
//! database.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Value, guests, json,
        postgres::{self, fresh_database},
        process::Process,
        webhook::{Reply, Request, WebhookAgent},
    },
};
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// Longer than a lease: time for another process to take over.
const SOON: Duration = Duration::from_mins(1);

/// Two processes, each with a data folder of its own, on one database.
struct Pair {
    one: Process,
    two: Process,
    places: [Place; 2],
}

impl Pair {
    async fn start() -> Self {
        let database_url = fresh_database().await;
        let place = || Place {
            folder: tempfile::tempdir().expect("a folder"),
            database_url: database_url.clone(),
        };
        let places = [place(), place()];
        let storage = format!("file:{}", places[0].folder.path().join("objects").display());
        let settings =
            vec![("AIYBIZ_SECRET_KEY", "5e".repeat(32)), ("AIYBIZ_STORAGE_URL", storage)];
        let [one, two] = places.each_ref().map(|place| Process::serve_in(place, settings.clone()));
        Self { one, two, places }
    }
}

/// A builder and a client, who call this process.
async fn people(url: &str) -> (Person, Person) {
    let bea = Person::sign_up(url, "bea").await;
    bea.becomes_builder("Bea").await;
    (bea, Person::sign_up(url, "cleo").await)
}

/// An agent's server that does something to a process when it is told "now" for the first
/// time, and then says that it has taken it.
async fn meddler(platform: &str, process: Arc<AtomicU32>, signal: &'static str) -> WebhookAgent {
    let first = AtomicBool::new(true);
    WebhookAgent::that(platform, move |request| {
        if said(request) == "now" && first.swap(false, Ordering::Relaxed) {
            tell(process.load(Ordering::Relaxed), signal);
        }
        Reply::Status(200)
    })
    .await
}

fn tell(process: u32, signal: &str) {
    let told = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(told.expect("kill").success());
}

fn said(request: &Request) -> &str {
    let content = request.body["message"]["content"].as_str();
    content.or(request.body["event"].as_str()).expect("an event")
}

/// What the agent's server was told, once it was told so much.
async fn told(hook: &WebhookAgent, count: usize) -> Vec<Request> {
    let until = std::time::Instant::now() + SOON;
    while hook.seen().len() < count {
        assert!(std::time::Instant::now() < until, "{:?}", hook.seen());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hook.seen()
}

/// What the client said and what became of it, once that is known of all.
async fn settled(client: &Person, session: &str) -> Vec<(String, String)> {
    loop {
        let page = client.get(&format!("/sessions/{session}/messages?limit=200")).await.ok();
        let text = |message: &Value, name: &str| message[name].as_str().expect("a text").to_owned();
        let messages = page["data"].as_array().expect("a list").iter();
        let messages = messages.filter(|message| message["role"] == "user");
        let all: Vec<_> = messages.map(|one| (text(one, "content"), text(one, "status"))).collect();
        if all.iter().all(|(_, status)| status != "queued") {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

both_engines! {
    /// It cannot be known whether the agent's answer was good, so it is asked again, by
    /// the same name; nothing else is said to it in between.
    async fn killed_while_the_agent_answers_it_is_asked_once_more(engine: Engine) {
        let place = Place::new(engine).await;
        let process = Process::serve(&place);
        let url = process.url.clone();
        let victim = Arc::new(AtomicU32::new(process.id()));
        let hook = meddler(&url, victim, "-KILL").await;
        let (bea, cleo) = people(&url).await;
        let (agent, _) = bea.publish_webhook("Meddler", &hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "before").await;
        told(&hook, 2).await;
        // The answer to one of the two may be lost with the process.
        let path = format!("/sessions/{session}/messages");
        for content in ["now", "then"] {
            let said = cleo.request(reqwest::Method::POST, &path);
            let _ = said.json(&json!({ "content": content })).send().await;
        }
        events.rest().await;
        drop(process);
        let _process = Process::serve_at(&place, &url);
        let messages = settled(&cleo, &session).await;
        assert!(messages.iter().all(|(_, status)| status == "delivered"), "{messages:?}");
        let seen = told(&hook, 2 + messages.len()).await;
        let mut expected = vec!["session_started", "before", "now", "now"];
        expected.extend(messages.iter().map(|(content, _)| content.as_str()).filter(|said| *said == "then"));
        assert_eq!(seen.iter().map(said).collect::<Vec<_>>(), expected);
        assert_eq!(seen[2].header("webhook-id"), seen[3].header("webhook-id"));
        cleo.says(&session, "after").await;
        assert_eq!(told(&hook, expected.len() + 1).await.len(), expected.len() + 1);
    }
}

/// Its lease runs out, another process delivers what it was at and goes on; when it wakes,
/// the answer that it finds changes nothing any more.
#[test]
fn a_process_that_sleeps_beyond_its_lease_changes_nothing_when_it_wakes() {
    if !postgres::available() {
        return;
    }
    crate::harness::run(async {
        let pair = Pair::start().await;
        let sleeper = Arc::new(AtomicU32::new(pair.one.id()));
        let hook = meddler(&pair.one.url, sleeper, "-STOP").await;
        let (bea, cleo) = people(&pair.one.url).await;
        let (agent, _) = bea.publish_webhook("Meddler", &hook.address, "none").await;
        let (session, _events) = cleo.starts(&agent).await;
        told(&hook, 1).await;
        settled(&cleo, &session).await;
        let awake = cleo.at(&pair.two.url);
        let mut elsewhere = awake.listens(&session, Some(0)).await;
        cleo.says(&session, "now").await;
        told(&hook, 2).await;
        awake.says(&session, "then").await;
        let seen = told(&hook, 4).await;
        assert_eq!(
            seen.iter().map(said).collect::<Vec<_>>(),
            ["session_started", "now", "now", "then"]
        );
        assert_eq!(seen[1].header("webhook-id"), seen[2].header("webhook-id"));

        let before = deliveries(&bea.at(&pair.two.url), &agent, 3).await;
        tell(pair.one.id(), "-CONT");
        // It has found its answer by the time it has stored and sent something new.
        cleo.says(&session, "again").await;
        told(&hook, 5).await;
        assert_eq!(settled(&awake, &session).await.len(), 3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = deliveries(&bea.at(&pair.two.url), &agent, 4).await;
        assert_eq!(after[..3], before[..3], "what was on record stays as it was");
        assert_eq!(after.len(), 4, "{after:?}");
        assert!(after.iter().all(|attempt| attempt["outcome"] == "delivered"), "{after:?}");
        assert_eq!(hook.seen().len(), 5);
        awake.ends(&session).await;
        elsewhere.rest().await;
        elsewhere.without_gap();
        assert_eq!(told(&hook, 6).await.len(), 6, "and the lane is where it should be");
        drop(pair.places);
    });
}

/// What is on record of an agent's deliveries, oldest first.
async fn deliveries(builder: &Person, agent: &str, count: usize) -> Vec<Value> {
    loop {
        let page = builder.get(&format!("/builder/agents/{agent}/deliveries?limit=200")).await.ok();
        let mut found = page["data"].as_array().expect("a list").clone();
        if found.len() >= count {
            found.reverse();
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A reader at the other process sees the reply whole and once, whatever he saw of it
/// before.
#[test]
fn killed_in_the_middle_of_a_reply_it_is_given_by_another_process() {
    if !postgres::available() {
        return;
    }
    crate::harness::run(async {
        let pair = Pair::start().await;
        let (bea, cleo) = people(&pair.one.url).await;
        // In pieces, one each third of a second.
        let does = "(local $n i32)
            (call $begin_reply (i32.const 64))
            (loop $more
              (call $piece (i32.load (i32.const 68)) (local.get $text) (local.get $textn) (i32.const 96))
              (call $sleep (i64.const 300000000))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (i32.const 10))))
            (call $finish (i32.load (i32.const 68)) (i32.const 96))";
        let agent = bea.publish("Slow", guests::on_message(does)).await;
        let (session, mut here) = cleo.starts(&agent).await;
        let elsewhere = cleo.at(&pair.two.url);
        let mut there = elsewhere.listens(&session, Some(0)).await;
        cleo.says(&session, "ha").await;
        here.until("message_delta").await;
        here.until("message_delta").await;
        pair.one.kill();
        assert_eq!(there.reply().await, "ha".repeat(10));
        elsewhere.ends(&session).await;
        there.rest().await;
        there.without_gap();
        let replies = there.heard.iter().filter(|heard| heard.data["role"] == "agent");
        assert_eq!(replies.count(), 1, "{:?}", there.heard);
        assert_eq!(settled(&elsewhere, &session).await[0].1, "delivered");
        drop(pair.two);
    });
}
