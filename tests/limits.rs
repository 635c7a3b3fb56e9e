//! Every limit stops its own event, says so, and nobody else notices.
//!
//! Which attack hits which field of `Limits`:
//!
//! (in quotes: of `attacks::table`)
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

use crate::{
    attacks::{flood, guest, small},
    harness::{Engine, Platform, Value, guests, json},
};

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

        let (receipt, replies) = try_out(&platform, guest("", flood()), "again and again").await;
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
