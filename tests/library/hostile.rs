//! Uploads by those who mean harm: each is refused or harmless, and the quota is exact to
//! the byte afterwards.

use super::{begin, complete, content, folder, get, names, put, text, upload, used};
use crate::{
    both_engines,
    harness::{Engine, Platform, json, people::Id},
};
use aiybiz_host::{files::usage::Quota, work};
use futures::future::join_all;
use reqwest::{Body, Client};
use std::time::Duration;

const QUOTA: Quota = Quota { file: 1_000, company: 2_500, session: 1_500 };

async fn platform(engine: Engine) -> Platform {
    Platform::configured(engine, |config| config.quota = QUOTA).await
}

/// A body that does not say how long it is.
fn chunks(count: usize) -> Body {
    let pieces = (0..count).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 100]));
    Body::wrap_stream(futures::stream::iter(pieces))
}

both_engines! {
    async fn no_more_comes_in_than_there_is_room_for(engine: Engine) {
        let platform = platform(engine).await;
        let cleo = platform.person("Cleo").await;
        let link = begin(&cleo, None, "a").await;
        let url = text(&link, "signedUrl");
        let told = put(url, vec![b'x'; 1_001]).await.problem(413, "quota_exceeded");
        assert!(told["detail"].as_str().is_some_and(|told| told.contains("1001") && told.contains("1000")), "{told}");
        put(url, chunks(11)).await.problem(413, "quota_exceeded");
        assert_eq!(used(&cleo).await, 0);
        put(url, chunks(10)).await.with(200);
        assert_eq!(used(&cleo).await, 1_000);
        // Sent again, it takes the place of what came before.
        put(url, vec![b'y'; 900]).await.with(200);
        assert_eq!(used(&cleo).await, 900);
        complete(&cleo, &link, 1_000).await.problem(422, "size_mismatch");
        complete(&cleo, &link, 900).await.ok();
        upload(&cleo, None, "b", &"x".repeat(1_000)).await;
        let link = begin(&cleo, None, "c").await;
        put(text(&link, "signedUrl"), vec![b'x'; 601]).await.problem(413, "quota_exceeded");
        put(text(&link, "signedUrl"), vec![b'x'; 600]).await.with(200);
        assert_eq!(used(&cleo).await, 2_500);
        // An upload that is never completed gives its bytes back.
        platform.clock.advance(Duration::from_hours(3));
        work::library::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(used(&cleo).await, 1_900);
        complete(&cleo, &link, 600).await.problem(404, "not_found");
        assert_eq!(platform.objects_of(&cleo).await, 2);
    }

    async fn many_at_once_do_not_get_past_the_quota(engine: Engine) {
        let platform = platform(engine).await;
        let cleo = platform.person("Cleo").await;
        let mut links = Vec::new();
        for n in 0..20 {
            links.push(begin(&cleo, None, &format!("{n}")).await);
        }
        let sent = join_all(links.iter().map(|link| put(text(link, "signedUrl"), vec![b'x'; 500]))).await;
        let taken = sent.iter().filter(|answer| answer.status == 200).count();
        assert!(sent.iter().all(|answer| matches!(answer.status, 200 | 413)));
        assert_eq!((taken, used(&cleo).await), (5, 2_500));
        // Twice at once into one: one of them is there, whole.
        let one = text(&links[0], "signedUrl").to_owned();
        let had = sent[0].status == 200;
        let both = join_all([b'a', b'b'].map(|byte| put(&one, vec![byte; 500]))).await;
        if had {
            assert!(both.iter().all(|answer| answer.status == 200));
            complete(&cleo, &links[0], 500).await.ok();
            let found = content(&cleo, text(&links[0], "nodeId")).await;
            assert!(found == "a".repeat(500) || found == "b".repeat(500), "{found}");
        }
        assert_eq!(used(&cleo).await, 2_500);
        work::library::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(platform.objects_of(&cleo).await, 5);
    }

    async fn links_are_good_for_what_they_say_and_nothing_else(engine: Engine) {
        let platform = platform(engine).await;
        let (cleo, carl) = (platform.person("Cleo").await, platform.person("Carl").await);
        let file = upload(&cleo, None, "f", "hello").await.id();
        let download = cleo.get(&format!("/files/{file}/download-url")).await.ok();
        let download = text(&download, "signedUrl").to_owned();
        let (mine, theirs) = (begin(&cleo, None, "mine").await, begin(&carl, None, "theirs").await);
        let upload = text(&mine, "signedUrl").to_owned();
        let (token, node) = (text(&mine, "token"), text(&theirs, "nodeId"));
        let base = &platform.url;
        for url in [
            format!("{base}/f/u/{node}?token={token}"),
            format!("{base}/f/u/{file}?token={token}"),
            format!("{base}/f/u/{}", text(&mine, "nodeId")),
            format!("{base}/f/u/{}?token=", text(&mine, "nodeId")),
            format!("{upload}A"),
            upload[..upload.len() - 1].to_owned(),
            download.replace("/f/d/", "/f/u/"),
            format!("{base}/f/u/not-an-id?token={token}"),
        ] {
            put(&url, "evil").await.problem(403, "bad_link");
        }
        let http = Client::builder().no_proxy().build().expect("a client");
        let status = async |request: reqwest::RequestBuilder| request.send().await.expect("an answer").status().as_u16();
        assert_eq!(status(http.put(&download).body("evil")).await, 405);
        assert_eq!(status(http.post(&upload).body("evil")).await, 405);
        assert_eq!(status(http.delete(&download)).await, 405);
        assert_eq!(status(http.get(&upload)).await, 405);
        assert_eq!(status(http.get(upload.replace("/f/u/", "/f/d/"))).await, 403);
        assert_eq!(content(&cleo, &file).await, "hello");
        // An hour later none of them opens.
        platform.clock.advance(Duration::from_mins(61));
        put(&upload, "late").await.problem(403, "link_expired");
        assert_eq!(get(&download).await.status(), 403);
        // What is in the trash is not served.
        let fresh = cleo.get(&format!("/files/{file}/download-url")).await.ok();
        cleo.delete(&format!("/files/{file}")).await.with(204);
        assert_eq!(get(text(&fresh, "signedUrl")).await.status(), 404);
    }

    async fn names_and_depths_that_make_no_sense(engine: Engine) {
        let platform = platform(engine).await;
        let cleo = platform.person("Cleo").await;
        for name in ["", ".", "..", "a/b", "../x", "a\0", "a\nb", "gpj.\u{202e}exe", &"x".repeat(256)] {
            for path in ["/files/folders", "/files/upload-url"] {
                let problem = cleo.post(path, json!({ "name": name })).await.problem(400, "invalid_field");
                assert_eq!(problem["errors"][0]["pointer"], "/name", "{name:?}");
            }
        }
        for body in [json!({}), json!({ "name": 5 }), json!({ "name": "x", "parentId": "y" }), json!({ "name": "x", "size": 1 })] {
            assert_eq!(cleo.post("/files/upload-url", body.clone()).await.status, 400, "{body}");
        }
        let link = begin(&cleo, None, "x").await;
        let path = format!("/files/{}/complete-upload", text(&link, "nodeId"));
        for (said, pointer) in [
            (json!({ "fileSize": -1, "mimeType": "a/b" }), "/fileSize"),
            (json!({ "fileSize": 1.5, "mimeType": "a/b" }), "/fileSize"),
            (json!({ "fileSize": "1", "mimeType": "a/b" }), "/fileSize"),
            (json!({ "mimeType": "a/b" }), "/fileSize"),
            (json!({ "fileSize": 1, "mimeType": "a/b", "storagePath": "else/where" }), "/storagePath"),
        ] {
            let problem = cleo.post(&path, said).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer);
        }
        let mut parent = None;
        for depth in 0..32 {
            parent = Some(folder(&cleo, parent.as_deref(), &format!("{depth}")).await);
        }
        let body = json!({ "name": "deeper", "parentId": parent });
        for path in ["/files/folders", "/files/upload-url"] {
            cleo.post(path, body.clone()).await.problem(409, "too_deep");
        }
        let tall = folder(&cleo, None, "tall").await;
        folder(&cleo, Some(&tall), "inner").await;
        cleo.patch(&format!("/files/{tall}"), json!({ "parentId": parent })).await.problem(409, "too_deep");
        assert_eq!(names(&cleo, "").await, ["0", "tall"]);
    }

    async fn two_of_one_name_are_not_completed_both(engine: Engine) {
        let platform = platform(engine).await;
        let cleo = platform.person("Cleo").await;
        let mut links = Vec::new();
        for name in ["same", "SAME", "Same", "sAme"] {
            let link = begin(&cleo, None, name).await;
            put(text(&link, "signedUrl"), "x").await.with(200);
            links.push(link);
        }
        let done = join_all(links.iter().map(|link| complete(&cleo, link, 1))).await;
        let mut statuses: Vec<_> = done.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409]);
        assert_eq!(names(&cleo, "").await.len(), 1);
        cleo.post("/files/upload-url", json!({ "name": "same" })).await.problem(409, "name_taken");
        let long = "x".repeat(60_000);
        assert_eq!(cleo.get(&format!("/files?q={long}")).await.status, 400);
    }

    async fn one_company_has_no_more_uploads_open_than_it_may(engine: Engine) {
        let platform = platform(engine).await;
        let (cleo, carl) = (platform.person("Cleo").await, platform.person("Carl").await);
        for n in 0..100 {
            begin(&cleo, None, &format!("{n}")).await;
        }
        let full = cleo.post("/files/upload-url", json!({ "name": "one more" })).await;
        assert!(full.headers.contains_key("retry-after"));
        full.problem(429, "too_many_uploads");
        begin(&carl, None, "a").await;
        platform.clock.advance(Duration::from_hours(3));
        work::library::tidy(&platform.host).await.expect("it tidies up");
        begin(&cleo, None, "one more").await;
        let usage = cleo.get("/files/usage").await.ok();
        assert_eq!((&usage["nodes"], &usage["usedBytes"]), (&json!(1), &json!(0)), "{usage}");
    }
}
