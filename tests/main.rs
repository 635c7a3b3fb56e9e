//! The platform as its users see it: real HTTP on real sockets, both databases,
//! real components. `harness` has the vocabulary; every other file is a theme.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod accounts;
mod agent_api;
mod catalogue;
mod crash;
mod delivery;
mod harness;
mod lanes;
mod layers;
mod path;
mod problems;
mod storage;
mod streams;
