//! An object in a bucket, while it grows: parts that the bucket puts together at the end,
//! or one write when it is small.

use super::{Objects, Own, SoFar};
use crate::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use object_store::{
    ObjectStoreExt, PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use std::sync::Arc;

/// S3 wants every part but the last to have at least this many bytes ...
pub(super) const PART_BYTES: usize = 5 << 20;
/// ... and takes so many of them (its user guide, "Amazon S3 multipart upload limits").
pub(super) const PARTS: u64 = 10_000;

pub(super) struct Parts {
    objects: Objects,
    path: Path,
    part_bytes: usize,
    multipart: Option<String>,
    done: Vec<PartId>,
    rest: BytesMut,
    /// All of it is in the bucket, or on its way out of our hands.
    sealed: bool,
    kept: bool,
}

impl Parts {
    pub(super) fn new(objects: Objects, path: Path, so_far: SoFar, kept: bool) -> Self {
        let SoFar { bytes: _, part_bytes, multipart, parts, rest } = so_far;
        let done = parts.into_iter().map(|content_id| PartId { content_id }).collect();
        let (part_bytes, rest) = (part_bytes.max(PART_BYTES), BytesMut::from(rest));
        Self { objects, path, part_bytes, multipart, done, rest, sealed: false, kept }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > self.part_bytes {
            let part = self.rest.split_to(self.part_bytes).freeze();
            self.put(part).await?;
        }
        Ok(())
    }

    /// The bytes of whole parts: they are the bucket's.
    pub(super) fn durable(&self) -> u64 {
        (self.done.len() * self.part_bytes) as u64
    }

    /// The last part; all of it, when it is the only one.
    pub(super) async fn seal(&mut self) -> Result<()> {
        if self.sealed {
            return Ok(());
        }
        let rest = self.rest.split().freeze();
        if self.multipart.is_none() {
            self.objects.store.put(&self.path, PutPayload::from(rest)).await?;
        } else if !rest.is_empty() {
            self.put(rest).await?;
        }
        self.sealed = true;
        Ok(())
    }

    pub(super) async fn assemble(&mut self) -> Result<()> {
        let Some(multipart) = &self.multipart else { return Ok(()) };
        let parts = self.done.clone();
        self.store()?.complete_multipart(&self.path, multipart, parts).await?;
        Ok(())
    }

    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    pub(super) fn number(&self) -> Option<&str> {
        self.multipart.as_deref()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.done.iter().map(|part| part.content_id.clone()).collect()
    }

    pub(super) fn rest(&self) -> Bytes {
        Bytes::copy_from_slice(&self.rest)
    }

    async fn put(&mut self, part: Bytes) -> Result<()> {
        let store = self.store()?;
        let multipart = match &self.multipart {
            Some(multipart) => multipart,
            None => {
                let begun = store.create_multipart(&self.path).await?;
                // Before it has a byte: what nobody knows of is never given up.
                if let Some(note) = &self.objects.begun {
                    note(self.path.to_string(), begun.clone()).await?;
                }
                self.multipart.insert(begun)
            }
        };
        let payload = PutPayload::from(part);
        let put = store.put_part(&self.path, multipart, self.done.len(), payload).await?;
        self.done.push(put);
        Ok(())
    }

    fn store(&self) -> Result<Arc<dyn MultipartStore>> {
        match &self.objects.own {
            Own::Bucket { parts, .. } => Ok(parts.clone()),
            Own::Folder(_) => Err(Error::internal(anyhow::anyhow!("a folder keeps no parts"))),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let Some(multipart) = self.multipart.take().filter(|_| !self.kept) else { return };
        let (Ok(store), Ok(runtime)) = (self.store(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let path = std::mem::take(&mut self.path);
        runtime.spawn(async move {
            if let Err(error) = store.abort_multipart(&path, &multipart).await {
                tracing::warn!(%error, "an abandoned upload could not be removed");
            }
        });
    }
}
