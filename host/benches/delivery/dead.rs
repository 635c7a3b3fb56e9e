//! One webhook that never answers, beside 99 that do.

use crate::{
    figures::{micros, row, spread, title},
    harness::{
        Engine, Events, Person, Platform,
        webhook::{Reply, WebhookAgent},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const HEALTHY: usize = 99;
/// Sessions with the dead one, each of which says something so often.
const DEAD_SESSIONS: usize = 20;
const DEAD_PAUSE: Duration = PAUSE;
/// Turns with and without, one after the other, so that what the machine does besides
/// meets both.
const TURNS: usize = 10;
/// Messages of each healthy session in a turn, so far apart.
const MESSAGES: usize = 8;
const PAUSE: Duration = Duration::from_millis(900);

pub async fn beside_healthy_ones() {
    title(
        "POST of a message to the reply on the stream: 99 healthy webhooks, without and with a dead one",
    );
    let platform = Platform::start(Engine::Sqlite).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let hook = WebhookAgent::echo(&platform.url).await;
    let mut talks = Vec::new();
    for _ in 0..HEALTHY {
        let (agent, _) = builder.publish_webhook("Healthy", &hook.address, "standard").await;
        talks.push(client.starts(&agent).await);
    }
    let dead = WebhookAgent::that(&platform.url, |request| match request.body["event"].as_str() {
        Some("message") => Reply::Hang,
        _ => Reply::Status(200),
    })
    .await;
    let (agent, _) = builder.publish_webhook("Dead", &dead.address, "standard").await;
    let mut crying = Vec::new();
    for _ in 0..DEAD_SESSIONS {
        crying.push(client.starts(&agent).await.0);
    }
    for _ in 0..2 {
        turn(&client, &mut talks).await;
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.extend(turn(&client, &mut talks).await);
        let stop = Arc::new(AtomicBool::new(false));
        let cries: Vec<_> = crying
            .iter()
            .map(|session| tokio::spawn(cry(client.clone(), session.clone(), Arc::clone(&stop))))
            .collect();
        with.extend(turn(&client, &mut talks).await);
        stop.store(true, Ordering::Relaxed);
        for cry in cries {
            cry.await.expect("no panic");
        }
    }
    let state = builder.get(&format!("/builder/agents/{agent}/webhook")).await.ok();
    row("the dead one's breaker, in the end", state["state"].as_str().unwrap_or_default());
    let show = |name: &str, times: &mut Vec<Duration>| {
        let (p50, p99) = spread(times);
        row(name, &format!("p50 {:7.0} µs   p99 {:7.0} µs", micros(p50), micros(p99)));
        p99
    };
    let half = without.len() / 2;
    let first = spread(&mut without[..half].to_vec()).1;
    let second = spread(&mut without[half..].to_vec()).1;
    let (alone, beside) = (show("without", &mut without), show("with the dead one", &mut with));
    let percent = |a: Duration, b: Duration| (b.as_secs_f64() / a.as_secs_f64() - 1.0) * 100.0;
    row("p99 with / without", &format!("{:+.0} %", percent(alone, beside)));
    row("noise: two halves without", &format!("{:+.0} %", percent(first, second)));
}

/// Every session says so many things and waits for the answers; how long each took.
async fn turn(client: &Person, talks: &mut [(String, Events)]) -> Vec<Duration> {
    let count = u32::try_from(talks.len()).unwrap_or(u32::MAX);
    let all = talks.iter_mut().zip(0_u32..).map(async |((session, events), n)| {
        // Spread over the pause.
        tokio::time::sleep(PAUSE * n / count).await;
        let mut times = Vec::with_capacity(MESSAGES);
        for _ in 0..MESSAGES {
            let begun = Instant::now();
            client.says(session, "hello").await;
            events.reply().await;
            times.push(begun.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        times
    });
    futures::future::join_all(all).await.concat()
}

/// Says things that nobody answers.
async fn cry(client: Person, session: String, stop: Arc<AtomicBool>) {
    let path = format!("/sessions/{session}/messages");
    while !stop.load(Ordering::Relaxed) {
        // Too many wait: that is an answer too.
        client.post(&path, crate::harness::json!({ "content": "hello?" })).await;
        tokio::time::sleep(DEAD_PAUSE).await;
    }
}
