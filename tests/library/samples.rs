//! The samples of the public documentation, unchanged, in Node.js.

use super::{content, text, upload};
use crate::{
    both_engines,
    harness::{
        Engine, Platform, Value, json,
        people::Id,
        voice::Voice,
        webhook::{Reply, WebhookAgent},
    },
};
use std::path::Path;
use tokio::process::Command;

both_engines! {
    async fn the_published_samples_list_download_and_upload(engine: Engine) {
        agent_and_samples(&Platform::start(engine).await).await;
    }
}

pub async fn agent_and_samples(platform: &Platform) {
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
    let (template, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
    let (session, _events) = cleo.starts(&template).await;
    cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.created();
    let shared = upload(&cleo, None, "shared.txt", "hello").await.id();
    let share = json!({ "nodeId": shared });
    cleo.post(&format!("/sessions/{session}/shared-files"), share).await.created();

    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = platform.place().folder.path().join("result.bin");
    std::fs::write(&file, &bytes).expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sdk-node/files.cjs");
    let told = Command::new("node")
        .arg(script)
        .arg(&session)
        .arg(&file)
        .env("AIYBIZ_API_URL", &platform.url)
        .env("AGENT_TOKEN", Voice::of(platform, &session).token)
        .output()
        .await
        .expect("node");
    let told =
        String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!((&told["same"], &told["bytes"]), (&json!(true), &json!(bytes.len())), "{told}");
    assert_eq!(told["said"], "I can see 2 file(s): shared.txt, result.bin");
    assert_eq!(told["node"]["sessionTag"], json!(session));
    assert_eq!(told["node"]["mimeType"], "application/octet-stream");
    // The client has it.
    let found = content(&cleo, text(&told["node"], "id")).await;
    assert_eq!(found.len(), String::from_utf8_lossy(&bytes).len());
}
