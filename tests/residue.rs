//! What one agent leaves in memory, tables and on the stack, no other agent finds.

use crate::harness::{Engine, Platform, guests};
use aiybiz_host::{
    id::AgentId,
    sandbox::{Author, Component, Event, Facts, Job, Limits, Message, Nothing, Outcome, Receipt},
};
use std::sync::Arc;

/// Fills what it has with a pattern: its memory, 1 MiB of it grown; its table; the
/// stack, by a recursion with many locals; globals go with the instance.
const LITTER: (&str, &str) = (
    r"(table $t 8 funcref)
       (elem declare func $deep)
       (func $deep (param $n i32) (param $x i64) (result i64)
         (local $a i64) (local $b i64) (local $c i64)
         (local.set $a (i64.xor (local.get $x) (i64.const 0x5ec2e75ec2e75ec2)))
         (local.set $b (i64.add (local.get $a) (i64.const 1)))
         (if (local.get $n) (then
           (local.set $c (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $b)))))
         (i64.add (i64.add (local.get $a) (local.get $b)) (local.get $c)))",
    r"(drop (memory.grow (i32.const 16)))
       (memory.fill (i32.const 8192) (i32.const 0x5e) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8192)))
       (drop (table.grow $t (ref.func $deep) (i32.const 500)))
       (table.fill $t (i32.const 0) (ref.func $deep) (table.size $t))
       (i64.store (i32.const 8192) (call $deep (i32.const 500) (i64.const 7)))",
);

/// Looks at everything it is given and may grow; says "clean", or crashes where it
/// found something. Function locals are zero by definition; the stack under them
/// cannot be read by a guest at all.
const LOOK: (&str, &str) = (
    r#"(table $t 8 funcref)
       (data (i32.const 1024) "clean")"#,
    r"(drop (memory.grow (i32.const 16)))
       (drop (table.grow $t (ref.null func) (i32.const 500)))
       (local.set $idn (i32.const 8192))
       (loop $next
         (if (i64.ne (i64.load (local.get $idn)) (i64.const 0)) (then unreachable))
         (local.set $idn (i32.add (local.get $idn) (i32.const 8)))
         (br_if $next (i32.lt_u (local.get $idn) (i32.mul (memory.size) (i32.const 65536)))))
       (local.set $idn (i32.const 0))
       (loop $next
         (if (i32.eqz (ref.is_null (table.get $t (local.get $idn)))) (then unreachable))
         (local.set $idn (i32.add (local.get $idn) (i32.const 1)))
         (br_if $next (i32.lt_u (local.get $idn) (table.size $t))))
       (call $say (i32.const 1024) (i32.const 5))",
);

/// Events in turns: five thousand, on as few slots as there can be.
const ROUNDS: usize = 2_500;

#[test]
fn a_fresh_instance_is_all_zeros() {
    crate::harness::run(async {
        // Without sessions, for speed: what is asked here is the pool's business.
        let few = |limits: &mut Limits| {
            (limits.concurrent_events, limits.concurrent_events_total) = (1, 1);
        };
        let platform = Platform::start_with(Engine::Sqlite, few).await;
        let untidy = ready(&platform, LITTER).await;
        let curious = ready(&platform, LOOK).await;
        for round in 0..ROUNDS {
            let left = handle(&platform, &untidy).await;
            assert_eq!(left.outcome, Outcome::Ok, "{}", left.explanation);
            let found = handle(&platform, &curious).await;
            assert_eq!(found.outcome, Outcome::Ok, "round {round}: {}", found.explanation);
            assert_eq!(found.host_calls["session.reply"], 1);
        }
    });
}

async fn ready(platform: &Platform, (has, does): (&str, &str)) -> (AgentId, Arc<Component>) {
    let sandbox = &platform.host.sandbox;
    let upload = bytes::Bytes::from(guests::guest(has, does, ""));
    let (upload, limits) = (sandbox.spooled(&upload).await.expect("a file"), sandbox.limits());
    let admitted = sandbox.admit(sandbox.turn().await, &upload, limits).await;
    assert_eq!(admitted.expect("it was looked at").inspection.problems, []);
    let component = sandbox.load(&upload.sha256, limits, std::future::pending()).await;
    (platform.clock.id(), component.expect("it is ready"))
}

async fn handle(platform: &Platform, (agent, component): &(AgentId, Arc<Component>)) -> Receipt {
    let now = platform.clock.now();
    let job = Job {
        event: Event::Message(Message {
            id: "1".into(),
            author: Author::Client,
            content: "go".into(),
            created_at: now,
        }),
        facts: Facts { session_id: "1".into(), started_at: now, event_id: "1".into(), attempt: 1 },
        scope: Arc::new(Nothing),
        limits: Arc::clone(platform.host.sandbox.limits()),
        keep: None,
    };
    let handled = platform.host.sandbox.handle(*agent, Arc::clone(component), job).await;
    handled.expect("a place")
}
