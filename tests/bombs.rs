//! Uploads made to stall or crush the compiler: they end in a refusal that names
//! the limit, and the platform goes on answering beside them.

use crate::harness::{Engine, Events, Person, Platform, Value, guests};
use aiybiz_host::sandbox::Limits;
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Loops over locals: what the compiler needs grows with their product, so that
/// 331 KiB in one function cost it 13 s and 1 GiB when nobody stops it; and so do
/// many functions that each stay below what is allowed.
pub fn bomb(functions: usize, loops: usize) -> Vec<u8> {
    let mut body = String::new();
    for n in 0..loops {
        let (a, b) = (n % 500, (n * 7 + 3) % 500);
        let _ = write!(
            body,
            "loop local.get {a} local.get {b} i32.add local.set {a} local.get {a} br_if 0 end "
        );
    }
    let locals = "i32 ".repeat(500);
    let function = format!("(func (local {locals}) {body})");
    guests::guest(&function.repeat(functions), "", "")
}

/// Says something again and again until told to stop; returns how long each answer
/// took.
async fn chat(
    cleo: Person,
    session: String,
    mut events: Events,
    done: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut took = Vec::new();
    // Once at least, also when the upload is refused before the first word.
    while took.is_empty() || !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        cleo.says(&session, "still there?").await;
        assert_eq!(events.reply().await, "echo: still there?");
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort();
    took
}

/// Uploads it and returns what it was refused for; meanwhile somebody else chats.
async fn refused(wasm: Vec<u8>, change: impl FnOnce(&mut Limits)) -> String {
    let platform = Platform::start_with(Engine::Sqlite, change).await;
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let echo = bea.publish("Echo", guests::ECHO).await;
    let (session, events) = cleo.starts(&echo).await;
    let agent = bea.component_agent("Bomb").await;
    let done = Arc::new(AtomicBool::new(false));
    let chatting = tokio::spawn(chat(cleo, session, events, Arc::clone(&done)));

    let (size, begun) = (wasm.len() >> 10, Instant::now());
    let problem = bea.upload(&agent, wasm).await.problem(422, "component_refused");
    let passed = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    let took = chatting.await.expect("the chat goes on");
    let (half, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{size} KiB refused after {passed:?}; {} answers beside it, p50 {half:?}, max {worst:?}",
        took.len()
    );
    assert!(worst < Duration::from_secs(2), "{took:?}");
    let errors = problem["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0]["detail"].as_str().map(str::to_owned).unwrap_or_else(|| Value::to_string(&errors[0]))
}

#[test]
fn a_bomb_in_one_function_is_not_even_compiled() {
    crate::harness::run(async {
        let bomb = bomb(1, 20_000);
        assert!((300..400).contains(&(bomb.len() >> 10)), "{} bytes", bomb.len());
        let why = refused(bomb, |_| ()).await;
        assert!(why.contains("40000 blocks and branches over 500 locals"), "{why}");
    });
}

#[test]
fn a_bomb_that_takes_too_long_is_stopped() {
    crate::harness::run(async {
        let why = refused(bomb(40, 900), |limits| limits.compile_millis = 3_000).await;
        assert!(why.contains("compileMillis (3000)"), "{why}");
    });
}

#[test]
fn a_bomb_that_takes_too_much_memory_is_stopped() {
    crate::harness::run(async {
        let change = |limits: &mut Limits| limits.compile_memory_bytes = 256 << 20;
        let calls = "call $nothing ".repeat(400_000);
        let calls = guests::guest(&format!("(func $nothing) (func {calls})"), "", "");
        let why = refused(calls, change).await;
        assert!(why.contains("compileMemoryBytes (268435456)"), "{why}");
    });
}
