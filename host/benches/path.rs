//! How fast the main path is, each figure beside its own floor in the same run.
//!
//! `cargo bench` (with PostgreSQL synced: `AIYBIZ_TEST_DURABLE=1 cargo bench`).
//! Nothing is asserted: machines differ, and so do neighbours. Clients, webhook
//! agents and the platform share the machine.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod figures;
#[path = "../../tests/harness/mod.rs"]
mod harness;

use aiybiz_host::{clock::Clock, config::Config, storage::Db};
use figures::{cpu_time, micros, resident, row, show, spread, timed, title};
use harness::{Engine, Person, Place, Platform, guests, json, webhook::WebhookAgent};
use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    harness::run(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if engine == Engine::Postgres && !harness::postgres::available() {
                continue;
            }
            if wanted("latency") {
                latency(engine).await;
            }
            if wanted("throughput") {
                throughput(engine).await;
            }
        }
        if wanted("memory") {
            memory().await;
        }
    });
}

/// From POST to the reply on the stream, one message at a time.
async fn latency(engine: Engine) {
    title(&format!("POST of a message to the reply on the stream, one at a time, {engine:?}"));
    let http = bare_http().await;
    let commit = bare_commit(engine).await;
    let platform = Platform::configured(engine, unpaced).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let component = conversation(&client, &echo, 2_000, Duration::ZERO).await;
    let component = show("through a component, without a pause", component);
    // A pause lets the platform write down how the last event went; without one that
    // commit is in the next message's way.
    let calm = conversation(&client, &echo, 500, Duration::from_millis(5)).await;
    let calm = show("through a component, 5 ms apart", calm);
    let hook = WebhookAgent::echo(&platform.url).await;
    let (hook, _) = builder.publish_webhook("Hook", &hook.address, "none").await;
    let webhook = conversation(&client, &hook, 2_000, Duration::ZERO).await;
    let webhook = show("through a loopback webhook, without a pause", webhook);
    let floor = http + 2 * commit;
    row("HTTP + two commits", &format!("    {:7.0} µs", micros(floor)));
    row("component / floor", &format!("{:.2}", component.as_secs_f64() / floor.as_secs_f64()));
    row(
        "component, 5 ms apart / floor",
        &format!("{:.2}", calm.as_secs_f64() / floor.as_secs_f64()),
    );
    row("webhook / component", &format!("{:.2}", webhook.as_secs_f64() / component.as_secs_f64()));
}

async fn conversation(
    client: &Person,
    agent: &str,
    messages: usize,
    pause: Duration,
) -> Vec<Duration> {
    let (session, mut events) = client.starts(agent).await;
    let mut all = Vec::with_capacity(messages);
    for n in 0..messages + 50 {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        client.says(&session, "hello").await;
        events.reply().await;
        // The first ones warm connections and caches up.
        if n >= 50 {
            all.push(begun.elapsed());
        }
    }
    client.ends(&session).await;
    all
}

/// A POST with a JSON body, answered with one.
async fn bare_http() -> Duration {
    use axum::{Json, Router, routing::post};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let echo = post(async |Json(body): Json<serde_json::Value>| Json(body));
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", echo)).await });
    let client = Person::nobody(&url);
    let body = json!({ "content": "hello" });
    timed(200, || client.post("/", body.clone())).await;
    show("bare HTTP round trip", timed(3_000, || client.post("/", body.clone())).await)
}

/// One row, one commit.
async fn bare_commit(engine: Engine) -> Duration {
    let place = Place::new(engine).await;
    let db = Db::open(&place.database_url).await.expect("a database");
    let clock = Clock::default();
    let commit = || async {
        let mut tx = db.write().await.expect("a transaction");
        let insert = tx.query("INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)");
        let insert = insert.bind(clock.id::<uuid::Uuid>()).bind("x".repeat(200)).bind(clock.now());
        insert.run().await.expect("a row");
        tx.commit().await.expect("a commit");
    };
    show("bare commit of one row", timed(2_000, commit).await)
}

/// Sixty-four sessions at once, each saying the next thing when it has heard the
/// answer to the last.
async fn throughput(engine: Engine) {
    const AT_ONCE: usize = 64;
    const EACH: usize = 200;
    title(&format!("Messages per second, {AT_ONCE} sessions at once, {engine:?}"));
    let platform = Platform::configured(engine, unpaced).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let hook = WebhookAgent::echo(&platform.url).await;
    let (hook, _) = builder.publish_webhook("Hook", &hook.address, "none").await;
    for (name, agent) in [("through a component", echo), ("through a loopback webhook", hook)] {
        let mut sessions = Vec::new();
        for _ in 0..AT_ONCE {
            sessions.push(client.starts(&agent).await);
        }
        let (begun, cpu) = (Instant::now(), cpu_time());
        let mut talks = Vec::new();
        for (session, mut events) in sessions {
            let client = client.clone();
            talks.push(tokio::spawn(async move {
                let mut times = Vec::with_capacity(EACH);
                for _ in 0..EACH {
                    let begun = Instant::now();
                    client.says(&session, "hello").await;
                    events.reply().await;
                    times.push(begun.elapsed());
                }
                times
            }));
        }
        let mut times = Vec::new();
        for talk in talks {
            times.extend(talk.await.expect("no panic"));
        }
        let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        let count = (AT_ONCE * EACH) as f64;
        let (p50, p99) = spread(&mut times);
        row(
            name,
            &format!(
                "{:6.0} /s   p50 {:5.1} ms   p99 {:5.1} ms   {:4.0} µs CPU each, client included",
                count / took.as_secs_f64(),
                micros(p50) / 1e3,
                micros(p99) / 1e3,
                micros(cpu) / count,
            ),
        );
    }
}

/// What an idle session and an idle stream cost.
async fn memory() {
    const COUNT: usize = 1_000;
    title("Resident memory");
    let platform = Platform::start(Engine::Sqlite).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let (first, events) = client.starts(&echo).await;
    drop(events);
    let before = resident();
    let mut sessions = Vec::new();
    for _ in 0..COUNT {
        let (session, events) = client.starts(&echo).await;
        drop(events);
        sessions.push(session);
    }
    let after = resident();
    row("an idle session", &format!("{:.1} KB", (after - before) / COUNT as f64));
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        streams.push(client.listens(&first, None).await);
    }
    let streaming = resident();
    let each = (streaming - after) / COUNT as f64;
    row("an idle stream, with the client's end of it", &format!("{each:.1} KB"));
}

/// One session says more in a second than any agent may.
fn unpaced(config: &mut Config) {
    config.agent_calls_per_minute = NonZeroU32::MAX;
}
