//! What one may have at most, and how long one may take.

use super::invites;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, json,
        people::{PASSWORD, send},
        run,
    },
};
use reqwest::Method;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

both_engines! {
    async fn a_hundred_keys_and_two_hundred_invitations(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let key = json!({ "name": "n", "scopes": ["files:read"] });
        let mut last = String::new();
        for _ in 0..100 {
            last = cleo.post("/api-keys", key.clone()).await.created()["id"].to_string();
        }
        cleo.post("/api-keys", key.clone()).await.problem(409, "too_many_keys");
        cleo.delete(&format!("/api-keys/{}", last.trim_matches('"'))).await.with(204);
        // Two at once: there is one place.
        let (one, other) = tokio::join!(
            cleo.post("/api-keys", key.clone()),
            cleo.post("/api-keys", key.clone()),
        );
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);

        for n in 0..200 {
            invites(&cleo, &format!("n{n}@example.com")).await.created();
        }
        invites(&cleo, "more@example.com").await.problem(409, "too_many_invitations");
        let page = cleo.get("/company/invitations?limit=1").await.ok();
        let path = format!("/company/invitations/{}", page["data"][0]["id"].as_str().expect("an id"));
        cleo.delete(&path).await.with(204);
        invites(&cleo, "more@example.com").await.created();
    }

    async fn by_https_only_the_cookie_that_nobody_else_can_have_set_counts(engine: Engine) {
        let platform = Platform::configured(engine, |config| {
            config.money.public_url = Some("https://aiybiz.example.com".into());
        })
        .await;
        let cleo = platform.person("Cleo").await;
        let body = json!({ "email": cleo.email, "password": PASSWORD, "cookie": true });
        let nobody = Person::nobody(&platform.url);
        let signed = nobody.post("/auth/login", body).await.having(200);
        assert!(signed.body["token"].is_null());
        let cookie = signed.headers["set-cookie"].to_str().expect("text").to_owned();
        let (pair, attributes) = cookie.split_once(';').expect("attributes");
        assert!(pair.starts_with("__Host-aiybiz="), "{cookie}");
        for attribute in ["Secure", "HttpOnly", "SameSite=", "Path=/"] {
            assert!(attributes.contains(attribute), "{attribute} of {cookie}");
        }
        assert!(!attributes.contains("Domain"), "{cookie}");
        let shows = async |cookie: &str| {
            send(nobody.request(Method::GET, "/me").header("cookie", cookie)).await
        };
        assert_eq!(shows(pair).await.ok()["user"]["email"], cleo.email.as_str());
        let (_, token) = pair.split_once('=').expect("a value");
        shows(&format!("aiybiz={token}")).await.problem(401, "unauthenticated");
        shows(&format!("a=b; aiybiz=x; {pair}")).await.ok();
    }
}

/// Sends this, and says what comes back until the other side hangs up, and when.
async fn until_it_hangs_up(platform: &Platform, sent: String) -> (String, Duration) {
    let address = platform.url.strip_prefix("http://").expect("an URL");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let begun = Instant::now();
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let mut said = Vec::new();
    let patience = Duration::from_mins(3);
    let end = tokio::time::timeout(patience, stream.read_to_end(&mut said)).await;
    end.expect("it hangs up").expect("in good order");
    (String::from_utf8(said).expect("text"), begun.elapsed())
}

/// These two take as long as the limits are: a minute, and 75 seconds.
#[test]
fn who_takes_too_long_is_let_go() {
    run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let slow = format!(
            "POST /files/folders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: 20\r\n\r\n{{",
            cleo.token
        );
        let silent = "GET /me HTTP/1.1\r\nhost: x\r\nx-half: a head".to_owned();
        let ((said, took), (nothing, waited)) =
            tokio::join!(until_it_hangs_up(&platform, slow), until_it_hangs_up(&platform, silent),);
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow"), "{said}");
        assert!(took >= Duration::from_mins(1), "{took:?}");
        // What has not said what it wants is told so, or nothing.
        assert!(nothing.is_empty() || nothing.starts_with("HTTP/1.1 408"), "{nothing}");
        assert!(waited >= Duration::from_secs(75), "{waited:?}");
        assert_eq!(cleo.get("/files").await.ok()["data"], json!([]));
    });
}
