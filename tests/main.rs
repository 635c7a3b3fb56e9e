//! The platform as its users see it: real HTTP on real sockets, both databases,
//! real components. `harness` has the vocabulary; every other file is a theme.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing fails")]

mod harness;
mod path;
