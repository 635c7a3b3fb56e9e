//! Receipts and logs: what is in them, how they are searched, who may, and how long
//! they are kept.

use crate::harness::Engine;
