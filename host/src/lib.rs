//! A marketplace where companies rent AI agents.
//!
//! One process does it all: it serves clients, builders, agents and operators over
//! HTTP, keeps the sessions' logs, and delivers every session event either to a
//! builder's webhook or to a WebAssembly component that it runs itself.
//!
//! Layers, top to bottom; a module may use what is below it (README.md,
//! ARCHITECTURE; held by a test):
//!
//! ```text
//! cli  demo  serve
//! api
//! work                                          host, config below it
//! accounts  catalog  sessions  files  billing   a noun each: types, SQL, rules
//! policy  audit  notifications → mails          idempotency
//! delivery → sandbox                            payments
//! reseal  storage  bus  objects  net            no domain words
//! error  clock  id  timestamp  money  seal  metrics
//! ```

pub mod accounts;
pub mod api;
pub mod audit;
pub mod billing;
pub mod bus;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod error;
pub mod files;
pub mod host;
pub mod id;
pub mod idempotency;
pub mod mails;
pub mod metrics;
pub mod money;
pub mod net;
pub mod notifications;
pub mod objects;
pub mod pace;
pub mod payments;
pub mod policy;
pub mod reseal;
pub mod sandbox;
pub mod seal;
pub mod serve;
pub mod sessions;
pub mod storage;
pub mod timestamp;
pub mod work;
