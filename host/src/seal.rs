//! The platform's key and what is made with it: tokens that need no row, tags on
//! files, and values that only the platform can read.
//!
//! One secret of 32 bytes; everything is derived from it with a purpose of its
//! own, so that nothing made for one purpose is good for another.

use crate::{
    clock::Clock,
    error::{Error, Result},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

pub type Tag = [u8; 32];

const NONCE_BYTES: usize = 24;

/// Of a file that is read; enough to be quick.
const PIECE_BYTES: usize = 64 << 10;

/// Cheap to clone; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key(Arc<Tag>);

impl Key {
    pub fn new(secret: Tag) -> Self {
        Self(Arc::new(secret))
    }

    /// An HMAC-SHA256 over the parts, each with its length, for one purpose.
    pub fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        self.mac(purpose, parts).finalize().into_bytes().into()
    }

    /// The same over a part and what is in a file, which is read as it is needed.
    pub fn tag_file(&self, purpose: &str, part: &[u8], file: &mut File) -> io::Result<Tag> {
        let mut mac = self.mac(purpose, &[part]);
        let length = file.metadata()?.len();
        mac.update(&length.to_be_bytes());
        let mut content = file.take(length);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match content.read(&mut piece)? {
                0 => return Ok(mac.finalize().into_bytes().into()),
                read => mac.update(&piece[..read]),
            }
        }
    }

    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length");
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    /// Encrypts a value so that it can only be opened in the same place.
    pub fn seal(&self, clock: &Clock, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = clock.random();
        let payload = Payload { msg: value, aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| Error::internal(anyhow::anyhow!("cannot encrypt")))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let broken = || Error::internal(anyhow::anyhow!("{place}: sealed with another key"));
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(broken)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| broken())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.tag("encryption", &[]).into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What is stored of a random token: enough to recognise it, not to use it.
pub fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
