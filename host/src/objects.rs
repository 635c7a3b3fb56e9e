//! Bytes of any size, in an object store. Names never come here: keys are ids.

use crate::error::{Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    local::LocalFileSystem, path::Path,
};
use std::{ops::Range, sync::Arc};

/// S3 wants every part but the last to have at least this many bytes.
const PART_BYTES: usize = 5 << 20;

/// A handle on the store, cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Opens a folder on this machine, made if it is not there. A write is
    /// acknowledged once it is on the disk.
    pub fn local(folder: &std::path::Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.store.put(&path(key)?, PutPayload::from(bytes)).await?;
        Ok(())
    }

    pub async fn get(&self, key: &str) -> Result<Bytes> {
        Ok(self.store.get(&path(key)?).await?.bytes().await?)
    }

    /// `length` bytes from `offset`; fewer at the end of the object.
    pub async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        Ok(self.store.get_range(&path(key)?, offset..offset.saturating_add(length)).await?)
    }

    /// The bytes of a part, as they are read. The part must not be empty unless the object is.
    pub async fn stream(
        &self,
        key: &str,
        part: Range<u64>,
    ) -> Result<impl Stream<Item = object_store::Result<Bytes>> + Send + 'static> {
        let range = (part.start < part.end).then_some(GetRange::Bounded(part));
        let options = GetOptions { range, ..GetOptions::default() };
        Ok(self.store.get_opts(&path(key)?, options).await?.into_stream())
    }

    /// How many bytes it has; none when it is not there.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&path(key)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All keys there are, in no order.
    pub fn keys(&self) -> BoxStream<'static, object_store::Result<String>> {
        let found = self.store.list(None);
        found.map_ok(|found| found.location.to_string()).boxed()
    }

    /// Deletes the object; it is not an error when there is none.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins an object that appears, whole, when the upload is finished.
    pub fn upload(&self, key: &str) -> Upload {
        Upload {
            objects: self.clone(),
            key: key.to_owned(),
            parts: None,
            buffer: Vec::new(),
            size: 0,
        }
    }
}

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

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|error| Error::internal(anyhow::Error::new(error)))
}
