//! Following receipts and logs live.

use crate::harness::Engine;
