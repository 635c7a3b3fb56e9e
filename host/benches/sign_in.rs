//! Does signing in, which costs a hash of 19 MiB on purpose, delay those who are at work?
//! Messages beside twenty sign-ins at once, and without them, in turns.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod figures;
#[path = "../../tests/harness/mod.rs"]
mod harness;

use figures::{row, show, title};
use harness::{Engine, Events, Person, Platform, guests, json, people::PASSWORD};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const AT_ONCE: usize = 20;
const MESSAGES: usize = 1_500;
const ROUNDS: usize = 3;

fn main() {
    harness::run(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if engine == Engine::Sqlite || harness::postgres::available() {
                beside(engine).await;
            }
        }
    });
}

async fn beside(engine: Engine) {
    title(&format!("POST of a message beside {AT_ONCE} sign-ins at once, {engine:?}"));
    let platform = Platform::start(engine).await;
    let bea = platform.builder("Bea").await;
    let agent = bea.publish("Echo", guests::ECHO).await;
    let cleo = platform.person("Cleo").await;
    let max = platform.person("Max").await;
    let (session, mut events) = cleo.starts(&agent).await;
    messages(&cleo, &session, &mut events, 100).await;
    let (mut alone, mut beside, mut signed) = (Vec::new(), Vec::new(), 0);
    let mut busy = Duration::ZERO;
    for _ in 0..ROUNDS {
        alone.extend(messages(&cleo, &session, &mut events, MESSAGES).await);
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let signing: Vec<_> = (0..AT_ONCE)
            .map(|_| tokio::spawn(signs_in(max.clone(), Arc::clone(&stop), Arc::clone(&count))))
            .collect();
        let begun = Instant::now();
        beside.extend(messages(&cleo, &session, &mut events, MESSAGES).await);
        busy += begun.elapsed();
        stop.store(true, Relaxed);
        for one in signing {
            one.await.expect("no panic");
        }
        signed += count.load(Relaxed);
    }
    let p99 = |all: &mut Vec<Duration>| {
        all.sort_unstable();
        all[all.len() * 99 / 100]
    };
    let (fast, slow) = (p99(&mut alone).as_secs_f64(), p99(&mut beside).as_secs_f64());
    show("alone", alone);
    show("beside them", beside);
    row("p99 beside / alone", &format!("{:.2}", slow / fast));
    row("sign-ins meanwhile", &format!("{:7.0}/s", signed as f64 / busy.as_secs_f64()));
}

async fn messages(
    cleo: &Person,
    session: &str,
    events: &mut Events,
    count: usize,
) -> Vec<Duration> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        cleo.says(session, "hello").await;
        all.push(begun.elapsed());
        events.reply().await;
    }
    all
}

async fn signs_in(max: Person, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    while !stop.load(Relaxed) {
        let body = json!({ "email": max.email, "password": PASSWORD });
        max.post("/auth/login", body).await.ok();
        count.fetch_add(1, Relaxed);
    }
}
