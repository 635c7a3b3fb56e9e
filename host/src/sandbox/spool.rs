//! Files that do not stay: an upload as it arrives and while it waits, an artifact
//! while it is written.
//!
//! Uploads wait on the disk, not in memory; their digest is made on the way. All
//! are in the artifacts' folder under names that end in `.draft`. Whoever holds one
//! removes it by dropping it, and what a crash left is swept at the next start.

use crate::{error::Result, seal::hex};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tokio::io::AsyncWriteExt;

const ENDING: &str = "draft";

/// A file's name; the file, if there is one, goes with it.
pub(super) struct Draft(PathBuf);

impl Draft {
    /// A name that is nobody else's.
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.join(format!("{}.{ENDING}", uuid::Uuid::new_v4())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the file, for nobody else's eyes.
    pub(super) fn create(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // There may be none: not yet made, or renamed.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes what a dead process left.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// An upload that is arriving.
pub struct Spool {
    draft: Draft,
    file: tokio::fs::File,
    digest: Sha256,
    size: u64,
}

/// An upload that is here.
pub struct Upload {
    draft: Draft,
    /// Of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    pub size: u64,
}

impl Spool {
    pub(super) fn begin(folder: &Path) -> Result<Self> {
        let draft = Draft::new(folder);
        let file = tokio::fs::File::from_std(draft.create()?);
        Ok(Self { draft, file, digest: Sha256::new(), size: 0 })
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub async fn write(&mut self, piece: &Bytes) -> Result<()> {
        self.digest.update(piece);
        self.size += piece.len() as u64;
        Ok(self.file.write_all(piece).await?)
    }

    pub async fn finish(mut self) -> Result<Upload> {
        self.file.flush().await?;
        let sha256 = hex(&self.digest.finalize());
        Ok(Upload { draft: self.draft, sha256, size: self.size })
    }
}

impl Upload {
    /// To read it from its beginning.
    pub fn open(&self) -> io::Result<File> {
        File::open(self.draft.path())
    }
}
