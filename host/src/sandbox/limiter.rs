//! Says no when a guest wants more memory than it may have, and remembers it.
//!
//! Wasmtime's own `StoreLimits` compares each memory with the limit; here all
//! memories of the store count together, and so do all tables. A refused
//! `memory.grow` is only a −1 to the guest, which then usually gives up with an
//! `unreachable`: [`Limiter::refused`] tells that apart from any other trap.

use super::{guest::Guest, limits::Limits, threads};
use async_trait::async_trait;
use wasmtime::{ResourceLimiterAsync, Result};

/// Core instances of one guest; Python has 14: the main module, libraries, shims.
pub(super) const INSTANCES: u32 = 50;

/// Memories of one guest; QuickJS has two, its own and its standard library's.
pub(super) const MEMORIES: u32 = 4;

/// Tables of one guest; none has more than two.
pub(super) const TABLES: u32 = 16;

/// What an event may get on a fast thread, in bytes: a small guest and its heap with
/// room to spare, and to fault it all in takes no more than a slice or two.
const LARGE: usize = 4 << 20;

/// What a kept instance may have on a fast thread, in bytes: language runtimes fit, and
/// to fill it all takes a few milliseconds.
const VAST: usize = 32 << 20;

pub(super) struct Limiter {
    max_memory: usize,
    max_elements: usize,
    memory: usize,
    /// What it had when the event began.
    kept: usize,
    elements: usize,
    pub(super) peak_memory: usize,
    /// A wish was refused. A smaller one may be granted after that.
    pub(super) refused: bool,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut new = Self {
            max_memory: 0,
            max_elements: 0,
            memory: 0,
            kept: 0,
            elements: 0,
            peak_memory: 0,
            refused: false,
        };
        new.renew(limits);
        new
    }

    /// For another event. False when there is more already than there may be now.
    pub(super) fn renew(&mut self, limits: &Limits) -> bool {
        self.max_memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        self.max_elements = usize::try_from(limits.table_elements).unwrap_or(usize::MAX);
        self.peak_memory = self.memory;
        self.kept = self.memory;
        self.refused = false;
        self.memory <= self.max_memory && self.elements <= self.max_elements
    }

    /// What all memories have now, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory as u64
    }

    /// Whether one instruction may keep a thread busy for long, before the event has
    /// touched anything.
    pub(super) fn vast(&self) -> bool {
        self.memory > VAST
    }

    /// What the event has got, in bytes.
    fn fresh(&self) -> usize {
        self.memory.saturating_sub(self.kept)
    }

    fn memory_growing(&mut self, current: usize, desired: usize) -> bool {
        let total = grown(self.memory, current, desired, self.max_memory);
        self.memory = total.unwrap_or(self.memory);
        self.peak_memory = self.peak_memory.max(self.memory);
        self.refused |= total.is_none();
        total.is_some()
    }

    fn table_growing(&mut self, current: usize, desired: usize) -> bool {
        let total = grown(self.elements, current, desired, self.max_elements);
        self.elements = total.unwrap_or(self.elements);
        self.refused |= total.is_none();
        total.is_some()
    }
}

/// The new total, if it is allowed.
fn grown(total: usize, current: usize, desired: usize, max: usize) -> Option<usize> {
    let total = total.checked_add(desired.checked_sub(current)?)?;
    (total <= max).then_some(total)
}

#[async_trait]
impl ResourceLimiterAsync for Guest {
    /// Who wants much gets it on a slow thread: its pages are faulted in, filled and
    /// given back in single instructions and system calls, which nothing interrupts.
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool> {
        let granted = self.limiter.memory_growing(current, desired);
        if granted && self.limiter.fresh() > LARGE && self.known.tire() {
            threads::yield_once().await;
        }
        Ok(granted)
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool> {
        Ok(self.limiter.table_growing(current, desired))
    }

    fn instances(&self) -> usize {
        INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}
