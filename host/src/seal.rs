//! The platform's key and what is made with it: tokens that need no row, tags on
//! files, and values that only the platform can read.
//!
//! One secret of 32 bytes; everything is derived from it with a purpose of its
//! own, so that nothing made for one purpose is good for another.
//!
//! The operator may change it. What the keys before it made is still recognised and
//! opened while they are given, and whatever is made, the current one makes. A
//! sealed value begins with the id of its key, so that the right one is found and
//! `aiybiz reseal` sees what is left to do.

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
    io::{self, Read, Seek},
    sync::Arc,
};
use subtle::ConstantTimeEq;

pub type Tag = [u8; 32];

/// Names a key without saying anything of it.
pub type KeyId = [u8; 8];

const NONCE_BYTES: usize = 24;

/// Of a file that is read; enough to be quick.
const PIECE_BYTES: usize = 64 << 10;

/// Cheap to clone; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key(Arc<Ring>);

struct Ring {
    current: Root,
    previous: Vec<Root>,
}

struct Root {
    id: KeyId,
    secret: Tag,
}

impl Key {
    /// `previous` are keys that were current once.
    pub fn new(secret: Tag, previous: &[Tag]) -> Self {
        let previous = previous.iter().copied().map(Root::new).collect();
        Self(Arc::new(Ring { current: Root::new(secret), previous }))
    }

    /// An HMAC-SHA256 over the parts, each with its length, for one purpose.
    pub fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        self.0.current.tag(purpose, parts)
    }

    /// The same over a part and what is in a file, which is read as it is needed.
    pub fn tag_file(&self, purpose: &str, part: &[u8], file: &mut File) -> io::Result<Tag> {
        self.0.current.tag_file(purpose, part, file)
    }

    /// Was this tag made of these parts, with whichever key?
    pub fn made(&self, tag: &[u8], purpose: &str, parts: &[&[u8]]) -> bool {
        self.all().any(|root| root.tag(purpose, parts).ct_eq(tag).into())
    }

    /// The same for a part and what is in a file.
    pub fn made_file(
        &self,
        tag: &[u8],
        purpose: &str,
        part: &[u8],
        file: &mut File,
    ) -> io::Result<bool> {
        for root in self.all() {
            if root.tag_file(purpose, part, file)?.ct_eq(tag).into() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there may be anything that the current key did not make.
    pub fn has_previous(&self) -> bool {
        !self.0.previous.is_empty()
    }

    /// Encrypts a value so that it can only be opened in the same place.
    pub fn seal(&self, clock: &Clock, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = clock.random();
        let payload = Payload { msg: value, aad: place.as_bytes() };
        let root = &self.0.current;
        let sealed = root.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| Error::internal(anyhow::anyhow!("cannot encrypt")))?;
        Ok([root.id.as_slice(), &nonce, &sealed].concat())
    }

    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let broken = |why| Error::internal(anyhow::anyhow!("{place}: {why}"));
        let (id, sealed) = sealed.split_first_chunk().ok_or_else(|| broken("is cut off"))?;
        let root = self.all().find(|root| root.id == *id);
        let root = root.ok_or_else(|| broken("is sealed with a key that was not given"))?;
        let nonce = sealed.split_at_checked(NONCE_BYTES);
        let (nonce, sealed) = nonce.ok_or_else(|| broken("is cut off"))?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let opened = root.cipher().decrypt(XNonce::from_slice(nonce), payload);
        opened.map_err(|_| broken("was changed, or belongs elsewhere"))
    }

    /// What the sealed values of the current key begin with.
    pub fn id(&self) -> KeyId {
        self.0.current.id
    }

    fn all(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.0.current).chain(&self.0.previous)
    }
}

impl Root {
    fn new(secret: Tag) -> Self {
        let unnamed = Self { id: KeyId::default(), secret };
        let [a, b, c, d, e, f, g, h, ..] = unnamed.tag("key id", &[]);
        Self { id: [a, b, c, d, e, f, g, h], ..unnamed }
    }

    fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        self.mac(purpose, parts).finalize().into_bytes().into()
    }

    fn tag_file(&self, purpose: &str, part: &[u8], file: &mut File) -> io::Result<Tag> {
        let mut mac = self.mac(purpose, &[part]);
        file.rewind()?;
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
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.secret)
            .expect("HMAC takes a key of any length");
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_previous_key_made_is_known_while_it_is_given() {
        let (clock, place) = (Clock::default(), "place");
        let old = Key::new([1; 32], &[]);
        let sealed = old.seal(&clock, place, b"value").expect("sealed");
        let token = old.tag("token", &[b"a"]);
        let both = Key::new([2; 32], &[[3; 32], [1; 32]]);
        assert_eq!(both.open(place, &sealed).expect("opened"), b"value");
        assert!(both.made(&token, "token", &[b"a"]));
        assert!(!both.made(&token, "token", &[b"b"]) && !both.made(&token, "other", &[b"a"]));
        assert!(!both.made(&token[..31], "token", &[b"a"]));
        let new = Key::new([2; 32], &[]);
        assert!(new.open(place, &sealed).is_err());
        assert!(!new.made(&token, "token", &[b"a"]));
        let resealed = both.seal(&clock, place, b"value").expect("sealed");
        assert!(resealed.starts_with(&new.id()) && !sealed.starts_with(&new.id()));
        assert_eq!(new.open(place, &resealed).expect("opened"), b"value");
    }

    #[test]
    fn a_sealed_value_opens_in_its_place_and_whole() {
        let key = Key::new([1; 32], &[]);
        let sealed = key.seal(&Clock::default(), "here", b"value").expect("sealed");
        assert!(key.open("there", &sealed).is_err());
        for end in 0..sealed.len() {
            assert!(key.open("here", &sealed[..end]).is_err());
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("here", &changed).is_err());
        }
    }
}
