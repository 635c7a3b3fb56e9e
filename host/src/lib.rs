//! x
pub mod accounts;
pub mod bus;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod files;
pub mod id;
pub mod objects;
pub mod sandbox;
pub mod seal;
pub mod sessions;
pub mod storage;
pub mod timestamp;
