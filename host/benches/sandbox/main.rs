//! What the sandbox costs, and what a neighbour feels of an attack.
//!
//! `cargo bench --bench sandbox -- <event|runtimes|neighbour|density>`. Nothing is
//! asserted: machines differ. Every figure stands beside its floor in the same run.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod bare;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../../../tests/harness/mod.rs"]
mod harness;
mod languages;
mod neighbour;

use aiybiz_host::{config::Config, id::SessionId, sandbox::Outcome};
use figures::{rate, resident, row, title};
use harness::{Engine, Person, Platform, events::Bare, guests, json};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    harness::run(async {
        if wanted("event") {
            fresh_events().await;
        }
        if wanted("runtimes") {
            languages::alone().await;
            languages::through_the_platform().await;
        }
        if wanted("neighbour") {
            neighbour::all().await;
        }
        if wanted("density") {
            density().await;
        }
    });
}

/// Events in fresh instances: the sandbox with all its limits and its receipt,
/// beside a bare loop over the same component with the best settings known.
async fn fresh_events() {
    const EVENTS: u64 = 100_000;
    title("Events in fresh instances (echo, 29 KB of Rust), on one and on two threads");
    let (mut bare_one, mut one) = (0.0, 0.0);
    for threads in [1, 2] {
        let loops = bare::Loop::new(guests::ECHO, threads);
        bare::Loop::run(&loops, 1_000);
        let bare = rate(EVENTS, async || bare::Loop::run(&loops, EVENTS)).await;
        let all = Busy::new(guests::ECHO, threads).await;
        all.run(3_200, false).await;
        let sandbox = rate(EVENTS, async || all.run(EVENTS, false).await).await;
        row(&format!("bare loop, {threads} threads"), &bare.to_string());
        row(&format!("sandbox, {threads} threads"), &sandbox.to_string());
        row("  of it the event itself", &format!("{:6.1} µs CPU each", all.own(false).await));
        if threads == 1 {
            (bare_one, one) = (bare.cpu, sandbox.each);
        } else {
            row("sandbox, two threads / one", &format!("{:.2}", sandbox.each / one));
        }
        row("CPU, as multiple of the bare loop on one", &format!("{:.2}", sandbox.cpu / bare_one));
    }
}

/// A sandbox with so many threads, and enough going on that none is ever idle.
struct Busy {
    platform: Platform,
    agent: Bare,
}

impl Busy {
    const AT_ONCE: u64 = 32;

    async fn new(guest: &[u8], threads: usize) -> Self {
        let change = |config: &mut Config| config.guest_threads = threads;
        let platform = Platform::configured(Engine::Sqlite, change).await;
        Self { agent: Bare::new(&platform, guest).await, platform }
    }

    /// So many events of as many sessions as go at once; their instances are kept, or
    /// all are fresh.
    async fn run(&self, events: u64, warm: bool) {
        let session = |_| {
            let (agent, session) = (self.agent.clone(), self.platform.clock.id());
            let (done, over) = tokio::sync::oneshot::channel();
            // As the lanes of component agents are driven.
            self.agent.sandbox.drive(self.agent.agent, async move {
                for seq in 0..events / Self::AT_ONCE {
                    event(&agent, warm.then_some((session, seq as i64))).await;
                }
                let _ = done.send(());
            });
            over
        };
        futures::future::join_all((0..Self::AT_ONCE).map(session)).await;
        self.agent.sandbox.tidy(self.platform.clock.now());
    }

    /// CPU of one event as its receipt has it, in microseconds: the median.
    async fn own(&self, warm: bool) -> f64 {
        let session: SessionId = self.platform.clock.id();
        let mut all = Vec::new();
        for seq in 0..500 {
            all.push(event(&self.agent, warm.then_some((session, seq))).await);
        }
        all.sort_unstable();
        all[all.len() / 2] as f64
    }
}

/// One event, the `seq`-th of a session whose instance is kept; its CPU time.
async fn event(agent: &Bare, kept: Option<(SessionId, i64)>) -> u64 {
    let receipt = match kept {
        Some((session, seq)) => agent.handle_kept(session, seq).await,
        None => agent.handle().await,
    };
    assert_eq!(receipt.outcome, Outcome::Ok, "{}", receipt.explanation);
    receipt.cpu_micros
}

/// What sessions with components hold while nobody says anything.
async fn density() {
    title("Resident memory of sessions between events");
    let echo = ("Rust", guests::ECHO.to_vec());
    // One language in a process of its own: what the others left would be counted, too.
    let wanted = std::env::var("AIYBIZ_BENCH_LANGUAGE").unwrap_or_default();
    let all = std::iter::once(echo).chain(languages::others());
    for (name, guest) in all.filter(|(name, _)| name.contains(&wanted)) {
        for (how, warm, count) in [("fresh", false, 1_000), ("kept", true, 200)] {
            let change = |config: &mut Config| {
                config.pool.instances = 1_024;
                config.pool.warm_bytes = 64 << 30;
                config.limits.warm_instances = 1_024;
            };
            let platform = Platform::configured(Engine::Sqlite, change).await;
            let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
            let agent = bea.publish(name, guest.clone()).await;
            let path = format!("/builder/agents/{agent}/components/1");
            bea.patch(&path, json!({ "warm": warm })).await.ok();
            // The first ones warm everything up.
            let mut ended = talk(&cleo, &agent, 20).await;
            let before = resident();
            let sessions = talk(&cleo, &agent, count).await;
            let after = resident();
            ended.extend(sessions);
            for session in &ended {
                cleo.ends(session).await;
                bea.receipts(&agent, session, 3).await;
            }
            let left = resident();
            let each = (after - before) / f64::from(count);
            let alive = platform.host.sandbox.instances();
            row(
                &format!("{name}, {how}, {count} sessions"),
                &format!(
                    "{each:8.1} KB each   {:5.0} MB before, {:5.0} with all, {:5.0} when they have ended ({alive} left)",
                    before / 1e3,
                    after / 1e3,
                    left / 1e3,
                ),
            );
        }
    }
}

/// Sessions in which one thing was said.
async fn talk(cleo: &Person, agent: &str, count: u32) -> Vec<String> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let (session, mut events) = cleo.starts(agent).await;
        cleo.says(&session, "hello").await;
        events.reply().await;
        sessions.push(session);
    }
    sessions
}
