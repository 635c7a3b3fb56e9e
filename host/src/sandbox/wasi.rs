//! What a guest has of WASI: clocks, random numbers and somewhere to print. No arguments,
//! environment, standard input, directories or network.
//!
//! It is made when the guest first asks for any of it: many never do, and to seed its
//! generators takes as long as some guests do.

use super::stdio::Printed;
use wasmtime_wasi::WasiCtx;

/// Random bytes a guest may ask for in one call.
const MAX_RANDOM: u64 = 64 << 10;

pub(super) struct Wasi {
    made: Option<Box<Made>>,
    /// What may be printed, in bytes.
    room: usize,
}

struct Made {
    context: WasiCtx,
    printed: Printed,
}

impl Wasi {
    pub(super) fn new(room: usize) -> Self {
        Self { made: None, room }
    }

    /// An empty page for the next event.
    pub(super) fn renew(&mut self, room: usize) {
        self.room = room;
        if let Some(made) = &self.made {
            made.printed.renew(room);
        }
    }

    pub(super) fn context(&mut self) -> &mut WasiCtx {
        &mut self.made.get_or_insert_with(|| Box::new(Made::new(self.room))).context
    }

    /// What was printed since the last call, as text.
    pub(super) fn printed(&self) -> String {
        self.made.as_ref().map(|made| made.printed.take()).unwrap_or_default()
    }
}

impl Made {
    fn new(room: usize) -> Self {
        let printed = Printed::new(room);
        let mut context = WasiCtx::builder();
        context
            .stdout(printed.clone())
            .stderr(printed.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .allow_blocking_current_thread(false)
            .max_random_size(MAX_RANDOM);
        Self { context: context.build(), printed }
    }
}
