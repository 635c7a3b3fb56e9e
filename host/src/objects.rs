//! Bytes of any size, in an object store. Names never come here: keys are ids.
//!
//! A folder of this machine, or a bucket. Most buckets can sign links that open by
//! themselves, so that bytes need not pass through this process.

mod file;
mod parts;
mod place;
mod upload;

pub use place::Place;
pub use upload::{SoFar, Upload};

use crate::error::{Error, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload,
    local::LocalFileSystem,
    multipart::{MultipartStore, PartId},
    path::Path,
    signer::{Method, SignedUrlOptions, Signer},
};
use std::{ops::Range, sync::Arc, time::Duration};

/// A handle on the store, cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    own: Own,
    begun: Option<Begun>,
}

/// What the two kinds of places have for themselves.
#[derive(Clone)]
enum Own {
    Folder(Arc<LocalFileSystem>),
    Bucket {
        parts: Arc<dyn MultipartStore>,
        /// None: its links are of no use here.
        signer: Option<Arc<dyn Signer>>,
    },
}

/// Writes down that an object of this key was begun in parts, under this number: a bucket
/// keeps what nobody finishes or gives up.
pub type Begun = Arc<dyn Fn(String, String) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl Objects {
    /// Opens the store. A write is acknowledged once it is durable.
    pub fn open(place: &Place) -> Result<Self> {
        place.open()
    }

    /// Has it told of everything that is begun in parts.
    pub fn noting(mut self, begun: Begun) -> Self {
        self.begun = Some(begun);
        self
    }

    /// Whether it can sign links.
    pub fn signs(&self) -> bool {
        self.signer().is_some()
    }

    fn signer(&self) -> Option<&dyn Signer> {
        match &self.own {
            Own::Folder(_) => None,
            Own::Bucket { signer, .. } => signer.as_deref(),
        }
    }

    /// A link to which the object's bytes can be sent; none when the store knows none.
    pub async fn put_link(&self, key: &str, life: Duration) -> Result<Option<String>> {
        let Some(signer) = self.signer() else { return Ok(None) };
        let url = signer.signed_url(Method::PUT, &path(key)?, life).await?;
        Ok(Some(url.to_string()))
    }

    /// A link from which they can be fetched, under this type and disposition.
    pub async fn get_link(
        &self,
        key: &str,
        life: Duration,
        kind: &str,
        disposition: &str,
    ) -> Result<Option<String>> {
        let Some(signer) = self.signer() else { return Ok(None) };
        let options = SignedUrlOptions::new().with_query([
            ("response-content-disposition", disposition),
            ("response-content-type", kind),
        ]);
        let url = signer.signed_url_opts(Method::GET, &path(key)?, life, &options).await?;
        Ok(Some(url.to_string()))
    }

    /// Copies within the store. What was there is replaced.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        Ok(self.store.copy(&path(from)?, &path(to)?).await?)
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
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let range = (part.start < part.end).then_some(GetRange::Bounded(part));
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.store.get_opts(&path(key)?, options).await?;
        let range = found.range.clone();
        Ok(match found.payload {
            // The store's own stream has pieces of 8 KiB, which are slow.
            GetResultPayload::File(file, _) => file::pieces(file, range).boxed(),
            GetResultPayload::Stream(bytes) => bytes,
        })
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

    /// Begins an object that is there, whole, when the upload is finished.
    pub fn upload(&self, key: &str) -> Result<Upload> {
        Upload::new(self, key, None)
    }

    /// Goes on with one that was begun before.
    pub fn resume(&self, key: &str, so_far: SoFar) -> Result<Upload> {
        Upload::new(self, key, Some(so_far))
    }

    /// Puts together what was sealed, which has so many bytes; again, if it was before.
    pub async fn assemble(
        &self,
        key: &str,
        multipart: Option<&str>,
        names: Vec<String>,
        bytes: u64,
    ) -> Result<()> {
        if let (Own::Bucket { parts, .. }, Some(multipart)) = (&self.own, multipart)
            && self.size(key).await?.is_none()
        {
            let names = names.into_iter().map(|content_id| PartId { content_id }).collect();
            parts.complete_multipart(&path(key)?, &multipart.to_owned(), names).await?;
        }
        let found = self.size(key).await?;
        if found != Some(bytes) {
            let wrong = anyhow::anyhow!("{key} should have {bytes} bytes: {found:?}");
            return Err(Error::internal(wrong));
        }
        Ok(())
    }

    /// Gives up what was begun in parts; it is not an error when that is over.
    pub async fn abort(&self, key: &str, multipart: &str) -> Result<()> {
        let Own::Bucket { parts, .. } = &self.own else { return Ok(()) };
        match parts.abort_multipart(&path(key)?, &multipart.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How many bytes each part of an object has, so that it does not have too many.
pub fn part_bytes(length: u64) -> usize {
    let most = usize::try_from(length.div_ceil(parts::PARTS)).unwrap_or(usize::MAX);
    most.max(parts::PART_BYTES)
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|error| Error::internal(anyhow::Error::new(error)))
}
