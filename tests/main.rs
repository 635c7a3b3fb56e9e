//! The platform as its users see it: real HTTP on real sockets, both databases,
//! real components. `harness` has the vocabulary; every other file is a theme.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod bombs;
mod endurance;
mod guests;
mod harness;
mod librarian;
mod limits;
mod logs;
mod path;
mod refusals;
mod residue;
mod uploads;
