//! How fast bytes go in and out, each way beside the bare store on the same disk, in turns.
//!
//! `cargo bench --bench files`. Nothing is asserted. Clients, the bucket's server and the
//! platform share the machine.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "figures/mod.rs"]
mod figures;
#[path = "../../tests/harness/mod.rs"]
mod harness;

use aiybiz_host::work::library;
use bytes::Bytes;
use figures::{row, title};
use futures::{StreamExt, TryStreamExt, stream};
use harness::{
    Engine, Person, Platform,
    bucket::{Bucket, KEY_ID, SECRET},
    guests, json,
    people::Id,
    tus::Upload,
};
use object_store::{
    ObjectStore, ObjectStoreExt, WriteMultipart,
    aws::{AmazonS3Builder, Checksum},
    local::LocalFileSystem,
    path::Path,
};
use std::{sync::Arc, time::Instant};

const BYTES: usize = 256 << 20;
const PIECE: usize = 64 << 10;
const ROUNDS: usize = 5;

/// What a guest writes and reads, in pieces of a mebibyte.
const GUEST_BYTES: usize = 64 << 20;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    harness::run(async {
        if wanted("folder") {
            title("a folder of this machine, 256 MiB, with fsync");
            let platform = Platform::start(Engine::Sqlite).await;
            let bare = tempfile::tempdir().expect("a folder");
            let store = LocalFileSystem::new_with_prefix(bare.path()).expect("a store");
            both(&platform, Arc::new(store.with_fsync(true))).await;
        }
        if wanted("bucket") {
            title("a bucket, 256 MiB through the host");
            let bucket = Bucket::start().await;
            let platform = bucket.platform(Engine::Sqlite, true).await;
            both(&platform, Arc::new(bare_bucket(&bucket.url))).await;
        }
        if wanted("sandbox") {
            title("a component, 64 MiB in pieces of a mebibyte");
            sandbox().await;
        }
    });
}

fn bare_bucket(url: &str) -> impl ObjectStore + use<> {
    let endpoint = url.split("endpoint=").nth(1).and_then(|rest| rest.split('&').next());
    AmazonS3Builder::new()
        .with_bucket_name("files")
        .with_endpoint(endpoint.expect("where it is"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_checksum_algorithm(Checksum::SHA256)
        .with_access_key_id(KEY_ID)
        .with_secret_access_key(SECRET)
        .build()
        .expect("a store")
}

fn pieces() -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let piece = Bytes::from(vec![7; PIECE]);
    stream::iter((0..BYTES / PIECE).map(move |_| Ok(piece.clone())))
}

/// A server that keeps nothing and gives from memory: what HTTP alone costs here.
async fn http_alone() -> String {
    let put = async |body: axum::body::Body| {
        let mut body = body.into_data_stream();
        while body.next().await.is_some() {}
    };
    let get = async || axum::body::Body::from_stream(pieces());
    let routes = axum::Router::new().route("/", axum::routing::put(put).get(get));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// Up and down, through the platform and without it, one after the other.
async fn both(platform: &Platform, bare: Arc<dyn ObjectStore>) {
    let cleo = platform.person("Cleo").await;
    let alone = http_alone().await;
    let mut times: [Vec<f64>; 7] = Default::default();
    for round in 0..ROUNDS {
        let path = Path::from(format!("bare-{round}"));
        let put = cleo.http.put(&alone).body(reqwest::Body::wrap_stream(pieces())).send();
        times[5].push(timed(put).await.0);
        times[6].push(timed(fetch(&cleo, &alone)).await.0);
        times[0].push(timed(bare_up(&*bare, &path)).await.0);
        let (took, node) = timed(up(&cleo, round)).await;
        times[1].push(took);
        let (took, large) = timed(tus(&cleo, round)).await;
        times[2].push(took);
        times[3].push(timed(bare_down(&*bare, &path)).await.0);
        times[4].push(timed(down(&cleo, &node)).await.0);
        // The next round writes where this one did.
        bare.delete(&path).await.expect("it goes");
        for node in [node, large] {
            cleo.delete(&format!("/files/{node}")).await.with(204);
            cleo.delete(&format!("/files/{node}?permanent=true")).await.with(204);
        }
        library::tidy(&platform.host).await.expect("they go");
    }
    let rates = times.map(|times| rate(times, BYTES));
    let [bare_up, up, tus, bare_down, down, http_up, http_down] = rates;
    row("up, HTTP to nowhere", &format!("{http_up:7.0} MB/s"));
    row("up, the bare store, parts of 5 MiB", &format!("{bare_up:7.0} MB/s"));
    row("up, PUT to a link", &format!("{up:7.0} MB/s   {:.2} of it", up / bare_up));
    row("up, tus, one PATCH", &format!("{tus:7.0} MB/s   {:.2} of it", tus / bare_up));
    row("down, HTTP from memory", &format!("{http_down:7.0} MB/s"));
    row("down, the bare store", &format!("{bare_down:7.0} MB/s"));
    row("down, GET of a link", &format!("{down:7.0} MB/s   {:.2} of it", down / bare_down));
}

async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    let begun = Instant::now();
    let done = work.await;
    (begun.elapsed().as_secs_f64(), done)
}

/// The median, as megabytes a second.
fn rate(mut times: Vec<f64>, bytes: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    bytes as f64 / 1e6 / times[times.len() / 2]
}

async fn bare_up(store: &dyn ObjectStore, path: &Path) {
    let upload = store.put_multipart(path).await.expect("it begins");
    let mut writing = WriteMultipart::new(upload);
    let mut pieces = std::pin::pin!(pieces());
    while let Some(Ok(piece)) = pieces.next().await {
        // One on its way while the next is gathered.
        writing.wait_for_capacity(1).await.expect("it is written");
        writing.put(piece);
    }
    writing.finish().await.expect("it is written");
}

async fn bare_down(store: &dyn ObjectStore, path: &Path) {
    let found = store.get(path).await.expect("it is there").into_stream();
    let bytes = found.try_fold(0, async |sum, piece: Bytes| Ok(sum + piece.len())).await;
    assert_eq!(bytes.expect("all of it"), BYTES);
}

async fn up(who: &Person, round: usize) -> String {
    let name = json!({ "name": format!("put-{round}") });
    let link = who.post("/files/upload-url", name).await.ok();
    let url = link["signedUrl"].as_str().expect("a link");
    let sent = who.http.put(url).body(reqwest::Body::wrap_stream(pieces())).send().await;
    assert_eq!(sent.expect("an answer").status(), 200);
    let node = link["nodeId"].as_str().expect("an id");
    let said = json!({ "fileSize": BYTES, "mimeType": "text/plain" });
    who.post(&format!("/files/{node}/complete-upload"), said).await.ok().id()
}

async fn tus(who: &Person, round: usize) -> String {
    let upload = Upload::begin(who, &format!("tus-{round}"), BYTES).await;
    upload.patch(0, reqwest::Body::wrap_stream(pieces())).await.with(204);
    upload.id().to_owned()
}

async fn down(who: &Person, node: &str) {
    let link = who.get(&format!("/files/{node}/download-url")).await.ok();
    fetch(who, link["signedUrl"].as_str().expect("a link")).await;
}

async fn fetch(who: &Person, url: &str) {
    let mut answer = who.http.get(url).send().await.expect("an answer");
    let mut bytes = 0;
    while let Some(piece) = answer.chunk().await.expect("it goes on") {
        bytes += piece.len();
    }
    assert_eq!(bytes, BYTES);
}

/// `w` writes a file, whatever else reads the one of this id.
fn copier() -> Vec<u8> {
    let imports = r#"(module
  (import "aiybiz:agent/files@0.1.0" "open" (func $open (param i32 i32 i64 i32)))
  (import "aiybiz:agent/files@0.1.0" "create" (func $create (param i32 i32 i32 i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[method]reader.read" (func $read (param i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[resource-drop]reader" (func $close (param i32)))
  (import "aiybiz:agent/files@0.1.0" "[method]writer.write" (func $append (param i32 i32 i32 i32)))
  (import "aiybiz:agent/files@0.1.0" "[static]writer.finish" (func $publish (param i32 i32)))"#;
    let more = format!(
        r#"
  (data (i32.const 1024) "doneout.bin")
  (func $sound (if (i32.load8_u (i32.const 256)) (then unreachable)))
  (func $copy_out (local $writer i32) (local $left i32)
    (drop (memory.grow (i32.const 32)))
    (call $create (i32.const 1028) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256))
    (call $sound)
    (local.set $writer (i32.load (i32.const 264)))
    (local.set $left (i32.const {pieces}))
    (loop $next
      (call $append (local.get $writer) (i32.const 65536) (i32.const 1048576) (i32.const 256))
      (call $sound)
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $publish (local.get $writer) (i32.const 256))
    (call $sound))
  (func $copy_in (param $id i32) (param $idn i32) (local $reader i32) (local $top i32)
    (call $open (local.get $id) (local.get $idn) (i64.const 0) (i32.const 256))
    (call $sound)
    (local.set $reader (i32.load (i32.const 264)))
    (local.set $top (global.get $top))
    (loop $next
      (global.set $top (local.get $top))
      (call $read (local.get $reader) (i32.const 1048576) (i32.const 256))
      (call $sound)
      (br_if $next (i32.load (i32.const 268))))
    (call $close (local.get $reader)))"#,
        pieces = GUEST_BYTES >> 20
    );
    let on_message = r"
    (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 119))
      (then (call $copy_out))
      (else (call $copy_in (local.get $text) (local.get $textn))))
    (call $say (i32.const 1024) (i32.const 4))";
    guests::core(&guests::text(&more, on_message, "").replacen("(module", imports, 1))
}

async fn sandbox() {
    let platform = Platform::start_with(Engine::Sqlite, |limits| {
        limits.file_read_bytes = 32 << 30;
        limits.file_write_bytes = 32 << 30;
        limits.cpu_millis = limits.cpu_millis.max(10_000);
    });
    let platform = platform.await;
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let agent = bea.publish("Copier", copier()).await;
    let (session, mut events) = cleo.starts(&agent).await;
    let own = cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await;
    let own = own.created().id();
    let bare = tempfile::tempdir().expect("a folder");
    let store = LocalFileSystem::new_with_prefix(bare.path()).expect("a store").with_fsync(true);
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut says = async |what: &str| {
        cleo.says(&session, what).await;
        assert_eq!(events.reply().await, "done");
    };
    for round in 0..ROUNDS {
        let path = Path::from(format!("bare-{round}"));
        times[0].push(timed(bare_guest_up(&store, &path)).await.0);
        times[1].push(timed(says("w")).await.0);
        let node = cleo.get(&format!("/files?parentId={own}")).await.ok()["data"][0].id();
        times[2].push(timed(bare_guest_down(&store, &path)).await.0);
        times[3].push(timed(says(&node)).await.0);
    }
    let [bare_up, up, bare_down, down] = times.map(|times| rate(times, GUEST_BYTES));
    row("write, the bare store, parts of 5 MiB", &format!("{bare_up:7.0} MB/s"));
    row("write, the guest", &format!("{up:7.0} MB/s   {:.2} of it", up / bare_up));
    row("read, the bare store, a mebibyte each", &format!("{bare_down:7.0} MB/s"));
    row("read, the guest", &format!("{down:7.0} MB/s   {:.2} of it", down / bare_down));
}

async fn bare_guest_up(store: &dyn ObjectStore, path: &Path) {
    let upload = store.put_multipart(path).await.expect("it begins");
    let mut writing = WriteMultipart::new(upload);
    let piece = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..GUEST_BYTES >> 20 {
        writing.wait_for_capacity(1).await.expect("it is written");
        writing.put(piece.clone());
    }
    writing.finish().await.expect("it is written");
}

async fn bare_guest_down(store: &dyn ObjectStore, path: &Path) {
    for piece in 0..GUEST_BYTES as u64 >> 20 {
        let at = piece << 20;
        let read = store.get_range(path, at..at + (1 << 20)).await.expect("a piece");
        assert_eq!(read.len(), 1 << 20);
    }
}
