//! Under load and under attack for long: turns are taken, a platform that is stuck
//! takes the blame, and nothing is left behind.

use crate::harness::{Engine, Place, Platform, guests, memory, people::Person, process::Process};
use std::time::Duration;

const SPIN: &str = "(loop $l (br $l))";

#[test]
fn events_beyond_the_limit_wait_for_their_turn() {
    crate::harness::run(async {
        // One event of an agent at once, two in all.
        let platform = Platform::start_with(Engine::Sqlite, |limits| {
            limits.cpu_millis = 400;
            limits.concurrent_events = 1;
            limits.concurrent_events_total = 2;
        });
        let platform = platform.await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let spinner = bea.publish("Spinner", guests::on_message(SPIN)).await;
        let (first, _) = cleo.starts(&spinner).await;
        let (second, _) = cleo.starts(&spinner).await;
        let echo = bea.publish("Echo", guests::ECHO).await;
        let (third, mut events) = cleo.starts(&echo).await;
        cleo.says(&first, "go").await;
        cleo.says(&second, "go").await;
        cleo.says(&third, "hello").await;
        assert_eq!(events.reply().await, "echo: hello");
        let queued = async |agent: &str, session: &str| {
            let receipt = bea.receipts(agent, session, 2).await.remove(1);
            Duration::from_micros(receipt["queueMicros"].as_u64().expect("a number"))
        };
        // The second waited for the first, the echo for neither.
        let (a, b) = (queued(&spinner, &first).await, queued(&spinner, &second).await);
        assert!(a.max(b) > Duration::from_millis(200), "{a:?} {b:?}");
        let other = queued(&echo, &third).await;
        assert!(other < Duration::from_millis(200), "{other:?}");

        // Two spinners fill the platform: now it waits as well.
        let spinner = bea.publish("Another", guests::on_message(SPIN)).await;
        let (fourth, _) = cleo.starts(&spinner).await;
        cleo.says(&first, "go").await;
        cleo.says(&fourth, "go").await;
        while platform.host.sandbox.standing_in_all().running < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cleo.says(&third, "hello").await;
        assert_eq!(events.reply().await, "echo: hello");
        let receipt = bea.receipts(&echo, &third, 3).await.remove(2);
        assert!(receipt["queueMicros"].as_u64().expect("a number") > 100_000, "{receipt}");
    });
}

#[test]
fn a_platform_that_does_not_answer_in_time_takes_the_blame() {
    crate::harness::run(async {
        let change = |limits: &mut aiybiz_host::sandbox::Limits| limits.host_call_millis = 300;
        let platform = Platform::start_with(Engine::Sqlite, change).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let does =
            "(call $sleep (i64.const 300000000)) (call $say (local.get $text) (local.get $textn))";
        let agent = bea.publish("Slow", guests::on_message(does)).await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "hello").await;
        // While somebody holds the database's only pen, no reply can be stored.
        let pen = platform.host.db.write().await.expect("a transaction");
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        drop(pen);
        let receipt = bea.receipts(&agent, &session, 2).await.remove(1);
        assert_eq!(receipt["outcome"], "host_error", "{receipt}");
        let explanation = receipt["explanation"].as_str().expect("a sentence");
        assert!(explanation.starts_with("the host took too long to answer session.reply"));
        // It is not the agent's fault, so the agent gets another try.
        platform.clock.advance(Duration::from_secs(10));
        platform.host.due.notify_one();
        assert_eq!(events.reply().await, "hello");
        assert_eq!(bea.receipts(&agent, &session, 3).await[2]["outcome"], "ok");
    });
}

#[test]
fn a_reply_cut_off_by_a_crash_is_given_up() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let does = "(call $begin_reply (i32.const 64))
            (call $piece (i32.load (i32.const 68)) (local.get $text) (local.get $textn) (i32.const 96))
            unreachable";
        let agent = bea.publish("Half", guests::on_message(does)).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let said = cleo.says(&session, "half a sen").await;
        let delta = events.until("message_delta").await;
        assert_eq!(delta["text"], "half a sen");
        let gone = events.until("message_failed").await;
        assert_eq!(
            (&gone["messageId"], &gone["code"]),
            (&delta["messageId"], &"reply_abandoned".into())
        );
        let failed = events.until("message_failed").await;
        assert_eq!((&failed["messageId"], &failed["code"]), (&said["id"], &"trap".into()));
        // Who comes later is shown nothing of it as being written.
        let mut later = cleo.listens(&session, Some(events.last_id())).await;
        cleo.ends(&session).await;
        let kinds: Vec<_> = later.rest().await.iter().map(|heard| heard.kind.clone()).collect();
        assert_eq!(kinds, ["session_ended"]);
    });
}

/// What a process has: memory in use, open files, and threads.
struct Holdings {
    memory: u64,
    files: usize,
    threads: u64,
}

impl Holdings {
    fn of(process: &Process) -> Self {
        let process = process.id();
        Self {
            memory: memory::resident(process),
            files: memory::files(process),
            threads: memory::number(process, "Threads:"),
        }
    }
}

#[test]
fn two_hundred_attacks_leave_nothing_behind() {
    crate::harness::run(async {
        let place = Place::new(Engine::Sqlite).await;
        let process = Process::serve(&place);
        let (bea, cleo) = (
            Person::sign_up(&process.url, "Bea").await,
            Person::sign_up(&process.url, "Cleo").await,
        );
        bea.becomes_builder("Bea").await;
        let attacks = [
            "unreachable",
            // 100 MiB, all of it written to.
            "(drop (memory.grow (i32.const 1600)))
             (memory.fill (i32.const 8192) (i32.const 7) (i32.const 104857600)) unreachable",
            "(loop $l (call $begin_reply (i32.const 64)) (br $l))",
            "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ];
        let mut sessions = Vec::new();
        for attack in attacks {
            let agent = bea.publish("Attacker", guests::on_message(attack)).await;
            sessions.push(cleo.starts(&agent).await);
        }
        let mut before = None;
        for round in 0..60 {
            for (session, _) in &sessions {
                cleo.says(session, "go").await;
            }
            for (_, events) in &mut sessions {
                events.until("message_failed").await;
            }
            if round == 9 {
                before = Some(Holdings::of(&process));
            }
        }
        let (before, after) = (before.expect("ten rounds"), Holdings::of(&process));
        let grown = after.memory.saturating_sub(before.memory) >> 20;
        println!("200 attacks: {} MiB before, {grown} MiB more after", before.memory >> 20);
        assert!(grown < 32, "{grown} MiB more");
        assert!(after.files <= before.files + 8, "{} files, then {}", before.files, after.files);
        assert!(
            after.threads <= before.threads + 8,
            "{} threads, then {}",
            before.threads,
            after.threads
        );
    });
}
