//! Passwords: argon2id, on a thread of its own, one at a time.
//!
//! One hash takes 19 MiB and some 20 ms of a core on purpose. Without a bound, a burst of
//! sign-ins would take the machine away from everybody else; and the thread gives way to
//! whoever else has work for the core.

use crate::error::{Error, Result};
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use std::{
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::{Semaphore, oneshot};

/// Hashes computed at once.
const AT_ONCE: usize = 1;

/// How much the thread gives way: it gets a tenth of a core that others want, all of one
/// that nobody does.
const NICE: i32 = 10;

/// Shortest and longest password, in characters. The upper bound keeps the input
/// of the hash small; NIST SP 800-63B asks for at least 8 and at least 64.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    /// A hash of nothing anyone knows, so that an unknown address takes as long
    /// to refuse as a wrong password.
    decoy: Arc<str>,
}

impl Passwords {
    pub fn new() -> Result<Self> {
        let decoy = hash("decoy")?.into();
        let (work, given) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        // It ends with the last handle.
        let thread = thread::Builder::new().name("passwords".to_owned()).spawn(move || {
            // Linux knows a thread by a number as it knows a process; elsewhere, or when it
            // is refused, the thread is one like others.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            while let Ok(work) = given.recv() {
                work();
            }
        });
        thread.map_err(Error::internal)?;
        Ok(Self { turns: Arc::new(Semaphore::new(AT_ONCE)), work, decoy })
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
        // Never closed, so there is always a permit in the end. Who is gone by then has
        // nothing done for him.
        let _turn = self.turns.acquire().await;
        let (answer, answered) = oneshot::channel();
        let work = move || {
            // An error means that nobody waits any more.
            let _ = answer.send(work());
        };
        self.work
            .send(Box::new(work))
            .map_err(|_| Error::internal(anyhow::anyhow!("no thread")))?;
        answered.await.map_err(Error::internal)
    }
}

fn hash(password: &str) -> Result<String> {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    Ok(hashed.map_err(|error| Error::internal(anyhow::anyhow!("argon2: {error}")))?.to_string())
}
