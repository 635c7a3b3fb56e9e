//! What a core module says of the world it was made for, before it is believed.
//!
//! The encoder that wraps it follows the packages of that description from one to the
//! next and does not look for an end: two that need each other send it round until its
//! stack overflows, which nothing can catch.

use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{Parser, Payload};
use wit_parser::{Resolve, decoding::decode_world};

/// Each package with those it needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// The error is what no tool could make sense of. What is wrong in other ways is left
/// to the encoder to say. The bytes must be a valid module.
pub(super) fn check(module: &[u8]) -> Result<(), String> {
    let mut needs = Needs::new();
    for payload in Parser::new(0).parse_all(module).flatten() {
        if let Payload::CustomSection(section) = payload
            && section.name().starts_with("component-type")
            && let Ok((described, _)) = decode_world(section.data())
        {
            // Several descriptions are merged by their packages' names.
            add(&mut needs, &described);
        }
    }
    // Whoever needs nobody that is left goes, until nobody does.
    loop {
        let left: BTreeSet<_> = needs.keys().cloned().collect();
        needs.retain(|_, needed| !needed.is_disjoint(&left));
        if needs.len() == left.len() {
            break;
        }
    }
    match needs.into_keys().next() {
        Some(name) => Err(format!("describes a package {name} that in the end needs itself")),
        None => Ok(()),
    }
}

fn add(needs: &mut Needs, described: &Resolve) {
    for (id, package) in &described.packages {
        let needed = described.package_direct_deps(id);
        let needed = needed.map(|other| described.packages[other].name.to_string());
        needs.entry(package.name.to_string()).or_default().extend(needed);
    }
}
