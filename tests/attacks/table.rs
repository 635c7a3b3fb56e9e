//! What hostile guests do, and how it ends.

/// A guest that behaves until a message begins with `a`.
pub struct Attack {
    pub name: &'static str,
    /// Functions, globals and data of its own.
    pub has: &'static str,
    pub does: &'static str,
    /// How the event ends, and a part of the receipt's explanation.
    pub outcome: &'static str,
    pub because: &'static str,
}

const fn attack(
    name: &'static str,
    (has, does): (&'static str, &'static str),
    (outcome, because): (&'static str, &'static str),
) -> Attack {
    Attack { name, has, does, outcome, because }
}

pub const ATTACKS: [Attack; 26] = [
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
    attack(
        "copies its memory for ever",
        (
            "",
            "(loop $l (memory.copy (i32.const 8192) (i32.const 8193) (i32.const 120000)) (br $l))",
        ),
        ("cpu", "cpuMillis (100)"),
    ),
    attack(
        "fills a table for ever",
        (
            "(table $t 500 funcref)",
            "(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 500)) (br $l))",
        ),
        ("cpu", "cpuMillis (100)"),
    ),
    attack(
        "spins when it is cleaned up after",
        (
            r#"(global $stuck (mut i32) (i32.const 0))
               (func (export "cabi_post_aiybiz:agent/handler@0.1.0#on-message") (param i32)
                 (if (global.get $stuck) (then (loop $l (br $l)))))"#,
            "(global.set $stuck (i32.const 1))",
        ),
        ("cpu", "cpuMillis (100)"),
    ),
    attack(
        "prints for ever",
        (
            "",
            "(local.set $idn (call $stdout))
             (loop $l (call $write (local.get $idn) (local.get $text) (local.get $textn) (i32.const 64))
               (br $l))",
        ),
        ("cpu", "cpuMillis (100)"),
    ),
    attack(
        "says what is no text",
        ("", "(i32.store8 (i32.const 8192) (i32.const 255)) (call $say (i32.const 8192) (i32.const 1))"),
        ("trap", "the agent crashed"),
    ),
    attack(
        "wants its answer at an odd address",
        ("", "(call $reply (local.get $text) (local.get $textn) (i32.const 65))"),
        ("trap", "the agent crashed"),
    ),
    attack(
        "passes a list of two billion",
        (
            "",
            "(call $log (i32.const 2) (local.get $text) (local.get $textn)
               (i32.const 8192) (i32.const 0x7fffffff))",
        ),
        ("trap", "the agent crashed"),
    ),
    attack(
        "passes one text a thousand times at once",
        (
            "",
            "(local.set $idn (i32.const 8192))
             (loop $l
               (i32.store (local.get $idn) (i32.const 40000))
               (i32.store (i32.add (local.get $idn) (i32.const 4)) (i32.const 80000))
               (local.set $idn (i32.add (local.get $idn) (i32.const 16)))
               (br_if $l (i32.lt_u (local.get $idn) (i32.const 24192))))
             (call $log (i32.const 2) (local.get $text) (local.get $textn)
               (i32.const 8192) (i32.const 1000))",
        ),
        ("budget", "hostCallBytes (524288)"),
    ),
    attack(
        "gives a failure of 600 KiB",
        (
            "",
            "(drop (memory.grow (i32.const 12)))
             (i32.store8 (i32.const 1024) (i32.const 1))
             (i32.store8 (i32.const 1028) (i32.const 1))
             (i32.store (i32.const 1032) (i32.const 8192))
             (i32.store (i32.const 1036) (i32.const 614400))
             (return (i32.const 1024))",
        ),
        ("budget", "hostCallBytes (524288)"),
    ),
    attack(
        "writes to a reply that it has dropped",
        (
            "",
            "(call $begin_reply (i32.const 64))
             (call $forget (i32.load (i32.const 68)))
             (call $piece (i32.load (i32.const 68)) (local.get $text) (local.get $textn) (i32.const 80))",
        ),
        ("trap", "the agent crashed"),
    ),
    attack(
        "drops a reply twice",
        (
            "",
            "(call $begin_reply (i32.const 64))
             (call $forget (i32.load (i32.const 68)))
             (call $forget (i32.load (i32.const 68)))",
        ),
        ("trap", "the agent crashed"),
    ),
    attack(
        "sets alarms for ever",
        ("", "(loop $l (drop (call $after (i64.const 1))) (br $l))"),
        ("budget", "handles (20)"),
    ),
];
