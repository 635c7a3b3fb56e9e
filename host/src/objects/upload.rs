//! Writing an object piece by piece: it appears whole, or not at all.

use super::{Objects, path};
use crate::error::{Error, Result};
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

/// S3 wants every part but the last to have at least this many bytes.
const PART_BYTES: usize = 5 << 20;

/// An object that is being written. Dropped before [`Upload::finish`], it leaves
/// nothing behind.
pub struct Upload {
    objects: Objects,
    key: String,
    parts: Option<Box<dyn MultipartUpload>>,
    buffer: Vec<u8>,
    size: u64,
}

impl Upload {
    pub(super) fn new(objects: Objects, key: &str) -> Self {
        Self { objects, key: key.to_owned(), parts: None, buffer: Vec::new(), size: 0 }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() >= PART_BYTES {
            let part = std::mem::take(&mut self.buffer);
            self.parts().await?.put_part(PutPayload::from(part)).await?;
        }
        Ok(())
    }

    pub async fn finish(mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.buffer);
        let Some(mut parts) = self.parts.take() else {
            let (objects, key) = (self.objects.clone(), self.key.clone());
            return objects.put(&key, rest.into()).await;
        };
        let finished = async {
            if !rest.is_empty() {
                parts.put_part(PutPayload::from(rest)).await?;
            }
            parts.complete().await
        };
        let result = finished.await;
        if result.is_err() {
            self.parts = Some(parts);
        }
        result.map(drop).map_err(Error::from)
    }

    async fn parts(&mut self) -> Result<&mut Box<dyn MultipartUpload>> {
        if self.parts.is_none() {
            let begun = self.objects.store.put_multipart(&path(&self.key)?).await?;
            self.parts = Some(begun);
        }
        Ok(self.parts.as_mut().expect("begun just above"))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = parts.abort().await {
                tracing::warn!(%error, "an abandoned upload could not be removed");
            }
        });
    }
}
