//! Passwords: argon2id, off the async threads, a few at a time.
//!
//! One hash takes 19 MiB and some 20 ms of a core on purpose. Without a bound, a
//! burst of sign-ins would take the machine away from everybody else.

use crate::error::{Error, Result};
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Hashes computed at once.
const AT_ONCE: usize = 1;

/// Shortest and longest password, in characters. The upper bound keeps the input
/// of the hash small; NIST SP 800-63B asks for at least 8 and at least 64.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// A hash of nothing anyone knows, so that an unknown address takes as long
    /// to refuse as a wrong password.
    decoy: Arc<str>,
}

impl Passwords {
    pub fn new() -> Result<Self> {
        let decoy = hash("decoy")?.into();
        Ok(Self { turns: Arc::new(Semaphore::new(AT_ONCE)), decoy })
    }

    /// Checks the length and hashes; `pointer` says where it was given.
    pub async fn hash(&self, pointer: &str, password: String) -> Result<String> {
        if !LENGTH.contains(&password.chars().count()) {
            let (min, max) = (LENGTH.start(), LENGTH.end());
            return Err(Error::field(pointer, format!("must have {min} to {max} characters")));
        }
        self.turn(move || hash(&password)).await?
    }

    /// Whether the password fits the hash; without a hash it does not, and takes
    /// as long to say so.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let fits = self.turn(move || {
            let stored = PasswordHash::new(&stored).ok()?;
            Argon2::default().verify_password(password.as_bytes(), &stored).ok()
        });
        Ok(fits.await?.is_some() && known)
    }

    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        // Never closed, so there is always a permit in the end.
        let _turn = self.turns.acquire().await;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

fn hash(password: &str) -> Result<String> {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    Ok(hashed.map_err(|error| Error::internal(anyhow::anyhow!("argon2: {error}")))?.to_string())
}
