//! How fast the main path is, each figure beside its own floor in the same run.
//!
//! `cargo bench` (with PostgreSQL synced: `AIYBIZ_TEST_DURABLE=1 cargo bench`).
//! Nothing is asserted: machines differ, and so do neighbours. Clients, webhook
//! agents and the platform share the machine.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../../tests/harness/mod.rs"]
mod harness;

use aiybiz_host::{
    clock::Clock,
    config::Config,
    id::AgentId,
    sandbox::{Author, Event, Facts, Job, Limits, Message, Nothing},
    storage::Db,
};
use harness::{Engine, Person, Place, Platform, guests, json, webhook::WebhookAgent};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    harness::run(async {
        if wanted("event") {
            fresh_event().await;
        }
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if engine == Engine::Postgres && !harness::postgres::available() {
                continue;
            }
            if wanted("latency") {
                latency(engine).await;
            }
            if wanted("throughput") {
                throughput(engine).await;
            }
        }
        if wanted("neighbour") {
            neighbours().await;
        }
        if wanted("memory") {
            memory().await;
        }
    });
}

fn title(text: &str) {
    println!("\n{text}");
}

fn row(name: &str, text: &str) {
    println!("  {name:<44} {text}");
}

/// Median and 99th percentile.
fn spread(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// Runs `work` so many times and tells how long each took.
async fn timed<F: Future>(times: usize, mut work: impl FnMut() -> F) -> Vec<Duration> {
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        work().await;
        all.push(begun.elapsed());
    }
    all
}

fn show(name: &str, mut times: Vec<Duration>) -> Duration {
    let (p50, p99) = spread(&mut times);
    row(name, &format!("p50 {:7.0} µs   p99 {:7.0} µs", micros(p50), micros(p99)));
    p50
}

/// Events in fresh instances: the sandbox with all its limits and its receipt,
/// beside a bare loop over the same component with the best settings known.
async fn fresh_event() {
    const EVENTS: u64 = 100_000;
    title("Events in fresh instances (echo, 29 KB of Rust), on one and on two threads");
    for (name, guest) in [("echo", guests::ECHO)] {
        let mut bare_one = 0.0;
        for threads in [1, 2] {
            let loops = bare::Loop::new(guest, threads);
            let bare = rate(EVENTS, async || bare::Loop::run(&loops, EVENTS)).await;
            let sandboxed = sandboxed(guest, threads, EVENTS).await;
            if threads == 1 {
                bare_one = bare.cpu;
            }
            row(&format!("{name}, bare loop, {threads} threads"), &bare.to_string());
            row(&format!("{name}, sandbox, {threads} threads"), &sandboxed.to_string());
            row(
                "CPU, as multiple of the bare loop on one",
                &format!("{:.2}", sandboxed.cpu / bare_one),
            );
        }
    }
}

/// How much was done in a second, and what it cost.
struct Rate {
    each: f64,
    cpu: f64,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:8.0} /s   {:6.1} µs CPU each", self.each, self.cpu)
    }
}

async fn rate(events: u64, work: impl AsyncFnOnce()) -> Rate {
    let (begun, cpu) = (Instant::now(), cpu_time());
    work().await;
    let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
    Rate { each: events as f64 / took.as_secs_f64(), cpu: micros(cpu) / events as f64 }
}

/// So many events through a sandbox with so many threads, enough of them waiting
/// that no thread is ever idle.
async fn sandboxed(guest: &'static [u8], threads: usize, events: u64) -> Rate {
    const AT_ONCE: u64 = 32;
    let change = |config: &mut Config| config.guest_threads = threads;
    let platform = Platform::configured(Engine::Sqlite, change).await;
    let sandbox = Arc::clone(&platform.host.sandbox);
    let limits = sandbox.limits();
    let upload = sandbox.spooled(&guest.into()).await.expect("a file");
    sandbox.admit(sandbox.turn().await, &upload, limits).await.expect("a compiler");
    let component = sandbox.load(&upload.sha256, limits, async { unreachable!() }).await;
    let component = component.expect("ready");
    let agent: AgentId = Clock::default().id();
    let one = move || {
        let (sandbox, component) = (Arc::clone(&sandbox), Arc::clone(&component));
        async move {
            let job = job(sandbox.limits());
            let receipt = sandbox.handle(agent, component, job).await.expect("a place");
            assert_eq!(
                receipt.outcome,
                aiybiz_host::sandbox::Outcome::Ok,
                "{}",
                receipt.explanation
            );
        }
    };
    let all = async |each: u64| {
        let stream = |_| {
            let one = one.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    one().await;
                }
            })
        };
        futures::future::join_all((0..AT_ONCE).map(stream)).await;
    };
    all(100).await;
    rate(events, async || all(events / AT_ONCE).await).await
}

fn job(limits: &Arc<Limits>) -> Job {
    let now = Clock::default().now();
    Job {
        event: Event::Message(Message {
            id: "m".into(),
            author: Author::Client,
            content: "hello".into(),
            created_at: now,
        }),
        facts: Facts { session_id: "s".into(), started_at: now, event_id: "e".into(), attempt: 1 },
        scope: Arc::new(Nothing),
        limits: Arc::clone(limits),
        keep: None,
    }
}

/// From POST to the reply on the stream, one message at a time.
async fn latency(engine: Engine) {
    title(&format!("POST of a message to the reply on the stream, one at a time, {engine:?}"));
    let http = bare_http().await;
    let commit = bare_commit(engine).await;
    let platform = Platform::start(engine).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let component = conversation(&client, &echo, 2_000, Duration::ZERO).await;
    let component = show("through a component, without a pause", component);
    // A pause lets the platform write down how the last event went; without one that
    // commit is in the next message's way.
    let calm = conversation(&client, &echo, 500, Duration::from_millis(5)).await;
    let calm = show("through a component, 5 ms apart", calm);
    let hook = WebhookAgent::echo(&platform.url).await;
    let (hook, _) = builder.publish_webhook("Hook", &hook.address, "none").await;
    let webhook = conversation(&client, &hook, 2_000, Duration::ZERO).await;
    let webhook = show("through a loopback webhook, without a pause", webhook);
    let floor = http + 2 * commit;
    row("HTTP + two commits", &format!("    {:7.0} µs", micros(floor)));
    row("component / floor", &format!("{:.2}", component.as_secs_f64() / floor.as_secs_f64()));
    row(
        "component, 5 ms apart / floor",
        &format!("{:.2}", calm.as_secs_f64() / floor.as_secs_f64()),
    );
    row("webhook / component", &format!("{:.2}", webhook.as_secs_f64() / component.as_secs_f64()));
}

async fn conversation(
    client: &Person,
    agent: &str,
    messages: usize,
    pause: Duration,
) -> Vec<Duration> {
    let (session, mut events) = client.starts(agent).await;
    let mut all = Vec::with_capacity(messages);
    for n in 0..messages + 50 {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        client.says(&session, "hello").await;
        events.reply().await;
        // The first ones warm connections and caches up.
        if n >= 50 {
            all.push(begun.elapsed());
        }
    }
    client.ends(&session).await;
    all
}

/// A POST with a JSON body, answered with one.
async fn bare_http() -> Duration {
    use axum::{Json, Router, routing::post};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let echo = post(async |Json(body): Json<serde_json::Value>| Json(body));
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", echo)).await });
    let client = Person::nobody(&url);
    let body = json!({ "content": "hello" });
    timed(200, || client.post("/", body.clone())).await;
    show("bare HTTP round trip", timed(3_000, || client.post("/", body.clone())).await)
}

/// One row, one commit.
async fn bare_commit(engine: Engine) -> Duration {
    let place = Place::new(engine).await;
    let db = Db::open(&place.database_url).await.expect("a database");
    let clock = Clock::default();
    let commit = || async {
        let mut tx = db.write().await.expect("a transaction");
        let insert = tx.query("INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)");
        let insert = insert.bind(clock.id::<uuid::Uuid>()).bind("x".repeat(200)).bind(clock.now());
        insert.run().await.expect("a row");
        tx.commit().await.expect("a commit");
    };
    show("bare commit of one row", timed(2_000, commit).await)
}

/// Sixty-four sessions at once, each saying the next thing when it has heard the
/// answer to the last.
async fn throughput(engine: Engine) {
    const AT_ONCE: usize = 64;
    const EACH: usize = 200;
    title(&format!("Messages per second, {AT_ONCE} sessions at once, {engine:?}"));
    let platform = Platform::start(engine).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let hook = WebhookAgent::echo(&platform.url).await;
    let (hook, _) = builder.publish_webhook("Hook", &hook.address, "none").await;
    for (name, agent) in [("through a component", echo), ("through a loopback webhook", hook)] {
        let mut sessions = Vec::new();
        for _ in 0..AT_ONCE {
            sessions.push(client.starts(&agent).await);
        }
        let (begun, cpu) = (Instant::now(), cpu_time());
        let mut talks = Vec::new();
        for (session, mut events) in sessions {
            let client = client.clone();
            talks.push(tokio::spawn(async move {
                let mut times = Vec::with_capacity(EACH);
                for _ in 0..EACH {
                    let begun = Instant::now();
                    client.says(&session, "hello").await;
                    events.reply().await;
                    times.push(begun.elapsed());
                }
                times
            }));
        }
        let mut times = Vec::new();
        for talk in talks {
            times.extend(talk.await.expect("no panic"));
        }
        let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        let count = (AT_ONCE * EACH) as f64;
        let (p50, p99) = spread(&mut times);
        row(
            name,
            &format!(
                "{:6.0} /s   p50 {:5.1} ms   p99 {:5.1} ms   {:4.0} µs CPU each, client included",
                count / took.as_secs_f64(),
                micros(p50) / 1e3,
                micros(p99) / 1e3,
                micros(cpu) / count,
            ),
        );
    }
}

/// What a session feels of another agent's misbehaviour.
async fn neighbours() {
    title("A message to its reply, beside an agent that misbehaves all the time, Sqlite");
    let platform = Platform::start(Engine::Sqlite).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let pause = Duration::from_millis(2);
    show("alone", conversation(&client, &echo, 500, pause).await);
    let attacks = [
        ("endless loop", "", "(loop $forever (br $forever))"),
        (
            "memory bomb",
            "",
            "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ),
        ("endless recursion", "(func $deeper (call $deeper))", "(call $deeper)"),
        (
            "trap after a reply",
            "",
            "(call $reply (local.get $text) (local.get $textn) (i32.const 64)) unreachable",
        ),
        ("flood of host calls", "", "(loop $again (call $session_id (i32.const 64)) (br $again))"),
    ];
    for (name, more, body) in attacks {
        let agent = builder.publish(name, guests::guest(more, body, "")).await;
        let (session, mut events) = client.starts(&agent).await;
        let attacker = client.clone();
        let attacking = tokio::spawn(async move {
            loop {
                attacker.says(&session, "go").await;
                events.until("message_failed").await;
            }
        });
        show(&format!("beside an {name}"), conversation(&client, &echo, 500, pause).await);
        attacking.abort();
    }
}

/// What an idle session and an idle stream cost.
async fn memory() {
    const COUNT: usize = 1_000;
    title("Resident memory");
    let platform = Platform::start(Engine::Sqlite).await;
    let builder = platform.builder("Bea").await;
    let client = platform.person("Cleo").await;
    let echo = builder.publish("Echo", guests::ECHO).await;
    let (first, events) = client.starts(&echo).await;
    drop(events);
    let before = resident();
    let mut sessions = Vec::new();
    for _ in 0..COUNT {
        let (session, events) = client.starts(&echo).await;
        drop(events);
        sessions.push(session);
    }
    let after = resident();
    row("an idle session", &format!("{:.1} KB", (after - before) / COUNT as f64));
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        streams.push(client.listens(&first, None).await);
    }
    let streaming = resident();
    let each = (streaming - after) / COUNT as f64;
    row("an idle stream, with the client's end of it", &format!("{each:.1} KB"));
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).expect("a number")
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The floor for an event: Wasmtime with a tuned pool, no limits, no receipt.
mod bare {
    use super::guests;
    use aiybiz_host::sandbox::head_start;
    use wasmtime::{
        Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
        component::{
            Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower,
        },
    };

    /// One thread's.
    pub struct Loop {
        engine: Engine,
        pre: InstancePre<()>,
        handler: ComponentExportIndex,
    }

    #[derive(Clone, ComponentType, Lower)]
    #[component(record)]
    struct Message {
        id: String,
        author: Author,
        content: String,
        #[component(name = "created-at")]
        created_at: u64,
        attachments: Vec<File>,
    }

    #[derive(Clone, Copy, ComponentType, Lower)]
    #[component(enum)]
    #[repr(u8)]
    #[expect(dead_code, reason = "the type's other names")]
    enum Author {
        #[component(name = "client")]
        Client,
        #[component(name = "agent")]
        Agent,
        #[component(name = "platform")]
        Platform,
    }

    #[derive(Clone, ComponentType, Lower)]
    #[component(record)]
    struct File {
        id: String,
        path: String,
        size: u64,
        #[component(name = "media-type")]
        media_type: Option<String>,
        #[component(name = "modified-at")]
        modified_at: u64,
        writable: bool,
    }

    #[derive(ComponentType, Lift, Debug)]
    #[component(variant)]
    #[expect(dead_code, reason = "only shown")]
    enum Failure {
        #[component(name = "retry")]
        Retry(String),
        #[component(name = "permanent")]
        Permanent(String),
    }

    #[derive(ComponentType, Lower)]
    #[component(variant)]
    #[expect(dead_code, reason = "the type's other names")]
    enum Refused {
        #[component(name = "ended")]
        Ended,
        #[component(name = "invalid-length")]
        InvalidLength(u32),
        #[component(name = "rate-limited")]
        RateLimited(u32),
        #[component(name = "unavailable")]
        Unavailable(String),
    }

    impl Loop {
        pub fn new(guest: &[u8], threads: usize) -> Vec<Self> {
            (0..threads).map(|_| Self::one(guest)).collect()
        }

        /// So many events in all, each loop on a thread of its own.
        pub fn run(loops: &[Self], events: u64) {
            std::thread::scope(|scope| {
                for one in loops {
                    scope.spawn(|| {
                        let runtime = tokio::runtime::Builder::new_current_thread();
                        let runtime = { runtime }.build().expect("a runtime");
                        runtime.block_on(async {
                            for _ in 0..events / loops.len() as u64 {
                                one.event().await;
                            }
                        });
                    });
                }
            });
        }

        fn one(guest: &[u8]) -> Self {
            let mut pool = PoolingAllocationConfig::default();
            pool.linear_memory_keep_resident(1 << 20)
                .table_keep_resident(64 << 10)
                .async_stack_keep_resident(64 << 10)
                .pagemap_scan(Enabled::Auto);
            let mut config = Config::new();
            config
                .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
                .async_stack_zeroing(true)
                .async_stack_size(1 << 20)
                .max_wasm_stack(512 << 10)
                .concurrency_support(false);
            let engine = Engine::new(&config).expect("an engine");
            let bytes = head_start(&guests::component(guest), u64::MAX);
            let component = Component::from_binary(&engine, &bytes).expect("a component");
            let mut linker: Linker<()> = Linker::new(&engine);
            linker.define_unknown_imports_as_traps(&component).expect("imports");
            linker.allow_shadowing(true);
            let mut session = linker.instance("aiybiz:agent/session@0.1.0").expect("a name");
            let reply = session.func_wrap_async("reply", |_, (_,): (String,)| {
                Box::new(async { Ok((Ok::<String, Refused>("id".into()),)) })
            });
            reply.expect("an import");
            let handler = component.get_export_index(None, "aiybiz:agent/handler@0.1.0");
            let handler = component.get_export_index(handler.as_ref(), "on-message");
            let pre = linker.instantiate_pre(&component).expect("it links");
            Self { engine, pre, handler: handler.expect("an agent") }
        }

        async fn event(&self) {
            let message = Message {
                id: "m".into(),
                author: Author::Client,
                content: "hello".into(),
                created_at: 0,
                attachments: Vec::new(),
            };
            let mut store = Store::new(&self.engine, ());
            let instance = self.pre.instantiate_async(&mut store).await.expect("an instance");
            let handler = instance
                .get_typed_func::<(Message,), (Result<(), Failure>,)>(&mut store, &self.handler)
                .expect("the function");
            let (answer,) = handler.call_async(&mut store, (message,)).await.expect("no trap");
            answer.expect("no failure");
        }
    }
}
