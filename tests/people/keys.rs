//! API keys: a user, narrowed.

use super::{colleague, data, mailing};
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, guests, json,
        people::{Answer, Id},
    },
};
use std::time::Duration;

both_engines! {
    async fn a_key_does_what_its_scopes_name_and_nothing_else(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let made = makes(&cleo, &["sessions:write", "files:read"]).await.created();
        let text = made["key"].as_str().expect("a key");
        assert!(text.starts_with("ak_") && text.starts_with(made["start"].as_str().expect("text")));
        let program = Person { token: text.to_owned(), ..cleo.clone() };

        let (session, _) = program.starts(&agent).await;
        program.says(&session, "hello").await;
        program.get("/me").await.ok();
        program.get("/agents").await.ok();
        program.get("/files").await.ok();
        program.get("/notifications").await.ok();
        let folder = json!({ "name": "f" });
        program.post("/files/folders", folder).await.problem(403, "key_lacks_scope");
        for path in ["/wallet", "/invoices", "/company", "/subscription"] {
            program.get(path).await.problem(403, "key_lacks_scope");
        }
        for path in ["/api-keys", "/auth/sessions"] {
            program.get(path).await.problem(403, "not_with_a_key");
        }
        program.patch("/me", json!({ "name": "x" })).await.problem(403, "not_with_a_key");
        program.post("/auth/logout", json!({})).await.problem(403, "not_with_a_key");
        makes(&program, &["admin:write"]).await.problem(403, "not_with_a_key");

        // A scope makes nobody more than he is.
        let all = ["billing:write", "builder:write", "admin:write", "company:write"];
        let made = makes(&cleo, &all).await.created();
        let program = Person { token: made["key"].as_str().expect("a key").into(), ..cleo.clone() };
        program.get("/admin/audit").await.problem(403, "not_an_operator");
        program.get("/builder/agents").await.problem(403, "not_a_builder");
        program.get("/wallet").await.ok();
        program.patch("/company", json!({ "name": "By a program" })).await.ok();
    }

    async fn keys_are_told_once_and_end(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let made = makes(&cleo, &["sessions:read"]).await.created();
        let text = made["key"].as_str().expect("a key").to_owned();
        let listed = data(cleo.get("/api-keys").await.ok());
        assert_eq!(listed[0]["seenAt"], json!(null));
        assert!(!format!("{listed:?}").contains(&text));
        let program = Person { token: text, ..cleo.clone() };
        program.get("/sessions").await.ok();
        while data(cleo.get("/api-keys").await.ok())[0]["seenAt"].is_null() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A member sees and ends his own, an admin everybody's.
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let of_max = makes(&max, &["sessions:read"]).await.created();
        assert_eq!(data(max.get("/api-keys").await.ok()).len(), 1);
        assert_eq!(data(cleo.get("/api-keys").await.ok()).len(), 2);
        let own = format!("/api-keys/{}", made.id());
        max.delete(&own).await.problem(404, "not_found");
        cleo.delete(&format!("/api-keys/{}", of_max.id())).await.with(204);
        let stranger = platform.person("Stranger").await;
        stranger.delete(&own).await.problem(404, "not_found");
        cleo.delete(&own).await.with(204);
        program.get("/sessions").await.problem(401, "unauthenticated");

        let soon = json!({ "name": "n", "scopes": ["sessions:read"], "expiresAt": "2999-01-01T00:00:00Z" });
        cleo.post("/api-keys", soon).await.created();
        for (body, pointer) in [
            (json!({ "name": "n", "scopes": [] }), "/scopes"),
            (json!({ "name": "n", "scopes": ["everything"] }), "/scopes/0"),
            (json!({ "name": " ", "scopes": ["files:read"] }), "/name"),
            (json!({ "name": "a\u{202e}b", "scopes": ["files:read"] }), "/name"),
            (json!({ "name": "n", "scopes": ["files:read"], "expiresAt": "2020-01-01T00:00:00Z" }),
             "/expiresAt"),
        ] {
            let problem = cleo.post("/api-keys", body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer);
        }
    }

    async fn a_key_that_has_expired_is_none(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let expires = (platform.clock.now() + Duration::from_hours(1)).to_string();
        let body = json!({ "name": "n", "scopes": ["sessions:read"], "expiresAt": expires });
        let made = cleo.post("/api-keys", body).await.created();
        let program = Person { token: made["key"].as_str().expect("a key").into(), ..cleo.clone() };
        program.get("/sessions").await.ok();
        platform.clock.advance(Duration::from_hours(1));
        program.get("/sessions").await.problem(401, "unauthenticated");
    }
}

async fn makes(person: &Person, scopes: &[&str]) -> Answer {
    person.post("/api-keys", json!({ "name": "a program", "scopes": scopes })).await
}
