//! An S3 server of the tests' own, on a free port, that checks signatures as strictly as
//! the original.

use super::{Engine, Platform};
use hyper::{
    Request,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const KEY_ID: &str = "a-key-id";
pub const SECRET: &str = "a-secret";

/// Serves while the runtime of its test lives.
pub struct Bucket {
    pub url: String,
    /// What is in it, as files.
    pub folder: TempDir,
}

impl Bucket {
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("aiybiz-bucket-").tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("files")).expect("a bucket is a folder");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a store"));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                // Goes on with what it was asked although the one who asked is gone.
                let service = service_fn(move |request: Request<Incoming>| {
                    let service = service.clone();
                    let answering =
                        tokio::spawn(async move { Service::call(&service, request).await });
                    async { answering.await.expect("no panic") }
                });
                tokio::spawn(async move {
                    let connections = Builder::new(TokioExecutor::new());
                    let _ = connections.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url: format!("s3://files?endpoint=http://{address}&region=us-east-1"), folder }
    }

    /// Parts of objects that were neither put together nor given up.
    pub fn unfinished(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path()).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name());
        names.filter(|name| name.to_string_lossy().contains(".part-")).count()
    }

    /// A platform that keeps its objects in it.
    pub async fn platform(&self, engine: Engine, proxied: bool) -> Platform {
        let url = self.url.clone();
        Platform::configured(engine, |config| {
            config.storage_url = url;
            config.storage_keys = Some((KEY_ID.into(), SECRET.into()));
            config.proxy_files = proxied;
        })
        .await
    }
}
