//! How bytes are served: parts of them, again only when they have changed, and never as a
//! page of ours.

use super::{begin, complete, get, put, text, upload};
use crate::{
    both_engines,
    harness::{Engine, Platform, people::Id},
};
use reqwest::{Client, header::HeaderMap};

both_engines! {
    async fn parts_are_served_as_the_standard_says(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let node = upload(&cleo, None, "digits.txt", "0123456789").await.id();
        let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
        let url = text(&link, "signedUrl");
        let http = Client::builder().no_proxy().build().expect("a client");
        for (range, status, part, place) in [
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
            ("bytes=4-", 206, "456789", "bytes 4-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=8-99", 206, "89", "bytes 8-9/10"),
            ("bytes=9-9", 206, "9", "bytes 9-9/10"),
            ("bytes=10-", 416, "", "bytes */10"),
            ("bytes=-0", 416, "", "bytes */10"),
            ("bytes=99999999999999999999-", 416, "", "bytes */10"),
            // Several parts, and what is no range, get the whole.
            ("bytes=0-1,4-5", 200, "0123456789", ""),
            ("bytes=5-2", 200, "0123456789", ""),
            ("bytes=a-b", 200, "0123456789", ""),
            ("bytes=-", 200, "0123456789", ""),
            ("lines=0-1", 200, "0123456789", ""),
        ] {
            let answer = http.get(url).header("range", range).send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{range}");
            let told = answer.headers().get("content-range").map(|v| v.to_str().expect("a text").to_owned());
            assert_eq!(told.unwrap_or_default(), place, "{range}");
            let body = answer.text().await.expect("a body");
            assert!(status == 416 || body == part, "{range}: {body}");
        }
        let whole = http.get(url).send().await.expect("an answer");
        let etag = whole.headers()["etag"].clone();
        assert_eq!(whole.headers()["content-length"], "10");
        assert_eq!(whole.headers()["accept-ranges"], "bytes");
        let head = http.head(url).send().await.expect("an answer");
        assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"10".parse().expect("a value")));
        assert_eq!(head.text().await.expect("a body"), "");
        let asked = |name: &'static str, value: String| {
            http.get(url).header(name, value).header("range", "bytes=0-1").send()
        };
        let etag = etag.to_str().expect("a text").to_owned();
        for (value, status) in [(etag.clone(), 304), (format!("W/{etag}"), 304), ("*".into(), 304), (format!("\"x\", {etag}"), 304), ("\"x\"".into(), 206)] {
            assert_eq!(asked("if-none-match", value.clone()).await.expect("an answer").status(), status, "{value}");
        }
        assert_eq!(asked("if-range", etag).await.expect("an answer").status(), 206);
        assert_eq!(asked("if-range", "\"old\"".into()).await.expect("an answer").status(), 200);
    }

    async fn whatever_it_is_no_browser_runs_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        for (name, kind) in [
            ("evil.html", "text/html"),
            ("evil.svg", "image/svg+xml"),
            ("Ünïcode \"quoted\"; name.txt", "text/plain; charset=utf-8"),
            ("empty", "application/octet-stream"),
        ] {
            let body = if name == "empty" { "" } else { "<script>alert(1)</script>" };
            let link = begin(&cleo, None, name).await;
            put(text(&link, "signedUrl"), body).await.with(200);
            let path = format!("/files/{}/complete-upload", text(&link, "nodeId"));
            let said = crate::harness::json!({ "fileSize": body.len(), "mimeType": kind });
            let node = cleo.post(&path, said).await.ok().id();
            let link = cleo.get(&format!("/files/{node}/download-url")).await.ok();
            let answer = get(text(&link, "signedUrl")).await;
            let headers: HeaderMap = answer.headers().clone();
            assert_eq!(answer.text().await.expect("a body"), body);
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
            assert_eq!(headers["content-type"], kind);
            let disposition = headers["content-disposition"].to_str().expect("a text");
            assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
            assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
        }
        let link = begin(&cleo, None, "x").await;
        put(text(&link, "signedUrl"), "x").await.with(200);
        for kind in ["", "text", "text/", "/html", "text/html\r\nx: y", "a b/c", "ü/x"] {
            let path = format!("/files/{}/complete-upload", text(&link, "nodeId"));
            let said = crate::harness::json!({ "fileSize": 1, "mimeType": kind });
            let problem = cleo.post(&path, said).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], "/mimeType", "{kind:?}");
        }
        complete(&cleo, &link, 1).await.ok();
    }
}
