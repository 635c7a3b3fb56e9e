//! Calls to the host with arguments that a fuzzer thought up, from a real guest in
//! the real sandbox: pointers into nowhere, lengths beyond the memory, handles that
//! were never given, dropped twice or belong to something else, an allocator that
//! returns what it likes.
//!
//! The guest is made from the world itself, so it calls every import there is; its
//! message is the program it follows.

use super::agents;
use aiybiz_host::{
    id::{AgentId, EventId},
    net::Out,
    objects::{self, Objects},
    sandbox::{
        self, Answer, Author, Component, Denied, Draft, Event, Facts, File, Job, Limits, Message,
        Outcome, Pool, Receipt, Sandbox, Scope, Secret, State,
    },
    seal::Key,
    timestamp::Timestamp,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;
use wit_parser::{
    Resolve, TypeDefKind, WorldItem,
    abi::{AbiVariant, WasmType},
};

/// A platform's sandbox with the guest in it.
pub struct Place {
    runtime: Runtime,
    sandbox: Sandbox,
    component: Arc<Component>,
    limits: Arc<Limits>,
    objects: Objects,
    _folder: TempDir,
}

impl Place {
    /// `worker` is the program that compiles.
    pub fn open(worker: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let limits = Limits {
            memory_bytes: 4 << 20,
            cpu_millis: 20,
            wall_millis: 60,
            host_calls: 500,
            host_call_bytes: 256 << 10,
            replies: 50,
            reply_bytes: 64 << 10,
            log_bytes: 16 << 10,
            handles: 50,
            ..Limits::default()
        };
        let _inside = runtime.enter();
        let sandbox = Sandbox::open(sandbox::Config {
            pool: Pool { instances: 4, ..Pool::default() },
            // Compiling what a fuzzer has instrumented takes its time.
            limits: Limits { compile_millis: 300_000, ..Limits::default() },
            folder: folder.path().join("components"),
            artifact_bytes: sandbox::ARTIFACTS,
            key: Key::new([7; 32], &[]),
            worker,
            threads: 1,
        });
        let sandbox = sandbox.expect("a sandbox");
        let component = runtime.block_on(async {
            let guest = agents::core(&guest()).into();
            let upload = sandbox.spooled(&guest).await.expect("a file");
            let admitted = sandbox
                .admit(sandbox.turn().await, &upload, sandbox.limits())
                .await
                .expect("a compiler");
            assert_eq!(admitted.inspection.problems, []);
            sandbox
                .load(&upload.sha256, sandbox.limits(), std::future::pending())
                .await
                .expect("it is ready")
        });
        let objects = Objects::open(&objects::Place::Folder(folder.path().join("objects")))
            .expect("a folder");
        Self { runtime, sandbox, component, limits: Arc::new(limits), objects, _folder: folder }
    }

    /// One event in a fresh instance.
    fn run(&self, program: &[u8]) -> Receipt {
        let now = Timestamp::from_micros(1_700_000_000_000_000).expect("in range");
        let nibble = |n: u8| char::from(b'a' + (n & 15));
        let content = program.iter().flat_map(|byte| [nibble(byte >> 4), nibble(*byte)]).collect();
        let message = Message { id: "m".into(), author: Author::Client, content, created_at: now };
        let job = Job {
            event: Event::Message(message),
            facts: Facts {
                session_id: "s".into(),
                started_at: now,
                event_id: "e".into(),
                attempt: 1,
            },
            scope: Arc::new(Session { objects: self.objects.clone(), now }),
            limits: Arc::clone(&self.limits),
            keep: None,
        };
        let agent = AgentId(Uuid::nil());
        let handled = self.sandbox.handle(agent, Arc::clone(&self.component), job);
        self.runtime.block_on(handled).expect("nobody else is there")
    }

    /// Whatever it calls, the host does not fail and no budget is exceeded.
    pub fn check(&self, program: &[u8]) -> Receipt {
        let receipt = self.run(program);
        assert_ne!(receipt.outcome, Outcome::HostError, "{}", receipt.explanation);
        assert!(receipt.peak_memory_bytes <= self.limits.memory_bytes);
        assert!(receipt.replies <= self.limits.replies + 1);
        let logged: usize = receipt.log.iter().map(|entry| entry.message.len()).sum();
        assert!(logged as u64 <= 4 * self.limits.log_bytes, "{logged} bytes of log");
        receipt
    }
}

/// The guest's text: one import and one arm of the interpreter for every function.
fn guest() -> String {
    let mut resolve = Resolve::default();
    let wit = format!("{}{}", agents::WIT, agents::WASI);
    let package = resolve.push_str("agent.wit", &wit).expect("well-formed WIT");
    let world = resolve.select_world(&[package], Some("agent-with-wasi")).expect("the world");
    let (mut imports, mut arms) = (String::new(), String::new());
    let mut count = 0;
    let mut import = |module: &str, name: &str, params: &[WasmType], results: &[WasmType]| {
        let types = |list: &[WasmType]| list.iter().map(|t| format!(" {}", core(*t))).collect();
        let (takes, gives): (String, String) = (types(params), types(results));
        let _ = writeln!(
            imports,
            r#"(import "{module}" "{name}" (func $f{count} (param{takes}) (result{gives})))"#
        );
        let arguments: String =
            params.iter().map(|t| format!("(call $any_{})", core(*t))).collect();
        let call = format!("(call $f{count} {arguments})");
        let call = match results {
            [] => call,
            [WasmType::I64] => format!("(global.set $last (i32.wrap_i64 {call}))"),
            _ => format!("(global.set $last {call})"),
        };
        let _ = writeln!(arms, "(if (i32.eq (local.get $what) (i32.const {count})) (then {call}))");
        count += 1;
    };
    let mut interfaces: Vec<_> = resolve.worlds[world]
        .imports
        .iter()
        .filter_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } => Some((resolve.name_world_key(key), id)),
            _ => None,
        })
        .collect();
    // The platform's own first: their numbers are in the corpus.
    interfaces.sort_by_key(|(module, _)| !module.starts_with("aiybiz:"));
    for (module, id) in interfaces {
        for function in resolve.interfaces[*id].functions.values() {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            import(&module, &function.name, &signature.params, &signature.results);
        }
        for (name, kind) in &resolve.interfaces[*id].types {
            if matches!(resolve.types[*kind].kind, TypeDefKind::Resource) {
                import(&module, &format!("[resource-drop]{name}"), &[WasmType::I32], &[]);
            }
        }
    }
    assert!(count < 61, "the interpreter has other uses for the last numbers");
    INTERPRETER.replace("{imports}", &imports).replace("{arms}", &arms)
}

fn core(kind: WasmType) -> &'static str {
    match kind {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        _ => "i32",
    }
}

/// Reads its program byte by byte: which import, and for every argument how to make
/// it. Beside the calls it can write a word to memory, and let its allocator return
/// whatever comes next in the program.
const INTERPRETER: &str = r#"(module
  {imports}
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 8192))
  (global $at (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))
  (global $last (mut i32) (i32.const 0))
  (global $mad (mut i32) (i32.const 0))
  (data (i32.const 1024) "hello")
  (data (i32.const 1040) "notes/a.txt")
  (data (i32.const 1056) "shared/b.txt")
  (data (i32.const 1072) "\ff\fe\80\00")
  (data (i32.const 1088) "../../etc/passwd")
  (data (i32.const 1104) "text/plain")
  (data (i32.const 1120) "key")
  (func $byte (result i32) (local $high i32)
    (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
    (local.set $high (i32.shl (i32.sub (i32.load8_u (global.get $at)) (i32.const 97)) (i32.const 4)))
    (global.set $at (i32.add (global.get $at) (i32.const 2)))
    (i32.and (i32.const 255) (i32.or (local.get $high)
      (i32.sub (i32.load8_u (i32.sub (global.get $at) (i32.const 1))) (i32.const 97)))))
  (func $any_i32 (result i32) (local $how i32) (local $n i32)
    (local.set $how (i32.and (call $byte) (i32.const 7)))
    (local.set $n (call $byte))
    (if (i32.eq (local.get $how) (i32.const 0)) (then (return (local.get $n))))
    (if (i32.eq (local.get $how) (i32.const 1)) (then (return (global.get $last))))
    (if (i32.eq (local.get $how) (i32.const 2))
      (then (return (i32.add (i32.const 1024) (i32.shl (i32.and (local.get $n) (i32.const 15)) (i32.const 4))))))
    (if (i32.eq (local.get $how) (i32.const 3))
      (then (return (i32.load (i32.add (i32.const 2048) (i32.shl (local.get $n) (i32.const 2)))))))
    (if (i32.eq (local.get $how) (i32.const 4))
      (then (return (i32.or (i32.shl (local.get $n) (i32.const 24)) (i32.or (i32.shl (call $byte) (i32.const 16))
        (i32.or (i32.shl (call $byte) (i32.const 8)) (call $byte)))))))
    (if (i32.eq (local.get $how) (i32.const 5))
      (then (return (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $n)))))
    (if (i32.eq (local.get $how) (i32.const 6))
      (then (return (i32.add (i32.const 2048) (i32.shl (local.get $n) (i32.const 2))))))
    (i32.sub (i32.const 0) (local.get $n)))
  (func $any_i64 (result i64)
    (if (result i64) (i32.and (call $byte) (i32.const 1))
      (then (i64.extend_i32_u (call $any_i32)))
      (else (i64.or (i64.shl (i64.extend_i32_u (call $any_i32)) (i64.const 32)) (i64.extend_i32_u (call $any_i32))))))
  (func $any_f32 (result f32) (f32.reinterpret_i32 (call $any_i32)))
  (func $any_f64 (result f64) (f64.reinterpret_i64 (call $any_i64)))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $p i32)
    (if (global.get $mad) (then (return (call $any_i32))))
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get 3)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))) (i32.const -1)) (then unreachable))))
    (local.get $p))
  (func $ok (result i32) (i32.store8 (i32.const 0) (i32.const 0)) (i32.const 0))
  (func $step (local $what i32)
    (local.set $what (i32.rem_u (call $byte) (i32.const 64)))
    {arms}
    (if (i32.eq (local.get $what) (i32.const 61)) (then (global.set $mad (call $byte))))
    (if (i32.eq (local.get $what) (i32.const 62))
      (then (i32.store (i32.add (i32.const 1024) (i32.shl (call $byte) (i32.const 2))) (call $any_i32))))
    (if (i32.eq (local.get $what) (i32.const 63)) (then unreachable)))
  (func (export "aiybiz:agent/handler@0.1.0#on-session-started") (result i32) (call $ok))
  (func (export "aiybiz:agent/handler@0.1.0#on-message")
    (param $id i32) (param $idn i32) (param $author i32) (param $text i32) (param $textn i32)
    (param $time i64) (param $files i32) (param $filesn i32) (result i32)
    (global.set $at (local.get $text))
    (global.set $end (i32.add (local.get $text) (local.get $textn)))
    (loop $on
      (call $step)
      (br_if $on (i32.lt_u (global.get $at) (global.get $end))))
    (call $ok))
  (func (export "aiybiz:agent/handler@0.1.0#on-session-ended") (param i32) (result i32) (call $ok)))"#;

/// A session in memory, in which everything can be found.
struct Session {
    objects: Objects,
    now: Timestamp,
}

impl Session {
    fn file(&self, path: &str, writable: bool) -> File {
        File {
            id: path.to_owned(),
            path: path.to_owned(),
            size: 1_000,
            media_type: Some("text/plain".into()),
            modified_at: self.now,
            writable,
            storage_path: path.to_owned(),
        }
    }
}

#[async_trait]
impl Scope for Session {
    async fn reply(&self, _: u64, id: EventId, _: String) -> Answer<EventId> {
        Ok(id)
    }
    fn new_reply_id(&self) -> EventId {
        EventId(Uuid::nil())
    }
    fn delta(&self, _: EventId, _: u64, _: &str) {}
    async fn abandoned(&self, _: EventId) -> Answer<()> {
        Ok(())
    }
    fn typing(&self) {}
    async fn history(&self, after: i64, limit: u32) -> Answer<(Vec<Message>, Option<i64>)> {
        let message = |n: u32| Message {
            id: n.to_string(),
            author: Author::Agent,
            content: "x".repeat(100),
            created_at: self.now,
        };
        Ok(((0..limit.min(100)).map(message).collect(), after.checked_add(100)))
    }
    async fn files(&self) -> Answer<Vec<File>> {
        Ok(vec![self.file("notes/a.txt", true), self.file("shared/b.txt", false)])
    }
    async fn read(&self, file: &File, offset: u64, max: u64) -> Answer<Bytes> {
        let length = file.size.saturating_sub(offset).min(max);
        Ok(vec![b'x'; usize::try_from(length).unwrap_or(0)].into())
    }
    async fn create(&self, path: &str, media_type: Option<String>) -> Answer<Draft> {
        Ok(Draft {
            path: path.to_owned(),
            media_type,
            upload: self.objects.upload(&rand::random::<u64>().to_string()).expect("a key"),
            room: u64::MAX,
        })
    }
    async fn publish(&self, draft: Draft) -> Answer<File> {
        Ok(self.file(&draft.path, true))
    }
    async fn remove(&self, id: &str) -> Answer<()> {
        if id == "notes/a.txt" { Ok(()) } else { Err(Denied::ReadOnly) }
    }
    async fn state(&self) -> Answer<State> {
        Ok(State::from([("key".to_owned(), b"value".to_vec()), ("k2".to_owned(), vec![0xff; 50])]))
    }
    async fn secret(&self, name: &str) -> Answer<Option<Secret>> {
        let secret = || Secret { value: "secret".to_owned(), sites: Vec::new() };
        Ok((name == "key").then(secret))
    }
    fn out(&self) -> Option<Out> {
        None
    }
    async fn config(&self) -> Answer<BTreeMap<String, String>> {
        Ok(BTreeMap::from([("key".to_owned(), "value".to_owned())]))
    }
}
