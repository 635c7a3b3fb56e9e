//! The example guests, in four languages, answer; and the shape limits on uploads
//! leave room for what their compilers write.
//!
//! JavaScript and Python are built by `guest-examples/build`, which takes a minute
//! and needs Node.js and Python. Where they were not built the tests say so and
//! pass; under CI they fail.

use crate::harness::{Engine, Events, Person, Platform, guests, json, node::Server, people::Id};
use aiybiz_host::sandbox::{
    FUNCTION_BYTES, FUNCTION_KNOTS, FUNCTION_LOCALS, FUNCTIONS, Limits, MODULES, inspect,
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use wasmparser::{Instance, Parser, Payload};

/// What the handler that is component and webhook is asked.
const QUESTIONS: [&str; 3] = ["hello", "näher, ☕ bitte", "two\nlines"];

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest-examples")
}

/// A guest that has to be built first. Says so, loudly, when it was not.
fn built(file: &str) -> Option<Vec<u8>> {
    let found = std::fs::read(examples().join("out").join(file)).ok();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{file} is not built, and this is CI");
        eprintln!("{file} is not built (guest-examples/build): nothing of it was tested");
    }
    found
}

/// A platform with patience: on a busy machine compiling these takes a minute.
async fn platform() -> Platform {
    Platform::start_with(Engine::Sqlite, |limits| limits.compile_millis = 300_000).await
}

/// Publishes a guest however long it takes, and opens a session with it.
async fn starts(bea: &Person, cleo: &Person, wasm: Vec<u8>) -> (String, String, Events) {
    let agent = bea.component_agent("Guest").await;
    bea.upload(&agent, wasm).await.created();
    let path = format!("/builder/agents/{agent}/components/1");
    let version = loop {
        let version = bea.get(&path).await.ok();
        if version["state"] == "ready" || version["state"] == "refused" {
            break version;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(version["state"], "ready", "{version}");
    println!("{} KiB: {}", version["sizeBytes"].as_u64().unwrap_or(0) >> 10, version["compile"]);
    bea.post(&format!("{path}/activate"), json!({})).await.ok();
    bea.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
    let (session, events) = cleo.starts(&agent).await;
    (agent, session, events)
}

/// What it answers to all of these, and how its events went.
async fn answers(
    (bea, cleo): (&Person, &Person),
    (agent, session, mut events): (String, String, Events),
    questions: &[&str],
) -> Vec<String> {
    let mut all = Vec::new();
    for question in questions {
        cleo.says(&session, question).await;
        all.push(events.reply().await);
    }
    for receipt in bea.receipts(&agent, &session, questions.len() + 1).await {
        assert_eq!(receipt["outcome"], "ok", "{receipt}");
        println!(
            "  {} µs to instantiate, {} µs CPU, {} KiB, {}% of memory left",
            receipt["instantiateMicros"],
            receipt["cpuMicros"],
            receipt["peakMemoryBytes"].as_u64().unwrap_or(0) >> 10,
            receipt["headroom"]["memoryBytes"],
        );
    }
    cleo.ends(&session).await;
    all
}

async fn all_answer(wasm: Vec<u8>, prefix: &str) {
    let platform = platform().await;
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let started = starts(&bea, &cleo, wasm).await;
    let said = answers((&bea, &cleo), started, &QUESTIONS).await;
    assert_eq!(said, QUESTIONS.map(|question| format!("{prefix}{question}")));
}

/// What they set up when they start is there for the next message.
#[test]
fn language_runtimes_can_be_kept() {
    crate::harness::run(async {
        let platform = platform().await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        for file in ["js-quickjs.wasm", "js-starling.wasm", "python.wasm"] {
            let Some(wasm) = built(file) else { continue };
            let (agent, session, mut events) = starts(&bea, &cleo, wasm).await;
            let path = format!("/builder/agents/{agent}/components/1");
            bea.patch(&path, json!({ "warm": true })).await.ok();
            for said in QUESTIONS {
                cleo.says(&session, said).await;
                events.reply().await;
            }
            let receipts = bea.receipts(&agent, &session, 4).await;
            let kept: Vec<_> = receipts.iter().map(|receipt| receipt["warm"].clone()).collect();
            assert_eq!(kept, [false, false, true, true].map(|warm| json!(warm)), "{file}");
        }
    });
}

#[test]
fn rust_answers() {
    crate::harness::run(async {
        all_answer(guests::ECHO.to_vec(), "echo: ").await;
        let platform = platform().await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let started = starts(&bea, &cleo, guests::LIBRARIAN.to_vec()).await;
        let said = answers((&bea, &cleo), started, &["hello"]).await;
        assert!(said[0].starts_with("Hello! message #1\n"), "{said:?}");
    });
}

#[test]
fn python_answers() {
    crate::harness::run(async {
        if let Some(wasm) = built("python.wasm") {
            all_answer(wasm, "py: ").await;
        }
    });
}

/// One file, three ways to run it: two engines in the sandbox, and a server of the
/// builder's own.
#[test]
fn one_javascript_handler_answers_the_same_everywhere() {
    crate::harness::run(async {
        let (Some(starling), Some(quickjs)) = (built("js-starling.wasm"), built("js-quickjs.wasm"))
        else {
            return;
        };
        let platform = platform().await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let expected = QUESTIONS.map(|question| format!("js: {question}"));
        for wasm in [starling, quickjs] {
            let started = starts(&bea, &cleo, wasm).await;
            assert_eq!(answers((&bea, &cleo), started, &QUESTIONS).await, expected);
        }

        let (agent, secret) = bea.publish_webhook("Node", "http://127.0.0.1:9/", "none").await;
        let server = Server::start(&platform.url, &secret);
        let change = json!({ "webhookUrl": server.address });
        assert_eq!(bea.patch(&format!("/builder/agents/{agent}"), change).await.ok().id(), agent);
        let (session, mut events) = cleo.starts(&agent).await;
        for (question, answer) in QUESTIONS.iter().zip(expected) {
            cleo.says(&session, question).await;
            assert_eq!(events.reply().await, answer);
        }
    });
}

/// The largest of each that a guest has.
#[derive(Debug, Default)]
struct Shape {
    function_bytes: usize,
    locals: u64,
    /// Blocks, loops and branches of a function times its locals.
    knots: u64,
    functions: u64,
    modules: usize,
    instances: usize,
    memories: usize,
    tables: usize,
    table_elements: u64,
    imports: usize,
    depth: usize,
}

impl Shape {
    fn of(upload: &[u8]) -> Self {
        let component =
            if Parser::is_core_wasm(upload) { guests::component(upload) } else { upload.to_vec() };
        let (mut shape, mut depth) = (Self::default(), 0);
        for payload in Parser::new(0).parse_all(&component) {
            match payload.expect("valid") {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                    shape.modules += usize::from(encoding == wasmparser::Encoding::Module);
                }
                Payload::End(_) => depth -= 1,
                Payload::CodeSectionStart { count, .. } => shape.functions += u64::from(count),
                Payload::CodeSectionEntry(body) => {
                    shape.function_bytes = shape.function_bytes.max(body.as_bytes().len());
                    let groups = body.get_locals_reader().expect("valid").into_iter();
                    let locals = groups.map(|group| u64::from(group.expect("valid").0)).sum();
                    shape.locals = shape.locals.max(locals);
                    let operators = body.get_operators_reader().expect("valid").into_iter();
                    let knots = operators.filter(|operator| {
                        use wasmparser::Operator::{Block, BrIf, BrTable, If, Loop};
                        let operator = operator.as_ref().expect("valid");
                        matches!(
                            operator,
                            Block { .. } | Loop { .. } | If { .. } | BrIf { .. } | BrTable { .. }
                        )
                    });
                    shape.knots = shape.knots.max(knots.count() as u64 * locals);
                }
                Payload::MemorySection(section) => shape.memories += section.count() as usize,
                Payload::TableSection(section) => {
                    shape.tables += section.count() as usize;
                    for table in section {
                        shape.table_elements += table.expect("valid").ty.initial;
                    }
                }
                Payload::InstanceSection(section) => {
                    let made =
                        |instance: &Instance<'_>| matches!(instance, Instance::Instantiate { .. });
                    shape.instances +=
                        section.into_iter().filter(|i| i.as_ref().is_ok_and(made)).count();
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    shape.imports += section.count() as usize;
                }
                _ => {}
            }
        }
        shape
    }
}

#[test]
fn real_guests_have_room_to_grow_to_twice_their_shape() {
    let names = ["python.wasm", "js-starling.wasm", "js-quickjs.wasm"];
    let rust = [("echo", guests::ECHO.to_vec()), ("librarian", guests::LIBRARIAN.to_vec())];
    let others = names.into_iter().filter_map(|name| Some((name, built(name)?)));
    for (name, wasm) in rust.into_iter().chain(others) {
        let shape = Shape::of(&wasm);
        let begun = Instant::now();
        let found = inspect(&wasm, &Limits::default());
        println!("{name}: read in {:?}, {shape:?}", begun.elapsed());
        assert_eq!(found.problems, [], "{name}");
        assert!(shape.knots * 2 <= FUNCTION_KNOTS, "{name}");
        assert!(shape.function_bytes as u64 * 2 <= FUNCTION_BYTES, "{name}");
        assert!(shape.locals * 2 <= FUNCTION_LOCALS, "{name}");
        assert!(shape.functions * 2 <= FUNCTIONS, "{name}");
        assert!(shape.modules as u64 * 2 <= MODULES, "{name}");
    }
}
