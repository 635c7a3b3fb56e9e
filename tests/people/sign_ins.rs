//! Where a user is signed in; and the browser's cookie.

use super::data;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::{Id, PASSWORD, send},
    },
};
use reqwest::Method;

both_engines! {
    async fn a_user_sees_where_he_is_signed_in_and_ends_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let here = platform.person("Cleo").await;
        let mut there = here.clone();
        let login = there.http.post(format!("{}/auth/login", there.url));
        let login = login.header("user-agent", "Phone/1.0 \u{202e}evil");
        let signed = send(login.json(&json!({ "email": here.email, "password": PASSWORD }))).await;
        there.token = signed.ok()["token"].as_str().expect("a token").to_owned();
        let listed = data(here.get("/auth/sessions").await.ok());
        assert_eq!(listed.len(), 2);
        assert_eq!((&listed[0]["current"], &listed[1]["current"]), (&json!(false), &json!(true)));
        assert_eq!(listed[0]["address"], "127.0.0.1");
        assert!(!format!("{listed:?}").contains(&there.token));

        let stranger = platform.person("Stranger").await;
        let path = format!("/auth/sessions/{}", listed[0].id());
        stranger.delete(&path).await.problem(404, "not_found");
        there.get("/me").await.ok();
        here.delete(&path).await.with(204);
        there.get("/me").await.problem(401, "unauthenticated");
        here.delete(&path).await.problem(404, "not_found");

        there.signs_in().await;
        here.delete("/auth/sessions").await.with(204);
        there.get("/me").await.problem(401, "unauthenticated");
        here.get("/me").await.ok();
    }

    async fn a_hundred_sign_ins_are_kept_and_the_one_in_use_among_them(engine: Engine) {
        let platform = Platform::start(engine).await;
        let here = platform.person("Cleo").await;
        let seen = async || {
            let listed = data(here.get("/auth/sessions").await.ok());
            let own = listed.iter().find(|one| one["current"] == true).expect("one's own");
            own["seenAt"].clone()
        };
        let (before, mut program) = (seen().await, here.clone());
        for round in 0..2 {
            for _ in 0..60 {
                program.signs_in().await;
            }
            platform.clock.advance(std::time::Duration::from_mins(11));
            // That it is in use is written down beside the request.
            while round == 0 && seen().await == before {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        assert_eq!(data(here.get("/auth/sessions").await.ok()).len(), 100);
        program.get("/me").await.ok();
    }

    async fn a_browser_signs_in_with_a_cookie_that_no_other_site_can_use(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        let body = json!({ "email": cleo.email, "password": PASSWORD, "cookie": true });
        let signed = nobody.post("/auth/login", body).await.having(200);
        assert_eq!(signed.body["token"], Value::Null, "a script has no use for it");
        let set = signed.headers["set-cookie"].to_str().expect("text").to_owned();
        for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(set.contains(part), "{set}");
        }
        let cookie = set.split(';').next().expect("a cookie").to_owned();
        let ask = |method, path: &str| nobody.request(method, path).header("cookie", &cookie);
        assert_eq!(send(ask(Method::GET, "/me")).await.ok()["user"]["email"], cleo.email.as_str());

        // What changes something must come from a page of ours.
        let change = || ask(Method::PATCH, "/me").json(&json!({ "name": "Cleopatra" }));
        let own = platform.url.as_str();
        for (name, value) in [
            ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"), ("origin", "https://evil.example"), ("origin", "null"),
            ("x-nothing", "said"),
        ] {
            let refused = send(change().header(name, value)).await;
            refused.problem(403, "cross_site");
        }
        assert_eq!(cleo.get("/me").await.ok()["user"]["name"], "Cleo");
        send(change().header("sec-fetch-site", "same-origin")).await.ok();
        send(change().header("origin", own)).await.ok();
        // A bearer token is sent by no browser on its own.
        send(change().bearer_auth(&cleo.token).header("origin", "https://evil.example")).await.ok();

        let out = send(ask(Method::POST, "/auth/logout").header("origin", own)).await.having(204);
        assert!(out.headers["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
        send(ask(Method::GET, "/me")).await.problem(401, "unauthenticated");
    }
}
