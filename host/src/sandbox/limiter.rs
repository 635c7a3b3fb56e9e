//! Says no when a guest wants more memory than it may have, and remembers it.
//!
//! Wasmtime's own `StoreLimits` compares each memory with the limit; here all
//! memories of the store count together, and so do all tables. A refused
//! `memory.grow` is only a −1 to the guest, which then usually gives up with an
//! `unreachable`: [`Limiter::refused`] tells that apart from any other trap.

use super::limits::Limits;
use wasmtime::{ResourceLimiter, Result};

pub(super) struct Limiter {
    max_memory: usize,
    max_elements: usize,
    memory: usize,
    elements: usize,
    pub(super) peak_memory: usize,
    pub(super) refused: bool,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max_memory: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            max_elements: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
            memory: 0,
            elements: 0,
            peak_memory: 0,
            refused: false,
        }
    }
}

/// The new total, if it is allowed.
fn grown(total: usize, current: usize, desired: usize, max: usize) -> Option<usize> {
    let total = total.checked_add(desired.checked_sub(current)?)?;
    (total <= max).then_some(total)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        match grown(self.memory, current, desired, self.max_memory) {
            Some(total) => {
                self.memory = total;
                self.peak_memory = self.peak_memory.max(total);
            }
            None => self.refused = true,
        }
        Ok(!self.refused)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        match grown(self.elements, current, desired, self.max_elements) {
            Some(total) => self.elements = total,
            None => self.refused = true,
        }
        Ok(!self.refused)
    }

    /// The largest guests have about 30 core instances (main module, shims,
    /// adapters); the pool has room for 50.
    fn instances(&self) -> usize {
        50
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        4
    }
}
