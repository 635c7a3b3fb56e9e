//! Following receipts and logs live: at once, in order, from where one left off, and
//! for whoever may.

use crate::{
    both_engines,
    harness::{Engine, Events, Person, Platform, Value, guests, json, people::Id, stream::Heard},
};
use reqwest::Method;

/// Logs what it is told, as an error if it begins with `e`; gives up at `x`.
fn talker() -> Vec<u8> {
    let log = |level: &str| {
        format!(
            "(call $log {level} (local.get $text) (local.get $textn) (i32.const 0) (i32.const 0))"
        )
    };
    let is = |letter: u8| format!("(i32.eq (i32.load8_u (local.get $text)) (i32.const {letter}))");
    let does = [
        log("(i32.const 1)"),
        format!("(if {} (then {}))", is(b'e'), log("(i32.const 4)")),
        format!("(if {} (then unreachable))", is(b'x')),
    ];
    guests::on_message(&does.concat())
}

async fn follow(person: &Person, path: &str, after: Option<&str>) -> Events {
    let mut request = person.request(Method::GET, path);
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let events = Events::of(request.send().await.expect("an answer"));
    assert_eq!(events.status, 200);
    events
}

/// The next event, in short: its kind, and what was said or how it ended.
async fn short(events: &mut Events) -> (String, String) {
    let heard = events.next().await.expect("an event");
    let data = &heard.data;
    assert_eq!(data["type"], heard.kind);
    let text = if heard.kind == "log" { &data["message"] } else { &data["outcome"] };
    (heard.kind, text.as_str().expect("a text").to_owned())
}

async fn hears(events: &mut Events, expected: &[(&str, &str)]) {
    for (kind, text) in expected {
        let (heard, said) = short(events).await;
        assert_eq!((heard.as_str(), said.as_str()), (*kind, *text), "after {:?}", events.heard);
    }
}

const OK: (&str, &str) = ("invocation", "ok");

both_engines! {
    async fn what_is_committed_is_heard_by_whoever_may(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let opal = platform.operator("Opal").await;
        let agent = bea.publish("Talker", talker()).await;
        let echo = bea.publish("Echo", guests::ECHO).await;
        let (session, _events) = cleo.starts(&agent).await;
        let (other, _events) = cleo.starts(&echo).await;
        for (agent, session) in [(&agent, &session), (&echo, &other)] {
            bea.receipts(agent, session, 1).await;
        }

        let path = format!("/builder/agents/{agent}/logs/stream");
        let mut own = follow(&bea, &path, None).await;
        let mut errors = follow(&bea, &format!("{path}?level=error"), None).await;
        let mut none = follow(&bea, &format!("{path}?sessionId={other}"), None).await;
        let mut all = follow(&opal, "/admin/logs/stream?level=info", None).await;
        let mut one = follow(&opal, &format!("/admin/logs/stream?agentId={echo}"), None).await;
        for said in ["a", "e", "x"] {
            cleo.says(&session, said).await;
        }
        bea.receipts(&agent, &session, 4).await;
        cleo.says(&other, "hello").await;

        let trap = ("invocation", "trap");
        hears(&mut own, &[("log", "a"), OK, ("log", "e"), ("log", "e"), OK, ("log", "x"), trap]).await;
        hears(&mut errors, &[("log", "e"), trap]).await;
        hears(&mut all, &[OK, ("log", "e"), OK, trap, OK]).await;
        hears(&mut one, &[OK]).await;
        let outcome = own.heard.last().expect("the last").data.clone();
        let receipt = bea.receipts(&agent, &session, 4).await.remove(3);
        for field in ["id", "agentId", "eventId", "version", "explanation", "trap", "cpuMicros"] {
            assert_eq!(outcome[field], receipt[field], "{field}");
        }
        let log = &own.heard[0].data;
        assert_eq!((&log["level"], &log["sessionId"]), (&json!("debug"), &json!(session)));

        // Nothing was for this one; it ends with the platform like the others.
        platform.host.stopping.cancel();
        assert!(none.rest().await.is_empty());
        own.rest().await;
    }

    async fn one_goes_on_where_one_left_off(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Talker", talker()).await;
        let (session, _events) = cleo.starts(&agent).await;
        bea.receipts(&agent, &session, 1).await;
        let path = format!("/builder/agents/{agent}/logs/stream");
        let mut events = follow(&bea, &path, None).await;
        cleo.says(&session, "e0").await;
        hears(&mut events, &[("log", "e0"), ("log", "e0"), OK]).await;
        // Only the last one of a receipt is a place to go on from.
        let places: Vec<_> = events.heard.iter().map(|heard| heard.place.clone()).collect();
        let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
        assert_eq!(places, [None, None, Some(receipt.id())]);
        drop(events);
        // More than is read at once.
        let missed: Vec<_> = (1..=60).map(|n| format!("a{n}")).collect();
        for said in &missed {
            cleo.says(&session, said).await;
        }
        bea.receipts(&agent, &session, 62).await;
        let mut events = follow(&bea, &path, places[2].as_deref()).await;
        for said in &missed {
            hears(&mut events, &[("log", said), OK]).await;
        }
        cleo.says(&session, "live").await;
        hears(&mut events, &[("log", "live"), OK]).await;
        // One from the future is a place like any other: nothing is missed after it.
        let future = "ffffffff-ffff-7fff-8fff-ffffffffffff";
        let mut events = follow(&bea, &path, Some(future)).await;
        cleo.says(&session, "next").await;
        hears(&mut events, &[("log", "next"), OK]).await;
    }
}

#[test]
fn one_may_follow_so_many_at_once() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, bob) = (platform.builder("Bea").await, platform.builder("Bob").await);
        let path = |agent: &str| format!("/builder/agents/{agent}/logs/stream");
        let agent = path(&bea.component_agent("Hers").await);
        let others = path(&bob.component_agent("His").await);
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(follow(&bea, &agent, None).await);
        }
        let refused = bea.get(&agent).await;
        assert_eq!(refused.headers["retry-after"], "10");
        refused.problem(429, "too_many_tails");
        drop(follow(&bob, &others, None).await);
        // Who hangs up makes room, as soon as it is noticed.
        open.clear();
        while bea.request(Method::GET, &agent).send().await.expect("an answer").status() == 429 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}

/// It is looked at with every sign of life.
#[test]
fn whoever_may_no_longer_look_is_cut() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, opal) = (platform.builder("Bea").await, platform.operator("Opal").await);
        let agent = bea.component_agent("Quiet").await;
        let mut own = follow(&bea, &format!("/builder/agents/{agent}/logs/stream"), None).await;
        let mut all = follow(&opal, "/admin/logs/stream", None).await;
        bea.post("/auth/logout", json!({})).await.with(204);
        let mut tx = platform.host.db.write().await.expect("a transaction");
        tx.query("UPDATE users SET operator = FALSE").run().await.expect("it is taken away");
        tx.commit().await.expect("a commit");
        let (own, all): (&[Heard], &[Heard]) = (own.rest().await, all.rest().await);
        assert!(own.is_empty() && all.is_empty(), "{own:?} {all:?}");
    });
}

/// What another process has committed is found by looking; also what was committed
/// after something newer.
#[test]
fn two_processes_are_followed_as_one() {
    if !crate::harness::postgres::available() {
        return;
    }
    crate::harness::run(async {
        let one = Platform::start(Engine::Postgres).await;
        let two = one.beside().await;
        let (bea, here) = (one.builder("Bea").await, one.person("Cleo").await);
        let there = here.at(&two.url);
        let agent = bea.publish("Talker", talker()).await;
        let mut talks = Vec::new();
        for speaker in [&here, &there, &here, &there] {
            let (session, events) = speaker.starts(&agent).await;
            bea.receipts(&agent, &session, 1).await;
            talks.push((speaker, session, events));
        }
        let mut tail = follow(&bea, &format!("/builder/agents/{agent}/logs/stream"), None).await;
        let count = 20;
        for n in 0..count {
            for (speaker, session, _) in &talks {
                speaker.says(session, &format!("a{n}")).await;
            }
        }
        let mut heard = Vec::new();
        while heard.len() < talks.len() * count {
            let next = tail.next().await.expect("an event");
            if next.kind == "invocation" {
                heard.push(next.data.id());
            }
        }
        // One that is named before a newer one and committed after it.
        let late: aiybiz_host::id::InvocationId = one.clock.id();
        there.says(&talks[0].1, "newer").await;
        tail.until("invocation").await;
        let mut tx = one.host.db.write().await.expect("a transaction");
        let copy = tx.query(
            "INSERT INTO invocations (id, agent_id, session_id, event_id, outcome, receipt, log, created_at)
             SELECT $1, agent_id, session_id, event_id, outcome, receipt, log, created_at
             FROM invocations ORDER BY id LIMIT 1",
        );
        copy.bind(late).run().await.expect("a copy");
        tx.commit().await.expect("a commit");
        let found = tail.until("invocation").await;
        assert_eq!(found["id"], json!(late));
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), talks.len() * count, "each once");
        let all: Vec<Value> = tail.heard.iter().map(|heard| heard.data.clone()).collect();
        assert_eq!(all.len(), 2 * (talks.len() * count + 1) + 1);
    });
}
