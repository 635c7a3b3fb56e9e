//! The platform as its users see it: real HTTP on real sockets, both databases,
//! real components. `harness` has the vocabulary; every other file is a theme.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod accounts;
mod agent_api;
mod bombs;
mod catalogue;
mod crash;
mod delivery;
mod egress;
mod endurance;
mod guests;
mod harness;
mod lanes;
mod layers;
mod librarian;
mod limits;
mod logs;
mod path;
mod problems;
mod refusals;
mod residue;
mod rotation;
mod storage;
mod streams;
mod tidy;
mod uploads;
