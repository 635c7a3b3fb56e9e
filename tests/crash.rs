//! kill -9 at random moments under load, and a database that goes away: every message
//! that is in the log is answered exactly once, in order, and the log has no gap.
//!
//! The real program, killed and started again on the same port; clients and the
//! webhook agent go on as clients and agents do. A client whose request broke off
//! cannot know whether it was taken, so it says the next thing; what it was told was
//! taken must be there.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, guests, json, people::Id, process::Process, relay::Relay,
        webhook::WebhookAgent,
    },
};
use sqlx::{Connection, Executor, SqliteConnection};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// In each of the four runs: two engines, two ways to deliver. `AIYBIZ_TEST_KILLS` says
/// otherwise.
const KILLS: usize = 50;
const SESSIONS: usize = 8;

/// How often the database goes away, and for how long: longer than anybody waits for it.
const CUTS: usize = 3;
const AWAY: Duration = Duration::from_secs(12);

both_engines! {
    async fn a_component_answers_once_however_often_the_host_dies(engine: Engine) {
        storm(engine, Kind::Component).await;
    }

    async fn a_webhook_answers_once_however_often_the_host_dies(engine: Engine) {
        storm(engine, Kind::Webhook).await;
    }

    /// Clients are told so, and what they were told was taken is there when it is back.
    async fn a_component_answers_once_however_often_the_database_goes(engine: Engine) {
        drought(engine, Kind::Component).await;
    }

    async fn a_webhook_answers_once_however_often_the_database_goes(engine: Engine) {
        drought(engine, Kind::Webhook).await;
    }
}

enum Kind {
    Component,
    Webhook,
}

async fn storm(engine: Engine, kind: Kind) {
    let place = Place::new(engine).await;
    let mut process = Process::serve(&place);
    let url = process.url.clone();
    let load = Load::on(&url, kind).await;
    let kills =
        std::env::var("AIYBIZ_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    for kill in 0..kills {
        // Spread over the first quarter of a second of its life, start included.
        tokio::time::sleep(Duration::from_millis((kill as u64 * 37) % 250)).await;
        process.kill();
        process = Process::serve_at(&place, &url);
    }
    let taken = load.settle().await;
    assert!(taken > kills, "only {taken} messages were taken: this was no load");
}

async fn drought(engine: Engine, kind: Kind) {
    let mut place = Place::new(engine).await;
    let mut wire = match engine {
        Engine::Sqlite => Wire::Lock(place.database_url.clone()),
        Engine::Postgres => Wire::Relay(relay(&mut place)),
    };
    let process = Process::serve(&place);
    let load = Load::on(&process.url, kind).await;
    let refused = load.refused.clone();
    for _ in 0..CUTS {
        tokio::time::sleep(Duration::from_secs(2)).await;
        wire.cut_for(AWAY).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let taken = load.settle().await;
    assert!(taken > 100, "only {taken} messages were taken: this was no load");
    // Of SQLite's writers one waits at the lock and the others behind it: it may be one of
    // the platform's own that gives up.
    let missed = refused.load(Ordering::Relaxed) > 0;
    assert!(missed || engine == Engine::Sqlite, "it was not missed");
}

/// What parts a platform from its database.
enum Wire {
    /// Somebody else has SQLite's lock.
    Lock(String),
    /// PostgreSQL's server is gone.
    Relay(Relay),
}

impl Wire {
    async fn cut_for(&mut self, span: Duration) {
        match self {
            Self::Relay(relay) => {
                relay.cut().await;
                tokio::time::sleep(span).await;
                relay.mend();
            }
            Self::Lock(url) => {
                let mut other = SqliteConnection::connect(url).await.expect("the database");
                // It may take some tries to get in between busy writers.
                other.execute("PRAGMA busy_timeout = 60000").await.expect("a pragma");
                other.execute("BEGIN IMMEDIATE").await.expect("the lock");
                tokio::time::sleep(span).await;
                other.execute("ROLLBACK").await.expect("it is given back");
                other.close().await.expect("it closes");
            }
        }
    }
}

/// Puts a relay between a place and its database.
fn relay(place: &mut Place) -> Relay {
    let mut url = reqwest::Url::parse(&place.database_url).expect("an URL");
    let port = url.port().expect("a port");
    let relay = Relay::to(([127, 0, 0, 1], port).into());
    url.set_port(Some(relay.address.port())).expect("it has a host");
    place.database_url = url.to_string();
    relay
}

/// Clients that talk with an agent that echoes what they say.
struct Load {
    client: Person,
    stop: Arc<AtomicBool>,
    /// Messages that the platform could not take.
    refused: Arc<AtomicUsize>,
    talkers: Vec<JoinHandle<(String, BTreeSet<String>)>>,
}

impl Load {
    async fn on(url: &str, kind: Kind) -> Self {
        let builder = Person::sign_up(url, "bea").await;
        builder.becomes_builder("Bea").await;
        let agent = match kind {
            Kind::Component => builder.publish("Echo", guests::ECHO).await,
            Kind::Webhook => {
                let hook = WebhookAgent::echo(url).await;
                builder.publish_webhook("Hook", &hook.address, "standard").await.0
            }
        };
        let client = Person::sign_up(url, "cleo").await;
        let (stop, refused) = (Arc::default(), Arc::default());
        let mut talkers = Vec::new();
        for _ in 0..SESSIONS {
            let (session, _) = client.starts(&agent).await;
            let talk = talk(client.clone(), session, Arc::clone(&stop), Arc::clone(&refused));
            talkers.push(tokio::spawn(talk));
        }
        Self { client, stop, refused, talkers }
    }

    /// Ends it and looks at what is left; says how many messages were taken.
    async fn settle(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut taken = 0;
        for talker in self.talkers {
            let (session, accepted) = talker.await.expect("no panic");
            taken += accepted.len();
            check(&self.client, &session, &accepted).await;
        }
        taken
    }
}

/// Says one thing after the other; returns what was certainly taken.
async fn talk(
    client: Person,
    session: String,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
) -> (String, BTreeSet<String>) {
    let (path, mut taken) = (format!("/sessions/{session}/messages"), BTreeSet::new());
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("message {n}");
        let said =
            client.request(reqwest::Method::POST, &path).json(&json!({ "content": content }));
        let said = said.timeout(Duration::from_secs(30)).send().await;
        match said.map(|answer| answer.status().as_u16()) {
            Ok(201) => {
                taken.insert(content);
            }
            Ok(503) => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            // Too many wait for the agent; or nobody knows.
            Ok(429) | Err(_) => {}
            Ok(other) => panic!("{content} was answered with {other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (session, taken)
}

async fn check(client: &Person, session: &str, taken: &BTreeSet<String>) {
    let asked = all_answered(client, session).await;
    for content in taken {
        assert!(asked.contains(content), "{content} was taken and is not in the log");
    }
    client.ends(session).await;
    let mut events = client.listens(session, Some(0)).await;
    events.rest().await;
    events.without_gap();
    assert_eq!(events.heard[0].id, Some(1), "the log begins with number 1");
    let messages = events.heard.iter().filter(|heard| heard.kind == "message");
    let (mut said, mut answered) = (Vec::new(), Vec::new());
    for message in messages {
        let content = message.data["content"].as_str().expect("a text").to_owned();
        let list = if message.data["role"] == "user" { &mut said } else { &mut answered };
        list.push(content);
    }
    // Same number, same order: none twice, none missing.
    let expected: Vec<_> = said.iter().map(|content| format!("echo: {content}")).collect();
    assert_eq!(answered, expected);
    let failed = events.heard.iter().find(|heard| heard.kind == "message_failed");
    assert!(failed.is_none(), "{failed:?}");
}

/// Waits until the agent has answered all there is; returns what clients said.
async fn all_answered(client: &Person, session: &str) -> BTreeSet<String> {
    let mut waiting = Vec::new();
    for _ in 0..3_000 {
        let mut events = client.get(&format!("/sessions/{session}")).await.ok();
        let last = events["lastSeq"].take().as_i64().expect("a number");
        let (mut said, mut queued, mut cursor) = (BTreeSet::new(), 0, String::new());
        loop {
            let path = format!("/sessions/{session}/messages?limit=200{cursor}");
            let page = client.get(&path).await.ok();
            for message in page["data"].as_array().expect("a list") {
                if message["role"] == "user" {
                    queued += usize::from(message["status"] == "queued");
                    said.insert(message["content"].as_str().expect("a text").to_owned());
                }
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if queued == 0 && last > 0 {
            return said;
        }
        waiting.push(queued);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (first, last) = (waiting[0], waiting[waiting.len() - 1]);
    panic!("session {session} has messages that nobody answers: {first}, then {last}");
}

both_engines! {
    /// The walk of the README: killed in mid-conversation, resumed where it was.
    async fn a_stream_resumes_after_a_crash_where_it_was(engine: Engine) {
        let place = Place::new(engine).await;
        let process = Process::serve(&place);
        let url = process.url.clone();
        let builder = Person::sign_up(&url, "bea").await;
        builder.becomes_builder("Bea").await;
        let agent = builder.publish("Echo", guests::ECHO).await;
        let client = Person::sign_up(&url, "cleo").await;
        let (session, mut events) = client.starts(&agent).await;
        client.says(&session, "before").await;
        assert_eq!(events.reply().await, "echo: before");
        let accepted = client.says(&session, "in the middle").await.id();
        process.kill();
        events.rest().await;

        let _process = Process::serve_at(&place, &url);
        let mut resumed = client.listens(&session, Some(events.last_id())).await;
        client.says(&session, "after").await;
        while !resumed.heard.iter().any(|heard| heard.data["content"] == "echo: after") {
            resumed.next().await.expect("more");
        }
        let all: Vec<_> = events.heard.iter().chain(&resumed.heard).collect();
        let ids: Vec<_> = all.iter().filter_map(|heard| heard.id).collect();
        assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
        assert!(all.iter().any(|heard| heard.data["id"] == accepted));
        let said = |content: &str| all.iter().filter(|heard| heard.data["content"] == content).count();
        for content in ["before", "in the middle", "after"] {
            assert_eq!(said(&format!("echo: {content}")), 1, "{content}");
        }
    }
}
