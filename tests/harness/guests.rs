//! Guests for tests: the committed ones, and small ones written as text.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

pub const ECHO: &[u8] = include_bytes!("../../guest-examples/echo/echo.wasm");
pub const FETCHER: &[u8] = include_bytes!("../../guest-examples/fetcher/fetcher.wasm");
pub const LIBRARIAN: &[u8] = include_bytes!("../../guest-examples/librarian/librarian.wasm");

pub const WIT: &str = include_str!("../../wit/agent.wit");

/// What guests may import of WASI, and a world with it.
pub const WASI: &str = r"
package wasi:io@0.2.0 {
  interface error { resource error; }
  interface poll { resource pollable { block: func(); } }
  interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource output-stream {
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
    }
  }
}
package wasi:clocks@0.2.0 {
  interface monotonic-clock {
    use wasi:io/poll@0.2.0.{pollable};
    subscribe-duration: func(when: u64) -> pollable;
  }
}
package wasi:cli@0.2.0 {
  interface stdout {
    use wasi:io/streams@0.2.0.{output-stream};
    get-stdout: func() -> output-stream;
  }
}
world agent-with-wasi {
  include agent;
  import wasi:clocks/monotonic-clock@0.2.0;
  import wasi:cli/stdout@0.2.0;
}
";

/// What every guest written as text begins with: the imports it may use, memory,
/// and an allocator that only goes up. `$say` replies with a text, `$sleep` waits
/// some nanoseconds, `$print` writes to standard output.
const PRELUDE: &str = r#"
  (import "aiybiz:agent/session@0.1.0" "reply" (func $reply (param i32 i32 i32)))
  (import "aiybiz:agent/session@0.1.0" "id" (func $session_id (param i32)))
  (import "aiybiz:agent/session@0.1.0" "begin-reply" (func $begin_reply (param i32)))
  (import "aiybiz:agent/session@0.1.0" "[method]reply-stream.write" (func $piece (param i32 i32 i32 i32)))
  (import "aiybiz:agent/session@0.1.0" "[static]reply-stream.finish" (func $finish (param i32 i32)))
  (import "aiybiz:agent/session@0.1.0" "[resource-drop]reply-stream" (func $forget (param i32)))
  (import "aiybiz:agent/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  (import "aiybiz:agent/state@0.1.0" "set" (func $state_set (param i32 i32 i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 4096))
  (func $realloc (export "cabi_realloc") (param $old i32) (param $olds i32) (param $align i32) (param $size i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $p) (local.get $size)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))) (i32.const -1)) (then unreachable))))
    (local.get $p))
  (func $ok (result i32) (i32.store8 (i32.const 0) (i32.const 0)) (i32.const 0))
  (func $say (param i32 i32) (call $reply (local.get 0) (local.get 1) (i32.const 64)))
  (func $sleep (param i64) (call $block (call $after (local.get 0))))
  (func $print (param i32 i32) (call $write (call $stdout) (local.get 0) (local.get 1) (i32.const 64)))
"#;

/// The three exports; `on_message` is the body of `on-message`, in which `$text`
/// and `$textn` are the message's content. It must leave nothing on the stack.
pub fn on_message(on_message: &str) -> Vec<u8> {
    guest("", on_message, "")
}

/// With functions and data of its own, and what `on-session-started` does.
pub fn guest(more: &str, on_message: &str, on_started: &str) -> Vec<u8> {
    core(&text(more, on_message, on_started))
}

/// The same, before it is assembled.
pub fn text(more: &str, on_message: &str, on_started: &str) -> String {
    format!(
        r#"(module {PRELUDE} {more}
  (func (export "aiybiz:agent/handler@0.1.0#on-session-started") (result i32) {on_started} (call $ok))
  (func (export "aiybiz:agent/handler@0.1.0#on-message")
    (param $id i32) (param $idn i32) (param $author i32) (param $text i32) (param $textn i32)
    (param $at i64) (param $files i32) (param $filesn i32) (result i32)
    {on_message}
    (call $ok))
  (func (export "aiybiz:agent/handler@0.1.0#on-session-ended") (param $reason i32) (result i32) (call $ok)))"#
    )
}

/// A core module from text, with the world's description attached, as a WIT
/// binding generator leaves it: what builders upload.
pub fn core(text: &str) -> Vec<u8> {
    with_world(text, &format!("{WIT}{WASI}"), "agent-with-wasi")
}

/// The same with DWARF: which line of `guest.wat` each instruction comes from.
pub fn with_lines(text: &str) -> Vec<u8> {
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Lines);
    let module = parser.parse_str(Some("guest.wat".as_ref()), text).expect("well-formed text");
    describe(module, &format!("{WIT}{WASI}"), "agent-with-wasi")
}

/// The same for another world.
pub fn with_world(text: &str, wit: &str, world: &str) -> Vec<u8> {
    describe(wat::parse_str(text).expect("well-formed text"), wit, world)
}

/// A module with the description of a world attached.
pub fn describe(mut module: Vec<u8>, wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("test.wit", wit).expect("well-formed WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    module
}

/// As a component, wrapped here instead of by the host.
pub fn component(module: &[u8]) -> Vec<u8> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    encoder.and_then(|mut encoder| encoder.encode()).expect("it can be wrapped")
}
