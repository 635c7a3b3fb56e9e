//! The Wasmtime engines: which WebAssembly is accepted, how it is compiled, where
//! instances live, and the tick that takes the processor away from a busy guest.
//!
//! Each seat for guests has an engine: what two threads share in one, they wait
//! for. Another, with the same code-relevant settings and without a pool, compiles
//! in the child process. An artifact fits the serving engines when their
//! compatibility hashes agree, which Wasmtime checks on loading.

use super::{
    limiter::{INSTANCES, MEMORIES, TABLES},
    limits::Pool,
};
use std::{num::NonZeroUsize, time::Duration};
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, Result, WasmBacktraceDetails,
};

/// How often a busy guest is interrupted to let others have a turn and to look at
/// its budget. Half of it is the mean error of the CPU limit.
const TICK: Duration = Duration::from_millis(1);

/// Uploads that are tried out at once, beside the events.
pub(super) const TRIALS: u32 = 4;

/// Kept mapped per slot after an instance is gone, so that the next one need not
/// fault it in again: what a small guest writes to fits wholly, and a thousand slots that
/// were once used hold no more than 128 MiB.
const KEEP_RESIDENT: usize = 128 << 10;

/// The native stack of a guest: what its own calls may use, and with what the host's
/// imports need on top of that, with room to spare: a host call that ran out of it
/// would abort the process. It is not zeroed between guests: WebAssembly cannot read
/// what it has not written there, and giving back what is not kept is a system call
/// under the one lock on the address space, with every event.
const WASM_STACK: usize = 512 << 10;
const STACK: usize = 1 << 20;

/// For the process that serves: compiles nothing, takes instances from a pool. One
/// for each of `seats`, with room for `each` instances and the trials.
pub(super) fn serving(slots: &Pool, seats: usize, each: u64) -> Result<Vec<Engine>> {
    let engine = || {
        let mut config = code();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots, each)));
        Engine::new(&config)
    };
    let engines = (0..seats).map(|_| engine()).collect::<Result<Vec<_>>>()?;
    tick(&engines);
    Ok(engines)
}

/// For the child process that compiles one upload.
pub(super) fn compiling() -> Result<Engine> {
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.parallel_compilation(false);
    Engine::new(&config)
}

/// What decides how machine code looks.
fn code() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20))
        .native_unwind_info(false)
        .memory_init_cow(true)
        .memory_may_move(false)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        // A 0.2 component needs none of these; each is less to attack. (It does need
        // multiple memories: calls between its parts copy from one to another.)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

fn pool(slots: &Pool, instances: u64) -> PoolingAllocationConfig {
    let total = u32::try_from(instances).unwrap_or(u32::MAX).saturating_add(TRIALS);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(total)
        // Enough for guests that each take all they may: none starves another.
        .total_core_instances(total.saturating_mul(INSTANCES))
        .total_memories(total.saturating_mul(MEMORIES))
        .total_tables(total.saturating_mul(TABLES))
        .total_stacks(total)
        .max_memory_size(usize::try_from(slots.memory_bytes).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(slots.table_elements).unwrap_or(usize::MAX))
        .max_core_instances_per_component(INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(total)
        // With the scan, a dirty page that was swapped out is not reset; a process
        // that may be swapped must live without it.
        .pagemap_scan(if swappable() { Enabled::No } else { Enabled::Auto });
    pool
}

/// Whether this process's pages may go to a swap device.
fn swappable() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|table| table.lines().count() > 1)
}

/// Advances the epochs from a thread of its own (a timer of the async runtime
/// starves when guests are busy) until the engines are gone.
fn tick(engines: &[Engine]) {
    let engines: Vec<_> = engines.iter().map(Engine::weak).collect();
    let name = "epoch".to_owned();
    let spawned = std::thread::Builder::new().name(name).spawn(move || {
        loop {
            let living = engines.iter().filter_map(EngineWeak::upgrade);
            if living.map(|engine| engine.increment_epoch()).count() == 0 {
                return;
            }
            std::thread::sleep(TICK);
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for the epoch: busy guests will not be interrupted");
    }
}
