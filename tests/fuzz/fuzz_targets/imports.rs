#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|data: &[u8]| {
    let _ = aiybiz_host::sandbox::inspect(data, &aiybiz_host::sandbox::Limits::default());
});
