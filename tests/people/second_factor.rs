//! Signing in with a second factor.

use super::{logs_in, mailing};
use crate::{
    both_engines,
    harness::{Engine, Platform, Value, json, people::PASSWORD},
};
use std::time::Duration;
use totp_rs::{Builder, Secret};

both_engines! {
    async fn a_code_is_needed_once_one_was_shown_and_good_once(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let password = json!({ "password": PASSWORD });
        let confirm = async |code: &str| cleo.post("/auth/totp/confirm", json!({ "code": code })).await;
        confirm("123456").await.problem(409, "totp_not_begun");
        let wrong = cleo.post("/auth/totp", json!({ "password": "wrong" })).await;
        wrong.problem(403, "wrong_password");
        let begun = cleo.post("/auth/totp", password.clone()).await.ok();
        let secret = begun["secret"].as_str().expect("a secret");
        assert!(begun["url"].as_str().expect("an address").starts_with("otpauth://totp/"));
        // Not in force yet.
        let login = |code: Value| json!({ "email": cleo.email, "password": PASSWORD, "code": code });
        logs_in(&platform.url, json!({ "email": cleo.email, "password": PASSWORD })).await.ok();
        confirm("000000").await.problem(400, "invalid_field");
        let codes = confirm(&code(&platform, secret)).await.ok();
        assert_eq!(smtp.to(&cleo.email).await.subject(), "Signing in with a second factor is on");
        assert_eq!(cleo.get("/me").await.ok()["secondFactor"], true);
        cleo.post("/auth/totp", password.clone()).await.problem(409, "totp_on");

        let url = platform.url.as_str();
        logs_in(url, json!({ "email": cleo.email, "password": PASSWORD })).await
            .problem(401, "code_required");
        // The password comes first: a code alone tells nothing.
        let guess = json!({ "email": cleo.email, "password": "wrong", "code": "000000" });
        logs_in(url, guess).await.problem(401, "unauthenticated");
        logs_in(url, login("000000".into())).await.problem(401, "code_wrong");
        // The one that was shown is used up.
        logs_in(url, login(code(&platform, secret).into())).await.problem(401, "code_wrong");
        platform.clock.advance(Duration::from_secs(30));
        let good = code(&platform, secret);
        let tries = (0..6).map(|_| logs_in(url, login(good.clone().into())));
        let answers = futures::future::join_all(tries).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "once");
        // Two minutes old.
        let old = code(&platform, secret);
        platform.clock.advance(Duration::from_mins(2));
        logs_in(url, login(old.into())).await.problem(401, "code_wrong");

        let paper = codes["recoveryCodes"].as_array().expect("a list");
        assert_eq!(paper.len(), 10);
        logs_in(url, login(paper[3].clone())).await.ok();
        logs_in(url, login(paper[3].clone())).await.problem(401, "code_wrong");
        let off = cleo.request(reqwest::Method::DELETE, "/auth/totp").json(&password);
        crate::harness::people::send(off).await.with(204);
        logs_in(url, json!({ "email": cleo.email, "password": PASSWORD })).await.ok();
        logs_in(url, login(paper[4].clone())).await.ok();
    }

    async fn the_secret_is_sealed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let begun = cleo.post("/auth/totp", json!({ "password": PASSWORD })).await.ok();
        let secret = Secret::try_from_base32(begun["secret"].as_str().expect("text")).expect("one");
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let rows = tx.query("SELECT totp_sealed FROM users WHERE totp_sealed IS NOT NULL").all();
        let rows: Vec<(Vec<u8>,)> = rows.await.expect("rows");
        assert_eq!(rows.len(), 1);
        assert!(!rows[0].0.windows(20).any(|window| window == secret.as_bytes()));
    }
}

/// What an app shows at this moment of the platform's clock.
fn code(platform: &Platform, secret: &str) -> String {
    let secret = Secret::try_from_base32(secret).expect("a secret");
    let totp = Builder::new().with_secret(secret).build_noncompliant();
    let seconds = platform.clock.now().as_micros() / 1_000_000;
    totp.generate(u64::try_from(seconds).expect("after 1970")).to_string()
}
