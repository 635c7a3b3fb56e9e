//! npm's `tus-js-client` uploads a file of a gibibyte while the host is killed, twice: it
//! is there, byte for byte, and the host never had much of it in memory.

use super::{node, start};
use crate::harness::{
    Engine, Person, Place, Value,
    bucket::{Bucket, KEY_ID, SECRET},
    memory,
    process::Process,
    run,
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What a host may need for one upload, however large it is: a step of what is written
/// down, and the buffers on both sides of it.
const MEMORY: u64 = 64 << 20;

#[test]
fn a_gibibyte_arrives_although_the_host_is_killed_twice() {
    run(uploads(Engine::Sqlite, 1 << 30, None, Vec::new()));
}

/// In pieces that are no multiple of what a bucket takes as a part.
#[test]
fn a_bucket_gets_it_too() {
    run(async {
        let bucket = Bucket::start().await;
        let environment = vec![
            ("AIYBIZ_STORAGE_URL", bucket.url.clone()),
            ("AIYBIZ_STORAGE_KEY_ID", KEY_ID.into()),
            ("AIYBIZ_STORAGE_SECRET", SECRET.into()),
            ("AIYBIZ_PROXY_FILES", "true".into()),
        ];
        uploads(Engine::Postgres, 200 << 20, Some(7_000_000), environment).await;
        assert_eq!(bucket.unfinished(), 0);
    });
}

async fn uploads(
    engine: Engine,
    size: u64,
    chunk: Option<u64>,
    environment: Vec<(&'static str, String)>,
) {
    let place = Place::new(engine).await;
    let mut process = Process::serve_in(&place, environment.clone());
    let url = process.url.clone();
    let cleo = Person::sign_up(&url, "cleo").await;
    let path = place.folder.path().join("large.bin");
    let expected = write(&path, size);
    let job = serde_json::json!({ "host": url, "token": cleo.token, "path": path, "chunk": chunk });
    let mut client = start(node(), "upload.mjs", &[job.to_string()]);
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let mut grown = Vec::new();
    let mut before = memory::resident(process.id());
    let mut kills = [size / 3, size * 2 / 3].into_iter().peekable();
    let told: Value = loop {
        let line = lines.next_line().await.expect("a pipe").expect("it was uploaded");
        let Ok(sent) = line.parse::<u64>() else { break line.parse().expect("what became of it") };
        if kills.next_if(|kill| sent >= *kill).is_some() {
            grown.push(memory::peak(process.id()) - before);
            process.kill();
            process = Process::serve_again(&place, &url, environment.clone());
            before = memory::resident(process.id());
        }
    };
    grown.push(memory::peak(process.id()) - before);
    assert_eq!(kills.next(), None, "it was not killed twice");
    assert!(told["retries"].as_u64() >= Some(2), "{told}");
    let node = told["url"].as_str().and_then(|url| url.rsplit('/').next()).expect("an id");
    let (found, bytes) = digest(&cleo, node).await;
    assert_eq!((bytes, found), (size, expected));
    grown.push(memory::peak(process.id()) - before);
    println!("{} MiB; grown by at most {grown:?} bytes; {told}", size >> 20);
    assert!(grown.iter().all(|grown| *grown < MEMORY), "{grown:?}");
    assert_eq!(cleo.get("/files/usage").await.ok()["usedBytes"].as_u64(), Some(size));
}

/// A file that repeats itself nowhere near a part's size; answers its digest.
fn write(path: &Path, size: u64) -> Vec<u8> {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let mut digest = Sha256::new();
    for n in 0..size >> 20 {
        let mut block = vec![(n % 251) as u8; 1 << 20];
        block[..8].copy_from_slice(&n.to_be_bytes());
        digest.update(&block);
        file.write_all(&block).expect("it is written");
    }
    file.flush().expect("it is written");
    digest.finalize().to_vec()
}

async fn digest(who: &Person, node: &str) -> (Vec<u8>, u64) {
    let link = who.get(&format!("/files/{node}/download-url")).await.ok();
    let url = link["signedUrl"].as_str().expect("a link");
    let mut answer = who.http.get(url).send().await.expect("an answer");
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = answer.chunk().await.expect("it goes on") {
        digest.update(&piece);
        bytes += piece.len() as u64;
    }
    (digest.finalize().to_vec(), bytes)
}
