//! Where a store is: `file:PATH`; `s3://BUCKET?endpoint=…&region=…` of whoever speaks S3;
//! `gs://BUCKET` at Google; `az://CONTAINER?endpoint=…` at Azure.

use super::{Objects, Own};
use crate::error::{Error, Result};
use anyhow::{Context, bail};
use object_store::{
    aws::{AmazonS3Builder, Checksum, S3ConditionalPut},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
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
    provider: Provider,
    name: String,
    /// None: the provider's own.
    endpoint: Option<String>,
    region: Option<String>,
    /// Key id and secret, at Azure account and key; none: from the environment that the
    /// provider's own tools read, or the machine's role.
    pub keys: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    S3,
    Google,
    Azure,
}

impl Place {
    /// Reads the place from its URL.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(folder) = text.strip_prefix("file:") {
            return Ok(Self::Folder(folder.into()));
        }
        let url = Url::parse(text).context("storageUrl")?;
        let name = url.host_str().unwrap_or_default();
        let provider = match url.scheme() {
            "s3" => Some(Provider::S3),
            "gs" => Some(Provider::Google),
            "az" => Some(Provider::Azure),
            _ => None,
        };
        let (Some(provider), false, "" | "/") = (provider, name.is_empty(), url.path()) else {
            bail!(
                "storageUrl must be file:PATH, s3://BUCKET?endpoint=URL&region=NAME, gs://BUCKET \
                 or az://CONTAINER?endpoint=URL"
            );
        };
        let name = name.to_owned();
        let mut bucket = Bucket { provider, name, endpoint: None, region: None, keys: None };
        for (setting, value) in url.query_pairs() {
            match &*setting {
                "endpoint" => bucket.endpoint = Some(value.into_owned()),
                "region" if provider == Provider::S3 => bucket.region = Some(value.into_owned()),
                other => bail!("storageUrl: {other} means nothing here"),
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
            Self::Bucket(bucket) => match bucket.provider {
                Provider::S3 => bucket.s3(),
                Provider::Google => bucket.google(),
                Provider::Azure => bucket.azure(),
            },
        }
    }
}

impl Bucket {
    fn s3(&self) -> Result<Objects> {
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
        let own = Own::Bucket { parts: store.clone(), signer: Some(store.clone()) };
        Ok(Objects { store, own, begun: None })
    }

    fn google(&self) -> Result<Objects> {
        let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&self.name);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        let store = Arc::new(builder.build().map_err(Error::from)?);
        let own = Own::Bucket { parts: store.clone(), signer: Some(store.clone()) };
        Ok(Objects { store, own, begun: None })
    }

    /// Its links are of no use here: who sends bytes to one must say what kind of object
    /// they are in a header that the published SDK does not send, and who fetches them
    /// from one cannot be told to keep them instead of showing them.
    fn azure(&self) -> Result<Objects> {
        let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&self.name);
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint.clone())
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some((account, key)) = &self.keys {
            builder = builder.with_account(account).with_access_key(key);
        }
        let store = Arc::new(builder.build().map_err(Error::from)?);
        let own = Own::Bucket { parts: store.clone(), signer: None };
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
            "gs://files?region=eu-1",
            "az://",
            "ftp://files",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
