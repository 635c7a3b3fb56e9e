//! Uploads, up to the compiler.

#![no_main]

#[path = "../../harness/guests.rs"]
#[allow(dead_code, unreachable_pub)]
mod agents;
#[path = "../upload.rs"]
mod upload;

libfuzzer_sys::fuzz_target!(
    init: {
        // A library that panics over a stranger's bytes has refused them, and says so
        // in `inspect`; a panic in code of ours is a finding.
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |place| place.file());
            if file.contains("host/src") || file.contains("tests/fuzz") {
                abort(panic);
            }
        }));
    },
    |input: &[u8]| upload::check(input)
);
