//! Links that open by themselves: to send one upload's bytes, or to fetch one file's.
//!
//! What they are good for is written in them and tagged with the platform's key, so they
//! need no row; a key that is replaced goes on opening its links while it is given as a
//! previous one.

use crate::{
    id::{NodeId, SessionId},
    seal::Key,
    timestamp::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::time::Duration;
use uuid::Uuid;

/// How long a link opens (contract §6).
pub const LIFE: Duration = Duration::from_hours(1);

/// The purpose for which links are tagged.
const PURPOSE: &str = "file link";

/// What a link is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To send the bytes.
    Put,
    /// To fetch them.
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub right: Right,
    pub node: NodeId,
    /// Whose agent it was made for; none for the client.
    pub session: Option<SessionId>,
    /// In whole seconds.
    pub until: Timestamp,
}

/// Version, right, node, session or zeros, seconds since 1970; then the tag.
const BODY_BYTES: usize = 1 + 1 + 16 + 16 + 8;
const VERSION: u8 = 1;

impl Link {
    pub fn token(&self, key: &Key) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + 32);
        bytes.extend([VERSION, self.right as u8]);
        bytes.extend(self.node.0.as_bytes());
        bytes.extend(self.session.map_or(Uuid::nil(), |session| session.0).as_bytes());
        bytes.extend(self.until.as_secs().to_be_bytes());
        let tag = key.tag(PURPOSE, &[&bytes]);
        bytes.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The link that a token is of; none when the platform did not make it.
    pub fn read(key: &Key, token: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, tag) = bytes.split_at_checked(BODY_BYTES)?;
        if !key.made(tag, PURPOSE, &[body]) {
            return None;
        }
        let uuid = |at: usize| Uuid::from_slice(body.get(at..at + 16)?).ok();
        let session = uuid(18).filter(|session| !session.is_nil());
        let right = match body[1] {
            0 => Right::Put,
            _ => Right::Get,
        };
        let seconds = i64::from_be_bytes(body[34..].try_into().ok()?);
        Some(Self {
            right,
            node: NodeId(uuid(2)?),
            session: session.map(SessionId),
            until: Timestamp::from_micros(seconds.checked_mul(1_000_000)?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_back_and_nothing_of_it_can_be_changed() {
        let key = Key::new([7; 32], &[]);
        for session in [None, Some(SessionId(Uuid::from_u128(5)))] {
            for right in [Right::Put, Right::Get] {
                let until = Timestamp::from_micros(1_800_000_000_000_000).expect("a time");
                let link = Link { right, node: NodeId(Uuid::from_u128(9)), session, until };
                let token = link.token(&key);
                assert_eq!(Link::read(&key, &token), Some(link));
                let newer = Key::new([8; 32], &[[7; 32]]);
                assert_eq!(Link::read(&newer, &token), Some(link));
                assert_eq!(Link::read(&Key::new([8; 32], &[]), &token), None);
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).expect("base64");
                for at in 0..bytes.len() {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1;
                    let changed = BASE64_URL_SAFE_NO_PAD.encode(&changed);
                    assert_eq!(Link::read(&key, &changed), None, "byte {at}");
                }
                for end in 0..bytes.len() {
                    let cut = BASE64_URL_SAFE_NO_PAD.encode(&bytes[..end]);
                    assert_eq!(Link::read(&key, &cut), None, "cut at {end}");
                }
            }
        }
    }
}
