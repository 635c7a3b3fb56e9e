//! Where a store is: `file:PATH`, or `s3://BUCKET?endpoint=…&region=…`.

use super::{Objects, Own};
use crate::error::{Error, Result};
use anyhow::{Context, bail};
use object_store::{
    aws::{AmazonS3Builder, Checksum, S3ConditionalPut},
    local::LocalFileSystem,
};
use std::{path::PathBuf, sync::Arc};
use url::Url;

/// A place for objects, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A bucket, and who speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// None: the provider's own.
    endpoint: Option<String>,
    region: Option<String>,
    /// Key id and secret; none: from the usual environment, or the machine's role.
    pub keys: Option<(String, String)>,
}

impl Place {
    /// Reads the place from its URL.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(folder) = text.strip_prefix("file:") {
            return Ok(Self::Folder(folder.into()));
        }
        let url = Url::parse(text).context("storageUrl")?;
        let name = url.host_str().unwrap_or_default();
        if url.scheme() != "s3" || name.is_empty() || !matches!(url.path(), "" | "/") {
            bail!("storageUrl must be file:PATH or s3://BUCKET?endpoint=URL&region=NAME");
        }
        let mut bucket = Bucket { name: name.to_owned(), endpoint: None, region: None, keys: None };
        for (setting, value) in url.query_pairs() {
            match &*setting {
                "endpoint" => bucket.endpoint = Some(value.into_owned()),
                "region" => bucket.region = Some(value.into_owned()),
                other => bail!("storageUrl: {other} is not endpoint or region"),
            }
        }
        Ok(Self::Bucket(bucket))
    }

    pub(super) fn open(&self) -> Result<Objects> {
        match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder)?;
                let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
                let store = Arc::new(store);
                Ok(Objects { store: store.clone(), own: Own::Folder(store), begun: None })
            }
            Self::Bucket(bucket) => bucket.open(),
        }
    }
}

impl Bucket {
    fn open(&self) -> Result<Objects> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.name)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(Checksum::SHA256);
        if let Some(endpoint) = &self.endpoint {
            // Buckets of other servers than the provider's own have no names of theirs.
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some((id, secret)) = &self.keys {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = Arc::new(builder.build().map_err(Error::from)?);
        let own = Own::Bucket { parts: store.clone(), signer: store.clone() };
        Ok(Objects { store, own, begun: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_what_is_none_is_refused() {
        assert_eq!(Place::parse("file:/a b").expect("a place"), Place::Folder("/a b".into()));
        let found = Place::parse("s3://files?endpoint=http://127.0.0.1:9000&region=eu-1");
        let Ok(Place::Bucket(bucket)) = found else { panic!("{found:?}") };
        assert_eq!(
            (&*bucket.name, bucket.endpoint.as_deref()),
            ("files", Some("http://127.0.0.1:9000"))
        );
        assert_eq!(bucket.region.as_deref(), Some("eu-1"));
        for wrong in [
            "",
            "files",
            "s3://",
            "s3:files",
            "s3://files/prefix",
            "s3://files?style=path",
            "gs://files",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
