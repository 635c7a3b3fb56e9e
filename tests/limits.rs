//! Every limit stops its own event, says so, and nobody else notices.
//!
//! Which attack hits which field of `Limits`:
//!
//! | limit | attack |
//! |---|---|
//! | `memoryBytes` | "grows its memory for ever" |
//! | `tableElements` | "grows its table for ever" |
//! | `cpuMillis` | "spins", "fills memory again and again", `a_guest_that_never_hands_out_memory` |
//! | `wallMillis` | "sleeps for an hour" |
//! | `hostCallMillis` | `endurance::a_platform_that_does_not_answer_in_time_takes_the_blame` |
//! | `hostCalls` | "asks for ever" |
//! | `hostCallBytes` | "says 600 KiB at once" |
//! | `replies`, `replyBytes` | "never stops talking", "talks in floods" |
//! | `logBytes` | all of `logs` |
//! | `stateBytes` | `limits_a_guest_can_meet_in_good_faith_are_errors_not_the_end` |
//! | `handles` | "begins replies and never ends them" |
//! | `fileReadBytes`, `fileWriteBytes` | `librarian::reading_and_writing_have_their_budgets` |
//! | `httpAllow`, `httpCalls`, `httpBytes`, `httpMillis` | all of `egress` |
//! | `concurrentEvents`, `…Total` | `endurance::events_beyond_the_limit_wait_for_their_turn` |
//! | `componentBytes` | `refusals::too_much_and_of_the_wrong_kind` |
//! | `compileMillis`, `compileMemoryBytes` | `bombs` |

use crate::harness::{Engine, Events, Platform, Value, guests, json};
use aiybiz_host::sandbox::Limits;
use std::time::{Duration, Instant};

/// A guest that behaves until a message begins with `a`.
struct Attack {
    name: &'static str,
    /// Functions, globals and data of its own.
    has: &'static str,
    does: &'static str,
    /// How the event ends, and a part of the receipt's explanation.
    outcome: &'static str,
    because: &'static str,
}

const fn attack(
    name: &'static str,
    (has, does): (&'static str, &'static str),
    (outcome, because): (&'static str, &'static str),
) -> Attack {
    Attack { name, has, does, outcome, because }
}

/// Small enough to be hit soon, large enough for a guest that behaves.
fn small(limits: &mut Limits) {
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

const ATTACKS: [Attack; 14] = [
    attack("spins", ("", "(loop $l (br $l))"), ("cpu", "cpuMillis (100)")),
    attack(
        "fills memory again and again",
        ("", "(loop $l (memory.fill (i32.const 8192) (i32.const 7) (i32.const 120000)) (br $l))"),
        ("cpu", "cpuMillis (100)"),
    ),
    attack(
        "grows its memory for ever",
        (
            "",
            "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) unreachable",
        ),
        ("memory", "memoryBytes (2097152)"),
    ),
    attack(
        "grows its table for ever",
        (
            "(table $t 1 funcref)",
            "(loop $l (br_if $l
               (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)))) unreachable",
        ),
        ("memory", "tableElements (1000)"),
    ),
    attack(
        "calls itself for ever",
        (
            "(func $deep (param i32) (result i32)
               (i32.mul (i32.const 3) (call $deep (i32.add (local.get 0) (i32.const 1)))))",
            "(drop (call $deep (i32.const 0)))",
        ),
        ("trap", "the stack overflowed"),
    ),
    attack(
        "gives up after a reply",
        ("", "(call $say (local.get $text) (local.get $textn)) unreachable"),
        ("trap", "the agent gave up"),
    ),
    attack(
        "forges a handle",
        ("", "(call $piece (i32.const 77) (local.get $text) (local.get $textn) (i32.const 64))"),
        ("trap", "the agent crashed"),
    ),
    attack(
        "passes a text outside its memory",
        ("", "(call $say (i32.const 0x7fff0000) (i32.const 64))"),
        ("trap", "the agent crashed"),
    ),
    attack(
        "sleeps for an hour",
        ("", "(call $sleep (i64.const 3600000000000))"),
        ("wall", "wallMillis (3000)"),
    ),
    attack(
        "asks for ever",
        ("", "(loop $l (call $session_id (i32.const 64)) (br $l))"),
        ("budget", "hostCalls (200)"),
    ),
    attack(
        "says 600 KiB at once",
        (
            "",
            "(drop (memory.grow (i32.const 12))) (call $say (i32.const 8192) (i32.const 614400))",
        ),
        ("budget", "hostCallBytes (524288)"),
    ),
    attack(
        "never stops talking",
        ("", "(loop $l (call $say (local.get $text) (local.get $textn)) (br $l))"),
        ("budget", "replies (10)"),
    ),
    attack(
        "talks in floods",
        ("", "(loop $l (call $say (i32.const 8192) (i32.const 102400)) (br $l))"),
        ("budget", "replyBytes (409600)"),
    ),
    attack(
        "begins replies and never ends them",
        ("", "(loop $l (call $begin_reply (i32.const 64)) (br $l))"),
        ("budget", "handles (20)"),
    ),
];

/// Does `does` with a message that begins with `a`, repeats any other.
fn guest(has: &str, does: &str) -> Vec<u8> {
    guests::guest(
        has,
        &format!(
            "(if (i32.eq (i32.load8_u (local.get $text)) (i32.const 97)) (then {does})
               (else (call $say (local.get $text) (local.get $textn))))"
        ),
        "",
    )
}

#[test]
fn an_attack_ends_its_own_event_and_nothing_else() {
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, small).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let echo = bea.publish("Echo", guests::ECHO).await;
        let (other, mut heard) = cleo.starts(&echo).await;
        for attack in &ATTACKS {
            let agent = bea.publish(attack.name, guest(attack.has, attack.does)).await;
            let (session, mut events) = cleo.starts(&agent).await;
            let said = cleo.says(&session, "attack").await;
            let begun = Instant::now();
            cleo.says(&other, attack.name).await;
            assert_eq!(heard.reply().await, format!("echo: {}", attack.name));
            let delay = begun.elapsed();
            assert!(delay < Duration::from_secs(1), "{}: the other waited {delay:?}", attack.name);

            failed(&mut events, &said, attack.outcome).await;
            cleo.says(&session, "still there?").await;
            assert_eq!(events.reply().await, "still there?", "{}", attack.name);
            events.without_gap();
            let receipt = &bea.receipts(&agent, &session, 3).await[1];
            assert_eq!(receipt["outcome"], attack.outcome, "{}: {receipt}", attack.name);
            explained(receipt, attack.because);
        }
    });
}

/// Waits for the news that this message was in vain.
async fn failed(events: &mut Events, said: &Value, code: &str) {
    let news = events.until("message_failed").await;
    assert_eq!(news["type"], "message_failed");
    assert_eq!(news["code"], code, "{news}");
    assert_eq!(news["messageId"], said["id"]);
    assert_eq!(news["eventId"], said["id"]);
    assert!(news["reason"].as_str().is_some_and(|reason| reason.starts_with("the agent")));
}

#[track_caller]
fn explained(receipt: &Value, because: &str) {
    let explanation = receipt["explanation"].as_str().expect("a sentence");
    assert!(explanation.contains(because), "{receipt}");
}

/// One agent, one session, one message; the receipt of that message's event.
async fn try_out(platform: &Platform, wasm: Vec<u8>, said: &str) -> (Value, Vec<String>) {
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let agent = bea.publish("Tried out", wasm).await;
    let (session, _events) = cleo.starts(&agent).await;
    cleo.says(&session, said).await;
    let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
    let messages = cleo.get(&format!("/sessions/{session}/messages?limit=200")).await.ok();
    let messages = messages["data"].as_array().expect("a list").iter();
    let replies = messages.filter(|message| message["role"] == "agent");
    let replies = replies.map(|reply| reply["content"].as_str().expect("text").to_owned());
    (receipt, replies.collect())
}

#[test]
fn what_was_said_before_the_end_stays() {
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, small).await;
        let does = "(call $say (local.get $text) (local.get $textn)) unreachable";
        let (receipt, replies) = try_out(&platform, guest("", does), "a last word").await;
        assert_eq!(replies, ["a last word"]);
        assert_eq!(receipt["replies"], 1);
        assert_eq!(receipt["hostCalls"], json!({ "session.reply": 1 }));
        assert!(receipt["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()));
        assert_eq!(receipt["headroom"]["replies"], 90);

        let (receipt, replies) =
            try_out(&platform, guest(ATTACKS[11].has, ATTACKS[11].does), "again and again").await;
        assert_eq!(replies, ["again and again"; 10]);
        assert_eq!(receipt["headroom"]["replies"], 0);
    });
}

/// Where a limit can be met by a program that means well, it is an error that the
/// program may handle; it says here which one it got.
#[test]
fn limits_a_guest_can_meet_in_good_faith_are_errors_not_the_end() {
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, small).await;
        let too_long = r"(drop (memory.grow (i32.const 5)))
            (call $reply (i32.const 8192) (i32.const 262145) (i32.const 64))
            (if (i32.and (i32.load8_u (i32.const 64)) (i32.eq (i32.load8_u (i32.const 68)) (i32.const 1)))
              (then (call $say (i32.const 1024) (i32.const 14))))";
        let has = r#"(data (i32.const 1024) "invalid-length")"#;
        let (receipt, replies) = try_out(&platform, guest(has, too_long), "attack").await;
        assert_eq!((&receipt["outcome"], replies), (&json!("ok"), vec!["invalid-length".into()]));

        let too_much = r"(call $state_set (i32.const 1024) (i32.const 5) (i32.const 8192) (i32.const 1020) (i32.const 64))
            (if (i32.and (i32.load8_u (i32.const 64)) (i32.eq (i32.load8_u (i32.const 72)) (i32.const 1)))
              (then (call $say (i32.const 1024) (i32.const 14))))";
        let has = r#"(data (i32.const 1024) "quota-exceeded")"#;
        let (receipt, replies) = try_out(&platform, guest(has, too_much), "attack").await;
        assert_eq!((&receipt["outcome"], replies), (&json!("ok"), vec!["quota-exceeded".into()]));

        // Refused 10 MiB, it makes do with one page, and is let.
        let less = r"(if (i32.and (i32.eq (memory.grow (i32.const 160)) (i32.const -1))
                                   (i32.eq (memory.grow (i32.const 1)) (i32.const 2)))
              (then (call $say (i32.const 1024) (i32.const 4))))";
        let has = r#"(data (i32.const 1024) "less")"#;
        let (receipt, replies) = try_out(&platform, guest(has, less), "attack").await;
        assert_eq!((&receipt["outcome"], replies), (&json!("ok"), vec!["less".into()]));
    });
}

#[test]
fn a_guest_that_never_hands_out_memory() {
    // The host calls the allocator to lower an answer: guest code within a host call.
    crate::harness::run(async {
        let platform = Platform::start_with(Engine::Sqlite, small).await;
        let does = "(global.set $stuck (i32.const 1)) (call $session_id (i32.const 64))";
        let text = guests::text("(global $stuck (mut i32) (i32.const 0))", does, "");
        let text = text.replacen(
            "(local $p i32)",
            "(local $p i32) (if (global.get $stuck) (then (loop $l (br $l))))",
            1,
        );
        let (receipt, replies) = try_out(&platform, guests::core(&text), "attack").await;
        assert_eq!((&receipt["outcome"], replies.len()), (&json!("cpu"), 0), "{receipt}");
    });
}
