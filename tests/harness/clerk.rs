//! A component that does with files what its messages say, and tells what came of it.

use super::guests;

/// `l` lists (an id a reply, then `end`), `o<id>` opens and reads to the end, `c<path>`
/// creates a file with a few bytes, `r<id>` removes. The answer is `ok`, or `e` and the
/// place of the error among those of `file-error`; of `o` and `c` the last that went wrong.
pub fn clerk() -> Vec<u8> {
    guests::core(&guests::text(MORE, ON_MESSAGE, "").replacen("(module", IMPORTS, 1))
}

/// Imports of files come before those of the prelude, which defines things.
const IMPORTS: &str = r#"(module
  (import "aiybiz:agent/files@0.1.0" "list" (func $list (param i32 i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "open" (func $open (param i32 i32 i64 i32)))
  (import "aiybiz:agent/files@0.1.0" "create" (func $create (param i32 i32 i32 i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "remove" (func $remove (param i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[method]reader.read" (func $read (param i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[resource-drop]reader" (func $close (param i32)))
  (import "aiybiz:agent/files@0.1.0" "[method]writer.write" (func $append (param i32 i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[static]writer.finish" (func $publish (param i32 i32)))"#;

/// What a call returned is at 256: 0 or 1, and at 264 the value, or the error's place.
const MORE: &str = r#"
  (data (i32.const 1024) "okendhello")
  (func $failed (result i32) (i32.load8_u (i32.const 256)))
  (func $handle (result i32) (i32.load (i32.const 264)))
  (func $tell
    (if (call $failed)
      (then
        (i32.store8 (i32.const 512) (i32.const 101))
        (i32.store8 (i32.const 513) (i32.add (i32.const 48) (i32.load8_u (i32.const 264))))
        (call $say (i32.const 512) (i32.const 2)))
      (else (call $say (i32.const 1024) (i32.const 2)))))
  (func $tell_all (local $at i32) (local $end i32)
    (local.set $at (i32.load (i32.const 264)))
    (local.set $end (i32.add (local.get $at) (i32.mul (i32.load (i32.const 268)) (i32.const 56))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (call $say (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 56)))
      (br $next)))
    (call $say (i32.const 1026) (i32.const 3)))
  (func $read_all (param $reader i32)
    (block $done (loop $next
      (call $read (local.get $reader) (i32.const 1048576) (i32.const 256))
      (br_if $done (call $failed))
      (br_if $next (i32.load (i32.const 268)))))
    (call $close (local.get $reader)))
  (func $write_one (param $writer i32)
    (call $append (local.get $writer) (i32.const 1029) (i32.const 5) (i32.const 256))
    (if (call $failed) (then (return)))
    (call $publish (local.get $writer) (i32.const 256)))
"#;

const ON_MESSAGE: &str = r"
    (local $what i32)
    (local.set $what (i32.load8_u (local.get $text)))
    (local.set $text (i32.add (local.get $text) (i32.const 1)))
    (local.set $textn (i32.sub (local.get $textn) (i32.const 1)))
    (if (i32.eq (local.get $what) (i32.const 108))
      (then
        (call $list (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256))
        (call $tell_all)))
    (if (i32.eq (local.get $what) (i32.const 111))
      (then
        (call $open (local.get $text) (local.get $textn) (i64.const 0) (i32.const 256))
        (if (i32.eqz (call $failed)) (then (call $read_all (call $handle))))
        (call $tell)))
    (if (i32.eq (local.get $what) (i32.const 99))
      (then
        (call $create (local.get $text) (local.get $textn) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256))
        (if (i32.eqz (call $failed)) (then (call $write_one (call $handle))))
        (call $tell)))
    (if (i32.eq (local.get $what) (i32.const 114))
      (then
        (call $remove (local.get $text) (local.get $textn) (i32.const 256))
        (call $tell)))
";
