//! The platform as its users see it: real HTTP on real sockets, both databases,
//! real components. `harness` has the vocabulary; every other file is a theme.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod accounts;
mod agent_api;
mod artifacts;
mod attacks;
mod attempts;
mod bombs;
mod cancel;
mod catalogue;
mod compiler;
mod conformance;
mod crash;
mod cron_jobs;
mod delivery;
mod direct_messages;
mod egress;
mod endpoints;
mod endurance;
mod fairness;
mod fuzz;
mod guests;
mod harness;
mod lanes;
mod layers;
mod librarian;
mod limits;
mod logs;
mod notifications;
mod path;
mod policy;
mod problems;
mod queue;
mod receipts;
mod receivers;
mod refusals;
mod rentals;
mod replays;
mod residue;
mod rotation;
mod session_life;
mod shared_items;
mod signing;
mod sockets;
mod storage;
mod streams;
mod tail;
mod tidy;
mod token_path;
mod uploads;
mod uploads_endurance;
mod versions;
mod warm;
mod withdrawal;
