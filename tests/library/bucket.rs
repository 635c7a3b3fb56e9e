//! The same library in a bucket: clients send and fetch bytes without passing through the
//! platform, unless its operator wants that.

use super::{begin, complete, content, get, put, samples::agent_and_samples, text, upload, used};
use crate::{
    both_engines,
    harness::{Engine, bucket::Bucket, json, people::Id},
};
use aiybiz_host::work;
use std::time::Duration;

both_engines! {
    async fn bytes_go_to_the_bucket_and_come_from_it(engine: Engine) {
        let bucket = Bucket::start().await;
        let platform = bucket.platform(engine, false).await;
        let cleo = platform.person("Cleo").await;
        let link = begin(&cleo, None, "Ünïcode \"x\".txt").await;
        let url = text(&link, "signedUrl").to_owned();
        assert!(!url.starts_with(&platform.url), "{url}");
        complete(&cleo, &link, 5).await.problem(409, "no_bytes");
        put(&url, "hello").await.with(200);
        complete(&cleo, &link, 6).await.problem(422, "size_mismatch");
        // Sent again, another size counts.
        put(&url, "hello!").await.with(200);
        complete(&cleo, &link, 5).await.problem(422, "size_mismatch");
        let done = complete(&cleo, &link, 6).await.ok();
        assert_eq!(complete(&cleo, &link, 6).await.ok(), done);
        assert_eq!(used(&cleo).await, 6);
        // The link still opens, as the store knows no better; what is finished stays.
        put(&url, "changed").await.with(200);
        let node = done.id();
        assert_eq!(content(&cleo, &node).await, "hello!");
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        let served = get(text(&link, "signedUrl")).await;
        assert_eq!(served.headers()["content-type"], "text/plain");
        let disposition = served.headers()["content-disposition"].to_str().expect("a text");
        assert!(disposition.starts_with("attachment; "), "{disposition}");
        // What was sent there is swept when nobody can send it any more.
        platform.clock.advance(Duration::from_hours(25));
        work::library::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(platform.objects_of(&cleo).await, 1);
        // And so is an upload that nobody completes.
        let link = begin(&cleo, None, "never").await;
        put(text(&link, "signedUrl"), "hello").await.with(200);
        platform.clock.advance(Duration::from_hours(3));
        assert_eq!(platform.objects_of(&cleo).await, 1);
        assert_eq!(used(&cleo).await, 6);
    }

    async fn links_of_the_bucket_are_good_for_what_they_say(engine: Engine) {
        let bucket = Bucket::start().await;
        let platform = bucket.platform(engine, false).await;
        let cleo = platform.person("Cleo").await;
        let file = upload(&cleo, None, "f", "hello").await.id();
        let download = cleo.get(&format!("/files/{file}/download-url")).await.ok();
        let download = text(&download, "signedUrl").to_owned();
        let (one, two) = (begin(&cleo, None, "one").await, begin(&cleo, None, "two").await);
        let (one, two) = (text(&one, "signedUrl"), text(&two, "signedUrl"));
        let signature = |url: &str| url.split_once('?').expect("a query").1.to_owned();
        let path = |url: &str| url.split_once('?').expect("a query").0.to_owned();
        for url in [
            format!("{}?{}", path(two), signature(one)),
            format!("{}?{}", path(&download), signature(one)),
            path(one),
            download.clone(),
        ] {
            assert_eq!(put(&url, "evil").await.status, 403, "{url}");
        }
        assert_eq!(get(one).await.status(), 403);
        assert_eq!(content(&cleo, &file).await, "hello");
    }

    async fn the_published_samples_run_with_a_bucket(engine: Engine) {
        for proxied in [false, true] {
            let bucket = Bucket::start().await;
            agent_and_samples(&bucket.platform(engine, proxied).await).await;
        }
    }

    /// The operator wants every byte to pass through here.
    async fn a_bucket_behind_the_platform_is_like_a_folder(engine: Engine) {
        let bucket = Bucket::start().await;
        let platform = bucket.platform(engine, true).await;
        let cleo = platform.person("Cleo").await;
        let big = "0123456789".repeat(1_200_000);
        let link = begin(&cleo, None, "big").await;
        assert!(text(&link, "signedUrl").starts_with(&platform.url));
        put(text(&link, "signedUrl"), big.clone()).await.with(200);
        let node = complete(&cleo, &link, big.len()).await.ok().id();
        assert!(content(&cleo, &node).await == big);
        put(text(&link, "signedUrl"), "other").await.problem(410, "upload_over");
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let part = http.get(text(&link, "signedUrl")).header("range", "bytes=6000003-6000006");
        let part = part.send().await.expect("an answer");
        assert_eq!((part.status().as_u16(), part.text().await.expect("a text")), (206, "3456".into()));
        cleo.delete(&format!("/files/{node}")).await.with(204);
        cleo.delete(&format!("/files/{node}?permanent=true")).await.with(204);
        assert_eq!(platform.objects_of(&cleo).await, 0);
        assert_eq!(json!(used(&cleo).await), json!(0));
    }
}
