//! What a session feels of another agent's misbehaviour, with the attacker and
//! without, in turns.

use crate::{
    figures::{micros, row, spread, title},
    harness::{Engine, Person, Platform, guests},
};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Sessions that attack at once.
const ATTACKERS: usize = 8;

/// How often each of them sends a message: what the platform lets a session send is
/// 120 a minute.
const PACE: Duration = Duration::from_millis(500);

/// What each of their events may compute: all of them together, several times what the
/// machine has. (The usual two seconds make the benchmark longer, not the attack worse.)
const CPU_MILLIS: u64 = 300;

/// How long each may take, waiting included; more than all others' computing.
const WALL_MILLIS: u64 = 5_000;

/// Messages of the neighbour in one turn, and turns with and without the attacker: short
/// ones, so that what else changes on the machine meets both alike.
const MESSAGES: usize = 200;
const TURNS: usize = 24;

/// A name, what the guest has, and what it does with every message. The first is no
/// attack: what as many ordinary messages cost.
const ATTACKS: [(&str, &str, &str); 10] = [
    ("nothing bad, one reply", "", "(call $say (local.get $text) (local.get $textn))"),
    ("an endless loop", "", "(loop $l (br $l))"),
    (
        "a memory bomb",
        "",
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
         (memory.fill (i32.const 8192) (i32.const 7)
           (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8192))) unreachable",
    ),
    (
        "120 MiB filled again and again",
        "",
        "(drop (memory.grow (i32.const 1900)))
         (loop $l (memory.fill (i32.const 8192) (i32.const 7) (i32.const 120000000)) (br $l))",
    ),
    (
        "endless recursion",
        "(func $deep (param i32) (result i32)
           (i32.mul (i32.const 3) (call $deep (i32.add (local.get 0) (i32.const 1)))))",
        "(drop (call $deep (i32.const 0)))",
    ),
    ("a trap after a reply", "", "(call $say (local.get $text) (local.get $textn)) unreachable"),
    ("a flood of calls", "", "(loop $l (call $session_id (i32.const 64)) (br $l))"),
    (
        "a flood of log lines",
        "",
        "(loop $l (call $log (i32.const 2) (local.get $text) (local.get $textn)
           (i32.const 64) (i32.const 0)) (br $l))",
    ),
    (
        "a flood of replies",
        "",
        "(loop $l (call $say (local.get $text) (local.get $textn)) (br $l))",
    ),
    ("an hour's sleep", "", "(call $sleep (i64.const 3600000000000))"),
];

pub async fn all() {
    title(&format!(
        "A message to its reply, Sqlite: alone, and beside {ATTACKERS} sessions that attack, each every {PACE:?}"
    ));
    let wanted = std::env::var("AIYBIZ_BENCH_ATTACK").unwrap_or_default();
    for (name, has, does) in ATTACKS.into_iter().filter(|(name, ..)| name.contains(&wanted)) {
        beside(name, guests::guest(has, does, "")).await;
    }
}

async fn beside(name: &str, attack: Vec<u8>) {
    let platform = Platform::start(Engine::Sqlite).await;
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let echo = bea.publish("Echo", guests::ECHO).await;
    let agent = bea.publish("Attacker", attack).await;
    let limits = format!("/admin/agents/{agent}/limits");
    let opal = platform.operator("Opal").await;
    opal.put(&limits, json!({ "cpuMillis": CPU_MILLIS, "wallMillis": WALL_MILLIS })).await.ok();
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        let (session, events) = cleo.starts(&agent).await;
        drop(events);
        attackers.push(session);
    }
    conversation(&cleo, &echo).await;
    // Those alone in two halves: how far these differ, nobody's attack explains.
    let (mut alone, mut attacked) = ([Vec::new(), Vec::new()], Vec::new());
    for turn in 0..TURNS {
        alone[turn % 2].extend(conversation(&cleo, &echo).await);
        let mut attacking = JoinSet::new();
        for (number, session) in (0..).zip(&attackers) {
            let first = PACE / ATTACKERS as u32 * number;
            attacking.spawn(attack_in(cleo.clone(), session.clone(), first));
        }
        tokio::time::sleep(PACE).await;
        attacked.extend(conversation(&cleo, &echo).await);
        attacking.shutdown().await;
        // Until the last of them has ended, nobody is alone.
        while platform.host.sandbox.standing_in_all().running > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let [(_, half), (_, other_half)] = alone.each_mut().map(|half| spread(half));
    let ((a50, a99), (b50, b99)) = (spread(&mut alone.concat()), spread(&mut attacked));
    let percent = |b: Duration, a: Duration| (b.as_secs_f64() / a.as_secs_f64() - 1.0) * 100.0;
    row(
        name,
        &format!(
            "p50 {:5.0} → {:5.0} µs   p99 {:5.0} → {:5.0} µs   {:+.0} %   (alone ±{:.0} %)",
            micros(a50),
            micros(b50),
            micros(a99),
            micros(b99),
            percent(b99, a99),
            percent(half.max(other_half), half.min(other_half)) / 2.0,
        ),
    );
}

async fn attack_in(cleo: Person, session: String, first: Duration) {
    tokio::time::sleep(first).await;
    loop {
        cleo.says(&session, "go").await;
        tokio::time::sleep(PACE).await;
    }
}

async fn conversation(cleo: &Person, agent: &str) -> Vec<Duration> {
    let (session, mut events) = cleo.starts(agent).await;
    let mut all = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let begun = Instant::now();
        cleo.says(&session, "hello").await;
        events.reply().await;
        all.push(begun.elapsed());
    }
    cleo.ends(&session).await;
    all
}
