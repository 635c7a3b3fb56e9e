//! What a guest may pass to the host's functions.

#![no_main]

#[path = "../../harness/guests.rs"]
#[allow(dead_code, unreachable_pub)]
mod agents;
#[path = "../imports.rs"]
mod imports;

use std::sync::LazyLock;

static PLACE: LazyLock<imports::Place> =
    LazyLock::new(|| imports::Place::open(aiybiz_host::sandbox::this_program()));

libfuzzer_sys::fuzz_target!(
    init: {
        // This program is its own compile worker, as the platform is.
        let mut arguments = std::env::args().skip(1);
        if arguments.next().as_deref() == Some("compile-worker") {
            let limits = arguments.next().expect("limits");
            let parent = arguments.next().and_then(|id| id.parse().ok()).expect("a process");
            let worked = aiybiz_host::sandbox::worker(&limits, parent);
            std::process::exit(i32::from(worked.is_err()));
        }
    },
    |program: &[u8]| drop(PLACE.check(program))
);
