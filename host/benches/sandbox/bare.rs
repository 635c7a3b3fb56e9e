//! The floor for an event: Wasmtime with the best settings known, no limits, no receipt.

use crate::harness::guests;
use aiybiz_host::sandbox::head_start;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower},
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
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
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
