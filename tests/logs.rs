//! What an agent logs and prints: bounded, harmless to whoever reads it, and there
//! for its builder only.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests},
};

const LOG_BYTES: u64 = 4 << 10;

/// The log of one message's event.
async fn log(does: &str, has: &str) -> Vec<Value> {
    let change = |limits: &mut aiybiz_host::sandbox::Limits| limits.log_bytes = LOG_BYTES;
    let platform = Platform::start_with(Engine::Sqlite, change).await;
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let agent = bea.publish("Talker", guests::guest(has, does, "")).await;
    let (session, _events) = cleo.starts(&agent).await;
    cleo.says(&session, "go").await;
    let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
    assert_eq!(receipt["outcome"], "ok", "{receipt}");
    nobody_else_reads(&platform, &cleo, &agent).await;
    let path = format!("/builder/agents/{agent}/logs?sessionId={session}");
    let found = bea.get(&path).await.ok();
    found["data"].as_array().expect("a list").clone()
}

async fn nobody_else_reads(platform: &Platform, client: &Person, agent: &str) {
    let path = format!("/builder/agents/{agent}/logs");
    client.get(&path).await.problem(403, "not_a_builder");
    platform.builder("Bob").await.get(&path).await.problem(404, "not_found");
}

/// Does something a hundred times.
fn a_hundred_times(what: &str) -> String {
    format!(
        "(memory.fill (i32.const 8192) (i32.const 120) (i32.const 8192))
         (local.set $idn (i32.const 100))
         (loop $l {what}
           (br_if $l (local.tee $idn (i32.sub (local.get $idn) (i32.const 1)))))"
    )
}

fn size(log: &[Value]) -> u64 {
    log.iter().map(|entry| entry["message"].as_str().expect("text").len() as u64).sum()
}

#[test]
fn a_flood_of_entries_is_cut_off() {
    crate::harness::run(async {
        let entry = "(call $log (i32.const 2) (i32.const 8192) (i32.const 1000) (i32.const 0) (i32.const 0))";
        let log = log(&a_hundred_times(entry), "").await;
        assert!((3_000..=LOG_BYTES).contains(&size(&log)), "{log:?}");
        assert_eq!(log[0]["level"], "info");
        assert_eq!(log[0]["message"], "x".repeat(1000));
    });
}

#[test]
fn a_long_entry_is_cut_short() {
    crate::harness::run(async {
        let entry = "(memory.fill (i32.const 8192) (i32.const 120) (i32.const 20000))
            (call $log (i32.const 4) (i32.const 8192) (i32.const 20000) (i32.const 0) (i32.const 0))";
        let log = log(entry, "").await;
        assert!((1_000..=LOG_BYTES).contains(&size(&log)), "{log:?}");
        assert_eq!(log[0]["level"], "error");
    });
}

#[test]
fn what_is_printed_is_logged_as_far_as_there_is_room() {
    crate::harness::run(async {
        let log =
            log(&a_hundred_times("(call $print (i32.const 8192) (i32.const 4096))"), "").await;
        assert!((3_000..=LOG_BYTES).contains(&size(&log)), "{log:?}");
        assert_eq!(log[0]["fields"]["stream"], "stdio");
    });
}

#[test]
fn a_log_cannot_draw_on_a_terminal() {
    crate::harness::run(async {
        let has = r#"(data (i32.const 1024) "\1b[2Jred\07\00\c2\9b1m")"#;
        let text = "(i32.const 1024) (i32.const 13)";
        let does = format!(
            "(call $log (i32.const 3) {text} (i32.const 0) (i32.const 0)) (call $print {text})"
        );
        let log = log(&does, has).await;
        assert_eq!(log.len(), 2);
        for entry in log {
            assert_eq!(entry["message"], "\u{fffd}[2Jred\u{fffd}\u{fffd}\u{fffd}1m");
        }
    });
}

/// What a guest says of itself goes into columns that cannot hold everything.
const NUL: &str = r"
    (call $state_set (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 64))
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then unreachable))
    (call $say (i32.const 1024) (i32.const 3))
    (i32.store8 (i32.const 256) (i32.const 1))
    (i32.store8 (i32.const 260) (i32.const 1))
    (i32.store (i32.const 264) (i32.const 1024))
    (i32.store (i32.const 268) (i32.const 3))
    (return (i32.const 256))";

both_engines! {
    async fn a_nul_breaks_no_books(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let guest = guests::guest(r#"(data (i32.const 1024) "a\00b")"#, NUL, "");
        let agent = bea.publish("Nul", guest).await;
        let (session, mut events) = cleo.starts(&agent).await;
        // Neither a state key nor, on PostgreSQL, any text may hold it.
        for _ in 0..2 {
            cleo.says(&session, "go").await;
            assert_eq!(events.reply().await, "a\u{fffd}b");
            assert_eq!(events.until("message_failed").await["code"], "refused");
        }
        let receipt = bea.receipts(&agent, &session, 3).await.remove(2);
        assert_eq!(receipt["explanation"], "the agent cannot handle this event, and not later either: a\u{fffd}b");
    }
}
