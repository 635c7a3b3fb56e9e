//! x
pub mod clock;
pub mod error;
pub mod id;
pub mod objects;
pub mod sandbox;
pub mod seal;
pub mod storage;
pub mod timestamp;
