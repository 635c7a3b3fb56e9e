//! npm's `eventsource` and the EventSource of a real Chromium follow two
//! conversations while their connections are cut at random bytes, a thousand times:
//! they see every entry of the log once, in order, and no reply that grows in another
//! way than it ends.
//!
//! One agent answers in one piece, the other in many. The host, the agents and the
//! clients are real; between host and client is a proxy that cuts
//! (`cutter.mjs` says how), and that hands Chromium's requests a token. Chromium speaks
//! TLS with it, as with any host that is not on its own machine.

use super::{chromium, node, start};
use crate::harness::{
    Engine, Events, Person, Place, Value, guests, json,
    process::Process,
    run,
    webhook::{Reply, WebhookAgent},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    sync::watch,
};

/// Far more than it takes on two busy cores.
const PATIENCE: Duration = Duration::from_mins(4);

/// Everything that may come on a session's stream.
const TYPES: [&str; 14] = [
    "session_started",
    "session",
    "message",
    "message_failed",
    "session_ended",
    "direct_message",
    "shared_item",
    "delivery_failed",
    "delivery_recovered",
    "presence",
    "message_delta",
    "message_snapshot",
    "typing",
    "stream_reset",
];

#[test]
fn the_npm_client_misses_nothing_and_sees_nothing_twice() {
    run(async {
        cut("eventsource", 1_000).await;
    });
}

#[test]
fn chromium_misses_nothing_and_sees_nothing_twice() {
    run(async {
        let told = cut("chromium", 1_000).await;
        println!("Chromium {}", told.rest["browser"]);
    });
}

/// What a page can do that has no cookie: an EventSource of its own for each ticket.
/// One that comes back with a ticket it has used is sent away for good.
#[test]
fn chromium_goes_on_with_new_tickets() {
    run(async {
        let told = cut("tickets", 200).await;
        // None, when the first was cut before it was one.
        assert!(told.rest["alone"]["streams"].as_u64() <= Some(1), "{}", told.rest["alone"]);
    });
}

/// What the script tells in the end.
#[derive(Deserialize)]
struct Told {
    /// What each session's client has seen.
    seen: Vec<Vec<Seen>>,
    /// How the connections were cut.
    tally: Value,
    #[serde(flatten)]
    rest: Value,
}

/// An event's type, `lastEventId` and data; or that a connection began, as `open`, a
/// name that no event has.
#[derive(Deserialize)]
struct Seen(String, String, String);

async fn cut(client: &str, cuts: u64) -> Told {
    let place = Place::new(Engine::Sqlite).await;
    // The agent says as much as it can.
    let unpaced = vec![("AIYBIZ_AGENT_CALLS_PER_MINUTE", u32::MAX.to_string())];
    let process = Process::serve_in(&place, unpaced);
    let url = process.url.as_str();
    let (bea, cleo) = (Person::sign_up(url, "bea").await, Person::sign_up(url, "cleo").await);
    bea.becomes_builder("Bea").await;
    let echo = bea.publish("Echo", guests::ECHO).await;
    let hook =
        WebhookAgent::that(url, |request| match request.body["message"]["content"].as_str() {
            Some(said) => Reply::Stream(pieces(said)),
            None => Reply::Status(200),
        });
    let (writer, _) = bea.publish_webhook("Writer", &hook.await.address, "none").await;
    let (first, second) = (cleo.starts(&echo).await, cleo.starts(&writer).await);

    let sessions = [first.0.as_str(), second.0.as_str()];
    let mut follower = Follower::start(client, &cleo, &sessions, cuts);
    follower.says("following").await;
    let (enough, until) = watch::channel(false);
    let talks = [first, second]
        .map(|(session, events)| tokio::spawn(talk(cleo.clone(), session, events, until.clone())));
    follower.says("enough").await;
    enough.send(true).expect("they talk");
    let mut logs = Vec::new();
    for talk in talks {
        logs.push(talk.await.expect("no panic"));
    }
    let told = follower.rest().await;
    assert_eq!(told.seen.len(), logs.len());
    let mut grown = Vec::new();
    for ((session, log), seen) in logs.iter().zip(&told.seen) {
        same_as_the_log(&cleo, session, log, seen).await;
        grown.push(grows_as_it_ends(seen));
    }
    println!("pieces and snapshots: {grown:?}; cuts: {}", told.tally);
    let (deltas, snapshots) = grown[1];
    // A new ticket takes its time: on a busy machine that client is soon far behind.
    assert!(client == "tickets" || deltas > 0 && snapshots > 0, "nobody saw a reply growing");
    for (place, count) in told.tally.as_object().expect("an object") {
        assert!(count.as_u64() > Some(0), "nothing was cut at {place}");
    }
    assert!(told.tally["cuts"].as_u64() >= Some(cuts));
    told
}

/// Says one thing after the other until it is enough, and ends the session. What it
/// heard of it on a stream that nobody cuts is the log.
async fn talk(
    cleo: Person,
    session: String,
    mut events: Events,
    enough: watch::Receiver<bool>,
) -> (String, Events) {
    for n in 0.. {
        if *enough.borrow() {
            break;
        }
        cleo.says(&session, &format!("{n} {}", "Grüße, 日本 und 🦉! ".repeat(n % 4))).await;
        events.reply().await;
        // As fast as it can, it would leave those who are cut behind: they would see
        // everything when it is long over.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    cleo.ends(&session).await;
    events.rest().await;
    (session, events)
}

/// A reply to this, as it is written.
fn pieces(said: &str) -> Vec<String> {
    (0..20).map(|n| format!("{n}. zu „{said}“ 🦉; ")).collect()
}

/// The script, at work.
struct Follower {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Follower {
    fn start(client: &str, cleo: &Person, sessions: &[&str], cuts: u64) -> Self {
        let seed = match std::env::var("AIYBIZ_TEST_SEED") {
            Ok(seed) => seed.parse().expect("a number"),
            Err(_) => rand::random::<u32>(),
        };
        println!("AIYBIZ_TEST_SEED={seed} has the same cuts planned");
        let job = json!({
            "client": client, "host": cleo.url, "token": cleo.token, "sessions": sessions,
            "types": TYPES, "cuts": cuts, "seed": seed,
            "chromium": (client != "eventsource").then(chromium),
        });
        let mut child = start(node(), "follow.mjs", &[job.to_string()]);
        let output = child.stdout.take().expect("a pipe");
        Self { lines: BufReader::new(output).lines(), _child: child }
    }

    async fn says(&mut self, what: &str) {
        assert_eq!(self.line().await, what);
    }

    async fn rest(&mut self) -> Told {
        serde_json::from_str(&self.line().await).expect("what it has seen")
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("the script says nothing for {PATIENCE:?}"));
        line.expect("text").expect("the script failed: it told why above")
    }
}

impl Seen {
    fn event(&self) -> Option<(&str, &str, Value)> {
        let Self(kind, last_id, data) = self;
        let event = || (kind.as_str(), last_id.as_str(), serde_json::from_str(data).expect("JSON"));
        (kind != "open").then(event)
    }
}

/// Every entry once and in order, with the number under which it is in the log.
async fn same_as_the_log(cleo: &Person, session: &str, log: &Events, seen: &[Seen]) {
    let mut entries: Vec<Value> = Vec::new();
    for (kind, last_id, data) in seen.iter().filter_map(Seen::event) {
        assert_eq!(data["type"], kind);
        assert_ne!(kind, "stream_reset", "{data}");
        if data["seq"].is_number() {
            assert_eq!(data["seq"].to_string(), last_id);
            entries.push(lasting(data));
        } else {
            // What is in no log leaves the place in it as it was.
            let place = entries.last().map_or("0".to_owned(), |entry| entry["seq"].to_string());
            assert_eq!(last_id, place, "{data}");
        }
    }
    let of_log = log.heard.iter().filter(|heard| heard.id.is_some());
    let of_log: Vec<_> = of_log.map(|heard| lasting(heard.data.clone())).collect();
    assert_eq!(entries, of_log);
    let last = cleo.get(&format!("/sessions/{session}")).await.ok()["lastSeq"].as_i64();
    let numbers: Vec<_> = entries.iter().filter_map(|entry| entry["seq"].as_i64()).collect();
    assert_eq!(numbers, (1..=last.expect("a number")).collect::<Vec<_>>());
    let messages = entries.into_iter().filter(|entry| entry["type"] == "message");
    assert_eq!(messages.collect::<Vec<_>>(), listed(cleo, session).await);
}

/// An entry without what changes while it is in the log.
fn lasting(mut entry: Value) -> Value {
    entry.as_object_mut().expect("an object").remove("status");
    entry
}

/// The messages as a client without a stream sees them, oldest first.
async fn listed(cleo: &Person, session: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/sessions/{session}/messages?limit=200{cursor}");
        let mut page = cleo.get(&path).await.ok();
        let data = page["data"].as_array_mut().expect("a list");
        all.extend(data.drain(..).map(lasting));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.reverse();
    all
}

/// A reply that is seen growing goes on where it was, through every cut, and ends as
/// what the log has of it. Returns how many pieces and how many snapshots there were.
fn grows_as_it_ends(seen: &[Seen]) -> (usize, usize) {
    let (mut deltas, mut snapshots) = (0, 0);
    let mut grown: BTreeMap<String, String> = BTreeMap::new();
    // Replies of which this connection has told how they begin.
    let mut known = BTreeSet::new();
    let mut done = BTreeSet::new();
    for one in seen {
        let Some((kind, _, data)) = one.event() else {
            known.clear();
            continue;
        };
        match kind {
            "message" => {
                let (id, content) = (text(&data, "id"), text(&data, "content"));
                let before = grown.remove(id).unwrap_or_default();
                let whole = known.contains(id);
                assert!(
                    if whole { before == content } else { content.starts_with(&before) },
                    "{data} after {before:?}"
                );
                done.insert(id.to_owned());
            }
            "message_delta" | "message_snapshot" => {
                let (id, piece) = (text(&data, "messageId"), text(&data, "text"));
                assert!(!done.contains(id), "{data} after its end");
                let before = grown.entry(id.to_owned()).or_default();
                if kind == "message_snapshot" {
                    assert!(known.insert(id.to_owned()), "{data} in the middle");
                    assert!(piece.starts_with(before.as_str()), "{data} after {before:?}");
                    before.clear();
                    snapshots += 1;
                } else {
                    assert_eq!(
                        data["offset"],
                        before.encode_utf16().count(),
                        "{data} after {before:?}"
                    );
                    known.insert(id.to_owned());
                    deltas += 1;
                }
                before.push_str(piece);
            }
            _ => {}
        }
    }
    assert!(grown.is_empty(), "replies that did not end: {grown:?}");
    (deltas, snapshots)
}

fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data[field].as_str().unwrap_or_else(|| panic!("no {field} in {data}"))
}
