//! Bounds of a library, each met by somebody who goes beyond it.

use super::{begin, complete, content, get, put, text, upload, used};
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, json,
        people::{Id, send},
        run,
        tus::Upload,
        voice::Voice,
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::files::usage::Quota;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

both_engines! {
    async fn a_library_has_so_many_nodes_and_no_more(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, carl) = (platform.person("Cleo").await, platform.person("Carl").await);
        let first = upload(&cleo, None, "first", "x").await.id();
        // As if the others were there, too.
        let mut tx = platform.host.db.write().await.expect("a transaction");
        tx.query("UPDATE libraries SET nodes = 99998").run().await.expect("it is so");
        tx.commit().await.expect("it is so");
        cleo.post("/files/folders", json!({ "name": "last but one" })).await.created();
        let last = begin(&cleo, None, "last").await;
        let more = json!({ "name": "more" });
        for path in ["/files/folders", "/files/upload-url"] {
            let told = cleo.post(path, more.clone()).await.problem(413, "too_many_nodes");
            assert!(text(&told, "detail").contains("100000"), "{told}");
        }
        Upload::try_begin(&cleo, "more", 1).await.problem(413, "too_many_nodes");
        carl.post("/files/folders", more.clone()).await.created();
        // What is begun is completed, and what goes makes room.
        put(text(&last, "signedUrl"), "x").await.with(200);
        complete(&cleo, &last, 1).await.ok();
        cleo.delete(&format!("/files/{first}")).await.with(204);
        cleo.post("/files/folders", more.clone()).await.problem(413, "too_many_nodes");
        cleo.delete(&format!("/files/{first}?permanent=true")).await.with(204);
        cleo.post("/files/folders", more).await.created();
    }

    async fn an_agent_meets_the_quota_of_its_session(engine: Engine) {
        let quota = Quota { file: 1_000, company: 1_000, session: 100 };
        let platform = Platform::configured(engine, |config| config.quota = quota).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (template, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let mut links = Vec::new();
        for _ in 0..2 {
            let (session, _events) = cleo.starts(&template).await;
            cleo.post(&format!("/sessions/{session}/agent-folder"), json!({})).await.created();
            let token = Voice::of(&platform, &session).token;
            let agent = Person { token, ..Person::nobody(&platform.url) };
            for name in ["a", "b"] {
                let path = format!("/agent/sessions/{session}/files/upload-url");
                links.push(agent.post(&path, json!({ "name": name })).await.ok());
            }
        }
        let send = async |link: usize, bytes: usize| {
            put(text(&links[link], "signedUrl"), vec![b'x'; bytes]).await
        };
        send(0, 101).await.problem(413, "quota_exceeded");
        send(0, 60).await.with(200);
        let told = send(1, 41).await.problem(413, "quota_exceeded");
        assert!(text(&told, "detail").contains("41") && text(&told, "detail").contains("40"), "{told}");
        send(1, 40).await.with(200);
        send(0, 61).await.problem(413, "quota_exceeded");
        // Another session has its own, and the client what is left.
        send(2, 100).await.with(200);
        upload(&cleo, None, "mine", &"x".repeat(800)).await;
        assert_eq!(used(&cleo).await, 1_000);
    }

    async fn links_lead_where_the_operator_says(engine: Engine) {
        let platform = Platform::configured(engine, |config| {
            config.files_url = Some("https://files.example.com".into());
        });
        let platform = platform.await;
        let cleo = platform.person("Cleo").await;
        let link = begin(&cleo, None, "x").await;
        let here = |url: &str| url.replace("https://files.example.com", &platform.url);
        assert!(text(&link, "signedUrl").starts_with("https://files.example.com/f/u/"), "{link}");
        put(&here(text(&link, "signedUrl")), "hello").await.with(200);
        let node = complete(&cleo, &link, 5).await.ok().id();
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        assert!(text(&link, "signedUrl").starts_with("https://files.example.com/f/d/"), "{link}");
        assert_eq!(get(&here(text(&link, "signedUrl"))).await.text().await.expect("a text"), "hello");
    }
}

/// A minute without a byte, and the line is free for others: of a plain upload nothing
/// stays, of one that can go on what came.
#[test]
fn who_sends_nothing_for_a_minute_is_told_so() {
    run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let address = platform.url.strip_prefix("http://").expect("an address");
        let link = begin(&cleo, None, "plain").await;
        let plain = text(&link, "signedUrl").strip_prefix(&*platform.url).expect("a link of ours");
        let large = Upload::begin(&cleo, "large", 100).await;
        let token = &cleo.token;
        let requests = [
            format!("PUT {plain} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello"),
            format!(
                "PATCH {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 tus-resumable: 1.0.0\r\nupload-offset: 0\r\ncontent-length: 100\r\n\
                 content-type: application/offset+octet-stream\r\n\r\nhello",
                large.path
            ),
        ];
        let begun = Instant::now();
        let told = futures::future::join_all(requests.map(async |request| {
            let mut socket = TcpStream::connect(address).await.expect("a socket");
            socket.write_all(request.as_bytes()).await.expect("it is sent");
            let mut answer = vec![0; 4_096];
            let read = socket.read(&mut answer).await.expect("an answer");
            String::from_utf8_lossy(&answer[..read]).into_owned()
        }));
        for answer in told.await {
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            assert!(answer.contains("body_stalled"), "{answer}");
        }
        assert!(begun.elapsed() >= Duration::from_mins(1));
        assert_eq!(large.offset().await, 5);
        put(text(&link, "signedUrl"), "hello").await.with(200);
        send(large.piece(5, vec![b'x'; 95])).await.with(204);
        assert!(content(&cleo, large.id()).await.starts_with("hellox"));
    });
}
