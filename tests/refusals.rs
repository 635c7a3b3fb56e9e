//! Uploads that are refused: each with everything that is wrong with it named, and
//! nothing that could be activated.

use crate::harness::{Engine, Person, Platform, Value, guests, json, program};
use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Uploads it, expects a refusal, and returns what is said to be wrong.
async fn refused(bea: &Person, agent: &str, what: &str, wasm: Vec<u8>) -> Vec<(String, String)> {
    let answer = bea.upload(agent, wasm).await;
    assert_eq!(answer.status, 422, "{what}: {}", answer.text);
    let errors = answer.problem(422, "component_refused")["errors"].clone();
    // It is on record as refused, and stays out of use.
    let path = format!("/builder/agents/{agent}/components");
    let version = bea.get(&format!("{path}?limit=1")).await.ok()["data"][0].clone();
    assert_eq!((&version["state"], &version["problems"]), (&json!("refused"), &errors), "{what}");
    let path = format!("{path}/{}", version["version"]);
    assert_eq!(bea.get(&path).await.ok(), version, "{what}");
    bea.post(&format!("{path}/activate"), json!({})).await.problem(409, "version_not_ready");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let errors = errors.as_array().expect("a list").iter();
    errors.map(|error| (text(&error["pointer"]), text(&error["detail"]))).collect()
}

/// A component without anything, nested so deep; each level's length goes before it.
fn nested(depth: usize) -> Vec<u8> {
    const EMPTY: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    // From the inside out, back to front.
    let mut reversed: Vec<u8> = EMPTY.iter().rev().copied().collect();
    for _ in 0..depth {
        let mut length = Vec::new();
        let mut rest = reversed.len();
        while rest >= 0x80 {
            length.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        length.push(rest as u8);
        reversed.extend(length.iter().rev());
        reversed.push(4); // section: component
        reversed.extend(EMPTY.iter().rev());
    }
    reversed.reverse();
    reversed
}

/// Machine code, as the platform's own compiler writes it.
fn machine_code() -> Vec<u8> {
    let mut worker = Command::new(program())
        .args(["compile-worker", "{}", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the worker");
    let mut input = worker.stdin.take().expect("a pipe");
    input.write_all(&guests::component(guests::ECHO)).expect("it reads");
    drop(input);
    worker.wait_with_output().expect("it ends").stdout
}

/// An agent with one function of its own.
fn with_function(function: &str) -> Vec<u8> {
    guests::guest(function, "", "")
}

#[test]
fn what_is_no_agent_is_refused() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Refused").await;
        let echo = guests::component(guests::ECHO);
        let elf = std::fs::read(program()).expect("the program")[..4096].to_vec();
        let other_world = guests::with_world(
            r#"(module (func (export "run")))"#,
            "package some:other; world other { export run: func(); }",
            "other",
        );
        let newer = guests::WIT.replace("package aiybiz:agent@0.1.0", "package aiybiz:agent@0.2.0");
        let newer = newer.replace("version = 0.1.0", "version = 0.2.0");
        let newer = guests::with_world(
            &"(module (memory (export \"memory\") 1)
              (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable)
              (func (export \"H#on-session-started\") (result i32) unreachable)
              (func (export \"H#on-message\") (param i32 i32 i32 i32 i32 i64 i32 i32) (result i32) unreachable)
              (func (export \"H#on-session-ended\") (param i32) (result i32) unreachable))"
                .replace("H#", "aiybiz:agent/handler@0.2.0#"),
            &newer,
            "agent",
        );
        let nops = |n: usize| format!("(func {})", "nop ".repeat(n));
        let locals = |n: usize| format!("(func (local {}))", "i32 ".repeat(n));
        let cases: [(&str, Vec<u8>, (&str, &str)); 17] = [
            ("a text", b"Call me Ishmael.".to_vec(), ("body", "is not WebAssembly")),
            ("nothing", Vec::new(), ("body", "is not WebAssembly")),
            ("a component cut short", echo[..echo.len() / 2].to_vec(), ("body", "unexpected end")),
            ("a module cut short", guests::ECHO[..2_000].to_vec(), ("body", "unexpected end")),
            (
                "a module without a world",
                wat::parse_str("(module)").expect("text"),
                ("aiybiz:agent/handler@0.1.0", "must be exported"),
            ),
            ("another world", other_world, ("aiybiz:agent/handler@0.1.0", "must be exported")),
            ("a newer world", newer, ("aiybiz:agent/handler@0.2.0", "it serves 0.1")),
            ("machine code", machine_code(), ("body", "precompiled by Wasmtime")),
            ("a program", elf, ("body", "")),
            ("nested too deep", nested(20), ("body", "nests components deeper than 10")),
            ("nested far too deep", nested(200_000), ("body", "nests components deeper than 10")),
            ("a function too big", with_function(&nops(1 << 20)), ("body", "has a function of")),
            ("too many locals", with_function(&locals(20_000)), ("body", "20000 locals")),
            (
                "a memory too large",
                guests::core(
                    &guests::text("", "", "").replace("\"memory\") 2", "\"memory\") 4000"),
                ),
                ("body", "more than memoryBytes (134217728)"),
            ),
            (
                "a table too large",
                with_function("(table 60000 funcref)"),
                ("body", "more than tableElements (50000)"),
            ),
            (
                "never done starting",
                with_function("(func $start (loop $l (br $l))) (start $start)"),
                ("body", "cannot be instantiated: the CPU budget is used up"),
            ),
            (
                "crashing on start",
                with_function("(func $start unreachable) (start $start)"),
                ("body", "cannot be instantiated"),
            ),
        ];
        for (what, wasm, (pointer, detail)) in cases {
            let errors = refused(&bea, &agent, what, wasm).await;
            let last = errors.last().expect("a reason");
            assert_eq!(last.0, pointer, "{what}: {errors:?}");
            assert!(last.1.contains(detail), "{what}: {errors:?}");
        }
        // After all that the same agent takes a good one.
        bea.install(&agent, guests::ECHO).await;
    });
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Refused").await;
        // Interfaces nobody offers, of three kinds.
        let unknown = r#"(component
            (import "acme:tools/clock@1.0.0" (instance (export "now" (func))))
            (import "wasi:keyvalue/store@0.2.0" (instance (export "get" (func))))
            (import "aiybiz:agent/telepathy@0.1.0" (instance (export "read" (func)))))"#;
        let errors = refused(&bea, &agent, "unknown", wat::parse_str(unknown).expect("text")).await;
        let pointers: Vec<_> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "acme:tools/clock@1.0.0",
                "wasi:keyvalue/store@0.2.0",
                "aiybiz:agent/telepathy@0.1.0",
                "aiybiz:agent/handler@0.1.0",
            ]
        );
        // Known interfaces with functions that are not there or not of this type.
        let wrong = r#"(component
            (import "aiybiz:agent/session@0.1.0" (instance
              (export "whisper" (func (param "content" string)))
              (export "id" (func (result u64)))))
            (import "aiybiz:agent/log@0.1.0" (instance (export "write" (func (param "message" string)))))
            (core module $m
              (func (export "message") (param i32))
              (func (export "ended")))
            (core instance $i (instantiate $m))
            (func $message (param "message" u32) (canon lift (core func $i "message")))
            (func $ended (canon lift (core func $i "ended")))
            (instance (export "aiybiz:agent/handler@0.1.0")
              (export "on-message" (func $message))
              (export "on-session-ended" (func $ended))))"#;
        let errors = refused(&bea, &agent, "wrong", wat::parse_str(wrong).expect("text")).await;
        let said = |pointer: &str| {
            let mut found = errors.iter().filter(|(name, _)| name == pointer);
            let detail =
                found.next().unwrap_or_else(|| panic!("no {pointer} in {errors:?}")).1.clone();
            assert!(found.next().is_none(), "{errors:?}");
            detail
        };
        assert!(said("aiybiz:agent/session@0.1.0#whisper").contains("does not offer"));
        assert_eq!(
            said("aiybiz:agent/session@0.1.0#id"),
            "has the type func() -> u64; the platform's is func() -> string"
        );
        assert!(
            said("aiybiz:agent/log@0.1.0#write").contains("enum{trace, debug, info, warn, error}")
        );
        let on_message = said("aiybiz:agent/handler@0.1.0#on-message");
        assert!(on_message.starts_with("has the type func(message: u32); "), "{on_message}");
        assert!(
            said("aiybiz:agent/handler@0.1.0#on-session-ended").contains("has the type func();")
        );
        assert_eq!(said("aiybiz:agent/handler@0.1.0#on-session-started"), "must be exported");
        assert_eq!(errors.len(), 6, "{errors:?}");
    });
}

/// Types within types: 5 KB that would be 30 MB when written out, and gigabytes with
/// longer names.
#[test]
fn a_type_that_explodes_is_only_another_type() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Refused").await;
        let mut wit = "package aiybiz:agent@0.1.0;
            interface handler { on-message: func(a: t14); on-session-started: func(); on-session-ended: func();\n"
            .to_owned();
        let name = "n".repeat(2_000);
        let _ = writeln!(wit, "record t0 {{ {name}: u8 }}");
        for n in 1..15 {
            let _ = writeln!(wit, "record t{n} {{ a: t{0}, b: t{0} }}", n - 1);
        }
        wit.push_str("}\nworld agent { export handler; }");
        let module = r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "aiybiz:agent/handler@0.1.0#on-session-started"))
            (func (export "aiybiz:agent/handler@0.1.0#on-session-ended"))
            (func (export "aiybiz:agent/handler@0.1.0#on-message") (param i32)))"#;
        let bomb = guests::with_world(module, &wit, "agent");
        assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
        let begun = Instant::now();
        let errors = refused(&bea, &agent, "exploding", bomb).await;
        let passed = begun.elapsed();
        println!("refused after {passed:?}");
        assert!(passed < Duration::from_secs(5), "{passed:?}");
        let (pointer, detail) = &errors[0];
        assert_eq!(pointer, "aiybiz:agent/handler@0.1.0#on-message", "{detail}");
        assert!(detail.contains("func(a: record{a: record{a: record{"), "{detail}");
        assert!(detail.len() < 10_000, "{} bytes", detail.len());
    });
}

#[test]
fn too_much_and_of_the_wrong_kind() {
    crate::harness::run(async {
        let change = |limits: &mut aiybiz_host::sandbox::Limits| limits.component_bytes = 20_000;
        let platform = Platform::start_with(Engine::Sqlite, change).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Refused").await;
        let answer = bea.upload(&agent, vec![0; 20_001]).await;
        let problem = answer.problem(413, "component_too_large");
        assert!(
            problem["detail"].as_str().is_some_and(|text| text.contains("componentBytes (20000)"))
        );
        let path = format!("/builder/agents/{agent}/components");
        bea.post(&path, json!({ "wasm": "AGFzbQ==" })).await.problem(415, "not_wasm");
        // Nothing of it became a version.
        assert_eq!(bea.get(&path).await.ok()["data"], json!([]));
    });
}

/// Found by the fuzz target `upload`: the tool that wraps a module went round such
/// packages until its stack overflowed.
#[test]
fn packages_that_need_each_other_are_refused() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Round").await;
        let one =
            "package a:x; interface i { use b:y/j.{t}; f: func() -> t; } world one { import i; }
            package b:y { interface j { record t { n: u8 } } }";
        let other =
            "package b:y; interface k { use a:x/l.{t}; f: func() -> t; } world other { import k; }
            package a:x { interface l { record t { n: u8 } } }";
        // Each description alone is fine; a module may carry several.
        let module = guests::describe(guests::with_world("(module)", one, "one"), other, "other");
        let problem = bea.upload(&agent, module).await.problem(422, "component_refused");
        let detail = problem["errors"][0]["detail"].as_str().expect("a text");
        assert!(
            detail.contains("describes a package a:x that in the end needs itself"),
            "{detail}"
        );
    });
}
