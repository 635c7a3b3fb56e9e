//! What one agent leaves in memory, tables and on the stack, no other agent finds.

use crate::harness::{Engine, Platform, events::Bare, guests};
use aiybiz_host::sandbox::Outcome;

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

/// Agents of either kind. Together they are more than there are slots for memories in
/// the pool of one instance (with the trials' five times four): a slot that an agent
/// has left is given to another one sooner or later, not kept for it.
const AGENTS: usize = 16;

/// Events, two a round.
const ROUNDS: usize = 50_000;

#[test]
fn a_fresh_instance_is_all_zeros() {
    crate::harness::run(async {
        let platform = Platform::configured(Engine::Sqlite, |config| {
            config.pool.instances = 1;
            (config.limits.concurrent_events, config.limits.concurrent_events_total) = (1, 1);
            config.limits.warm_instances = 0;
            config.guest_threads = 1;
        });
        let platform = platform.await;
        let (mut untidy, mut curious) = (Vec::new(), Vec::new());
        for n in 0..AGENTS {
            untidy.push(agent(&platform, LITTER, n).await);
            curious.push(agent(&platform, LOOK, n).await);
        }
        for round in 0..ROUNDS {
            // Not in step: every one follows every other.
            let left = untidy[round % AGENTS].handle().await;
            assert_eq!(left.outcome, Outcome::Ok, "{}", left.explanation);
            let found = curious[(round * 7 + round / AGENTS) % AGENTS].handle().await;
            assert_eq!(found.outcome, Outcome::Ok, "round {round}: {}", found.explanation);
            assert_eq!(found.host_calls["session.reply"], 1);
        }
    });
}

async fn agent(platform: &Platform, (has, does): (&str, &str), n: usize) -> Bare {
    // The number makes it another component.
    let has = format!(r#"{has} (data (i32.const 2048) "{n}")"#);
    Bare::new(platform, &guests::guest(&has, does, "")).await
}
