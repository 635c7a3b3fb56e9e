//! Microsoft's own emulator of Azure's blobs, from npm, with an empty container.

use super::{Engine, Platform};
use aiybiz_host::clock::Clock;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, UNIX_EPOCH},
};
use tokio::process::{Child, Command};

/// The account and key that everybody knows: the emulator has no other.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub struct Azurite {
    url: String,
    _server: Child,
}

impl Azurite {
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port().to_string();
        let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
        let server = Command::new(libraries.join("node_modules/.bin/azurite-blob"))
            .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"])
            .args(["--blobPort", &port])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("azurite: ./tests/run installs what the tests need");
        let url = format!("http://127.0.0.1:{port}/{ACCOUNT}");
        for _ in 0..200 {
            if make_container(&url).await.is_some_and(|status| status == 201) {
                return Self { url, _server: server };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the emulator does not come up");
    }

    /// A platform that keeps its objects there.
    pub async fn platform(&self, engine: Engine) -> Platform {
        let url = format!("az://files?endpoint={}", self.url);
        Platform::configured(engine, |config| {
            config.storage_url = url;
            config.storage_keys = Some((ACCOUNT.into(), KEY.into()));
        })
        .await
    }
}

/// Signed as Azure's "Shared Key" wants it.
async fn make_container(url: &str) -> Option<u16> {
    let seconds = u64::try_from(Clock::default().machine().as_secs()).expect("after 1970");
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let version = "2021-12-02";
    let said = format!(
        "PUT{}x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/files\nrestype:container",
        "\n".repeat(12)
    );
    let key = BASE64_STANDARD.decode(KEY).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(said.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = http
        .put(format!("{url}/files?restype=container"))
        .header("x-ms-date", date)
        .header("x-ms-version", version)
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .header("content-length", "0");
    request.send().await.ok().map(|answer| answer.status().as_u16())
}
