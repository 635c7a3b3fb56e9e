//! Writing an object piece by piece: it is there, whole, once the upload is finished.

use super::{Objects, Own, file::Growing, parts::Parts, path};
use crate::error::Result;
use bytes::Bytes;

/// An object that is being written. A new one that is dropped before [`Upload::finish`]
/// leaves nothing behind.
pub struct Upload {
    key: String,
    size: u64,
    to: To,
}

enum To {
    Folder(Growing),
    Bucket(Parts),
}

/// What is there of an object that is written in several goes.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    pub bytes: u64,
    /// How many bytes each part has that a bucket keeps, but the last.
    pub part_bytes: usize,
    /// Under which number it keeps them, when it has any, and what it calls them.
    pub multipart: Option<String>,
    pub parts: Vec<String>,
    /// What came after them.
    pub rest: Bytes,
}

impl Upload {
    /// Of an object that was begun before, nothing is taken away whatever happens.
    pub(super) fn new(objects: &Objects, key: &str, before: Option<SoFar>) -> Result<Self> {
        let (path, kept) = (path(key)?, before.is_some());
        let so_far = before.unwrap_or_default();
        let size = so_far.bytes;
        let to = match &objects.own {
            Own::Folder(folder) => {
                To::Folder(Growing::new(folder.path_to_filesystem(&path)?, size, kept))
            }
            Own::Bucket { .. } => To::Bucket(Parts::new(objects.clone(), path, so_far, kept)),
        };
        Ok(Self { key: key.to_owned(), size, to })
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes written so far, before this and now.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        match &mut self.to {
            To::Folder(file) => file.write(&bytes).await,
            To::Bucket(parts) => parts.write(&bytes).await,
        }
    }

    /// Makes as much durable as can be before the end; says how many bytes that is.
    pub async fn save(&mut self) -> Result<u64> {
        match &mut self.to {
            To::Folder(file) => file.save().await.map(|()| self.size),
            To::Bucket(parts) => Ok(parts.durable()),
        }
    }

    /// Nothing comes any more. All of it is durable, if not yet put together.
    pub async fn seal(&mut self) -> Result<()> {
        match &mut self.to {
            To::Folder(file) => file.save().await,
            To::Bucket(parts) => parts.seal().await,
        }
    }

    /// The object is there, durably.
    pub async fn finish(mut self) -> Result<()> {
        self.seal().await?;
        if let To::Bucket(parts) = &mut self.to {
            parts.assemble().await?;
        }
        match &mut self.to {
            To::Folder(file) => file.keep(),
            To::Bucket(parts) => parts.keep(),
        }
        Ok(())
    }

    /// The number under which a bucket keeps the parts.
    pub fn multipart(&self) -> Option<&str> {
        match &self.to {
            To::Folder(_) => None,
            To::Bucket(parts) => parts.number(),
        }
    }

    /// What a bucket calls the parts that it keeps.
    pub fn parts(&self) -> Vec<String> {
        match &self.to {
            To::Folder(_) => Vec::new(),
            To::Bucket(parts) => parts.names(),
        }
    }

    /// What came after the last of them.
    pub fn rest(&self) -> Bytes {
        match &self.to {
            To::Folder(_) => Bytes::new(),
            To::Bucket(parts) => parts.rest(),
        }
    }
}
