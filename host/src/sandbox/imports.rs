//! The host imports of the world, one file a theme. Each call is counted first
//! (too many end the event), then answered by the event's `Scope` within a time
//! limit; what the scope denies becomes the interface's own error.

#![expect(unreachable_pub, reason = "the generated bindings re-export the resources")]

pub(super) mod files;
pub(super) mod logging;
pub(super) mod session;
pub(super) mod vault;

use super::{guest::Guest, world::aiybiz::agent};

impl agent::types::Host for Guest {}

impl agent::delivery::Host for Guest {
    async fn event_id(&mut self) -> wasmtime::Result<String> {
        self.call("delivery.event-id").await?;
        Ok(self.facts.event_id.clone())
    }

    async fn attempt(&mut self) -> wasmtime::Result<u32> {
        self.call("delivery.attempt").await?;
        Ok(self.facts.attempt)
    }

    async fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        self.call("delivery.remaining-ms").await?;
        let left = self.limits.wall().saturating_sub(self.begun.elapsed());
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX))
    }
}
