//! Hostile guests: each ends its own event, in the way that its outcome says, and
//! leaves nothing behind.
//!
//! Where the attacks of the field's lists are tried (numbers as in the literature on
//! hosting strangers' WebAssembly: loops, bombs, floods, forgeries, leaks):
//!
//! | attack | where |
//! |---|---|
//! | 1 loops: in the handler, the allocator, the clean-up, at the start | table, `limits::a_guest_that_never_hands_out_memory`, `a_start_without_end_is_refused` |
//! | 2–5 memory, tables, recursion, bulk instructions | table, `refusals`, `bombs` |
//! | 6, 7, 21 floods of calls, replies, logs; texts that are none | table, `limits`, `logs` |
//! | 8, 9 giants, forged, dropped and leaked handles | table, fuzz target `imports` |
//! | 10, 11 waiting for ever, in the guest and in the host | table, `endurance::a_platform_that_does_not_answer_in_time_takes_the_blame` |
//! | 12, 13 an end in the middle of a file, after replies | `librarian`, `limits::what_was_said_before_the_end_stays` |
//! | 14–17, 22 uploads that are bombs, liars or machine code | `bombs`, `refusals`, `uploads`, fuzz target `upload` |
//! | 18 re-entrancy | a guest's replies are events to nobody; one lane, one event at a time: `lanes` |
//! | 19 a thousand sessions of one agent | `endurance`, `a_full_queue_sends_events_back_to_the_database` |
//! | 20 another tenant's leftovers | `residue`, `warm` |
//! | 23 a fault of the host | `fault` |
//! | 24 limits and versions that change meanwhile | `policy`, `versions` |
//! | 25 hostile servers | `egress` |

mod fault;
mod table;

use crate::harness::{Engine, Events, Platform, Value, guests, json};
use aiybiz_host::sandbox::Limits;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use table::ATTACKS;

/// Small enough to be hit soon, large enough for a guest that behaves.
pub fn small(limits: &mut Limits) {
    limits.memory_bytes = 2 << 20;
    limits.table_elements = 1_000;
    limits.cpu_millis = 100;
    limits.wall_millis = 3_000;
    limits.host_calls = 200;
    limits.host_call_bytes = 512 << 10;
    limits.replies = 10;
    limits.reply_bytes = 400 << 10;
    limits.log_bytes = 4 << 10;
    limits.state_bytes = 1 << 10;
    limits.handles = 20;
}

/// Does `does` with a message that begins with `a`, repeats any other.
pub fn guest(has: &str, does: &str) -> Vec<u8> {
    guests::guest(
        has,
        &format!(
            "(if (i32.eq (i32.load8_u (local.get $text)) (i32.const 97)) (then {does})
               (else (call $say (local.get $text) (local.get $textn))))"
        ),
        "",
    )
}

/// What the attack "never stops talking" does.
pub fn flood() -> &'static str {
    let found = ATTACKS.iter().find(|attack| attack.name == "never stops talking");
    found.expect("it is in the table").does
}

/// What must be as before when an attack is over.
#[derive(Debug, PartialEq)]
struct Baseline {
    running: u64,
    waiting: u64,
    instances: usize,
    warm: u64,
    files: Vec<String>,
}

impl Baseline {
    fn of(platform: &Platform) -> Self {
        let sandbox = &platform.host.sandbox;
        let standing = sandbox.standing_in_all();
        let mut files = Vec::new();
        list(&platform.host.config.data_dir, &mut files);
        // Every agent uploads a component, which stays.
        files.retain(|file| !file.contains("/components/") || file.contains(".draft"));
        files.sort_unstable();
        Self {
            running: standing.running,
            waiting: standing.waiting,
            instances: sandbox.instances(),
            warm: sandbox.waiting().instances,
            files,
        }
    }

    /// The last event's place is given back a moment after its receipt is written.
    async fn is_reached(&self, platform: &Platform, name: &str) {
        let begun = Instant::now();
        while Self::of(platform) != *self {
            let now = Self::of(platform);
            assert!(begun.elapsed() < Duration::from_secs(20), "{name}: {self:?} {now:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn list(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path.display().to_string());
        }
    }
}

#[test]
fn an_attack_ends_its_own_event_and_nothing_else() {
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, small).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let echo = bea.publish("Echo", guests::ECHO).await;
        let (other, mut heard) = cleo.starts(&echo).await;
        bea.receipts(&echo, &other, 1).await;
        let baseline = Baseline::of(&platform);
        for attack in &ATTACKS {
            let agent = bea.publish(attack.name, guest(attack.has, attack.does)).await;
            let (session, mut events) = cleo.starts(&agent).await;
            let said = cleo.says(&session, "attack").await;
            let begun = Instant::now();
            cleo.says(&other, attack.name).await;
            assert_eq!(heard.reply().await, format!("echo: {}", attack.name));
            let delay = begun.elapsed();
            assert!(delay < Duration::from_secs(1), "{}: the other waited {delay:?}", attack.name);

            failed(&mut events, &said, attack).await;
            cleo.says(&session, "still there?").await;
            assert_eq!(events.reply().await, "still there?", "{}", attack.name);
            events.without_gap();
            let receipt = &bea.receipts(&agent, &session, 3).await[1];
            assert_eq!(receipt["outcome"], attack.outcome, "{}: {receipt}", attack.name);
            let explanation = receipt["explanation"].as_str().expect("a sentence");
            assert!(explanation.contains(attack.because), "{}: {receipt}", attack.name);
            baseline.is_reached(&platform, attack.name).await;
        }
    });
}

/// Waits for the news that this message was in vain.
async fn failed(events: &mut Events, said: &Value, attack: &table::Attack) {
    let news = events.until("message_failed").await;
    assert_eq!(news["code"], attack.outcome, "{}: {news}", attack.name);
    assert_eq!(news["messageId"], said["id"]);
    assert_eq!(news["eventId"], said["id"]);
    assert!(news["reason"].as_str().is_some_and(|reason| reason.starts_with("the agent")));
}

#[test]
fn a_start_without_end_is_refused() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let baseline = Baseline::of(&platform);
        let agent = bea.component_agent("Starts").await;
        for (name, start, because) in [
            ("for ever", "(func $begin (loop $l (br $l))) (start $begin)", "the CPU budget"),
            ("by giving up", "(func $begin unreachable) (start $begin)", "unreachable"),
        ] {
            let refused = bea.upload(&agent, guests::guest(start, "", "")).await;
            let refused = refused.problem(422, "component_refused");
            let why = refused["detail"].as_str().expect("a sentence");
            assert!(
                why.contains("cannot be instantiated") && why.contains(because),
                "{name}: {why}"
            );
            baseline.is_reached(&platform, name).await;
        }
    });
}

/// So many events of an agent wait for a place and no more: the others are where they
/// were, in the database, and come to it later.
#[test]
fn a_full_queue_sends_events_back_to_the_database() {
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, |limits| {
            (limits.concurrent_events, limits.queued_events, limits.cpu_millis) = (1, 2, 500);
        });
        let platform = platform.await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Spinner", guest("", "(loop $l (br $l))")).await;
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(cleo.starts(&agent).await);
        }
        // One runs, two wait, three are sent back.
        let mut said = Vec::new();
        for (session, _) in &sessions {
            said.push(cleo.says(session, "attack").await);
        }
        let olga = platform.operator("Olga").await;
        let seen = olga.get("/admin/sandbox").await.ok();
        assert!(seen["running"].as_u64() <= Some(1), "{seen}");
        assert!(seen["waiting"].as_u64() <= Some(2), "{seen}");
        cleo.get("/admin/sandbox").await.problem(403, "not_an_operator");
        assert_eq!(seen["agents"][0]["agentId"], agent, "{seen}");
        for ((session, events), said) in sessions.iter_mut().zip(&said) {
            while events.until("message_failed").await["messageId"] != said["id"] {}
            let receipts = bea.receipts(&agent, session, 2).await;
            // However often there was no place: it was tried once.
            assert_eq!(receipts.len(), 2, "{receipts:?}");
            assert_eq!(
                (&receipts[1]["outcome"], &receipts[1]["attempt"]),
                (&json!("cpu"), &json!(1))
            );
        }
    });
}
