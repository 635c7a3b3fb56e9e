//! How delivery and streams hold up: one dead webhook beside healthy ones, thousands of
//! idle streams, one event for a thousand readers. Each figure beside its own floor, or
//! beside the run without the trouble.
//!
//! `cargo bench --bench delivery`. Nothing is asserted. Clients, servers and the platform
//! share the machine.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod dead;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../../../tests/harness/mod.rs"]
mod harness;
mod streams;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    harness::run(async {
        if wanted("dead") {
            dead::beside_healthy_ones().await;
        }
        if wanted("streams") {
            streams::idle_and_fan_out().await;
        }
    });
}
