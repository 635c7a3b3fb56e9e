//! Bytes of any size, in an object store. Names never come here: keys are ids.
//!
//! A folder of this machine, or a bucket of a server that speaks S3. The latter can sign
//! links that open by themselves, so that bytes need not pass through this process.

mod place;
mod upload;

pub use place::Place;
pub use upload::Upload;

use crate::error::{Error, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload,
    path::Path,
    signer::{Method, SignedUrlOptions, Signer},
};
use std::{ops::Range, sync::Arc, time::Duration};

/// A handle on the store, cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// None for a store that knows no links.
    signer: Option<Arc<dyn Signer>>,
}

impl Objects {
    /// Opens the store. A write is acknowledged once it is durable.
    pub fn open(place: &Place) -> Result<Self> {
        place.open()
    }

    /// Whether it can sign links.
    pub fn signs(&self) -> bool {
        self.signer.is_some()
    }

    /// A link to which the object's bytes can be sent; none when the store knows none.
    pub async fn put_link(&self, key: &str, life: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else { return Ok(None) };
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
        let Some(signer) = &self.signer else { return Ok(None) };
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
        Upload::new(self.clone(), key)
    }
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|error| Error::internal(anyhow::Error::new(error)))
}
