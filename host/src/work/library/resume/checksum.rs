//! What a piece should come to, and what it comes to.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a piece should come to.
pub enum Checksum {
    Sha1(Vec<u8>),
    Sha256(Vec<u8>),
}

pub(super) enum Digesting {
    Sha1(Sha1, Vec<u8>),
    Sha256(Sha256, Vec<u8>),
}

impl Digesting {
    pub(super) fn new(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Sha1(expected) => Self::Sha1(Sha1::new(), expected),
            Checksum::Sha256(expected) => Self::Sha256(Sha256::new(), expected),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(digest, _) => digest.update(bytes),
            Self::Sha256(digest, _) => digest.update(bytes),
        }
    }

    pub(super) fn comes_out(self) -> bool {
        match self {
            Self::Sha1(digest, expected) => digest.finalize()[..] == expected[..],
            Self::Sha256(digest, expected) => digest.finalize()[..] == expected[..],
        }
    }
}
