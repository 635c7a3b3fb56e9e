//! Secrets that the host fills in: they reach the sites they are bound to, and
//! nobody else, the guest included.

use super::World;
use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, json},
};

const VALUE: &str = "sk-live-0123456789";

impl World {
    async fn bind(&self, key: &str, value: &str, sites: &[&str]) {
        let port = self.up.port.to_string();
        let sites: Vec<_> = sites.iter().map(|site| site.replace("PORT", &port)).collect();
        let setting = json!({ "value": value, "secret": true, "sites": sites });
        put(&self.bea, &self.agent, key, setting).await.with(204);
    }
}

async fn put(
    bea: &Person,
    agent: &str,
    key: &str,
    setting: Value,
) -> crate::harness::people::Answer {
    bea.put(&format!("/builder/agents/{agent}/config/{key}"), setting).await
}

#[test]
fn a_bound_secret_is_filled_in_for_its_sites_only() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        world.bind("KEY", VALUE, &["http://up.test:PORT", "http://*.shop.test:PORT"]).await;
        world.bind("USER", "bea", &["http://up.test:PORT"]).await;

        for url in ["http://UP/hello", "http://eu.shop.test:PORT/hello"] {
            let request = format!(
                "GET {url}
authorization: Bearer {{{{secret:KEY}}}}"
            );
            assert_eq!(world.fetch(&request).await, "200, 5 bytes: hello");
            assert_eq!(world.up.last().headers["authorization"], format!("Bearer {VALUE}"));
        }
        let two =
            "GET http://UP/hello\nx-both: {{secret:USER}}:{{secret:KEY}}\nx-not: {secret:KEY}";
        world.fetch(two).await;
        assert_eq!(world.up.last().headers["x-both"], format!("bea:{VALUE}"));
        assert_eq!(world.up.last().headers["x-not"], "{secret:KEY}");
        // Not in addresses, not in bodies.
        let elsewhere = "POST http://UP/echo?{{secret:KEY}}\n\n{{secret:KEY}}";
        let reply = world.fetch(elsewhere).await;
        assert_eq!(reply, "200, 14 bytes: {{secret:KEY}}");
        assert!(!world.up.last().uri.contains(VALUE));

        let path = format!("/builder/agents/{}/invocations", world.agent);
        let (told, log) = (world.bea.get(&path).await.text, world.log().await.concat());
        assert!(!told.contains(VALUE) && !log.contains(VALUE));
    });
}

#[test]
fn a_secret_that_may_not_go_there_stops_the_request() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        world.bind("SHOP", VALUE, &["http://*.shop.test:PORT"]).await;
        world.bind("USER", "bea", &["http://up.test:PORT"]).await;
        let loose = json!({ "value": VALUE, "secret": true });
        put(&world.bea, &world.agent, "LOOSE", loose).await.with(204);
        put(&world.bea, &world.agent, "PLAIN", json!({ "value": "x" })).await.with(204);
        for (text, name, why) in [
            ("{{secret:SHOP}}", "SHOP", "bound to other sites"),
            ("{{secret:USER}}{{secret:SHOP}}", "SHOP", "bound to other sites"),
            ("{{secret:LOOSE}}", "LOOSE", "not bound to any site"),
            ("{{secret:PLAIN}}", "PLAIN", "there is none"),
            ("{{secret:NONE}}", "NONE", "there is none"),
            ("{{secret:aiybiz.agent-auth-token}}", "aiybiz.agent-auth-token", "not bound"),
            ("{{secret:a b}}", "a b}}", "it is no {{secret:NAME}}"),
            ("{{secret:SHOP", "SHOP", "it is no {{secret:NAME}}"),
        ] {
            let reply = world.fetch(&format!("GET http://UP/hello\nauthorization: {text}")).await;
            assert_eq!(reply, "error: ErrorCode::HttpRequestDenied", "{text}");
            let receipt = world.receipt("ok").await;
            assert_eq!(receipt["http"][0]["error"], "secret_not_allowed", "{receipt}");
            let line = world.log().await.remove(0);
            assert!(line.starts_with(&format!("no request with the secret {name}: ")), "{line}");
            assert!(line.contains(why), "{text}: {line}");
        }
        assert_eq!(world.up.seen(), 0);
    });
}

/// A redirect takes no secret along: the next request is checked like the first.
#[test]
fn a_redirect_does_not_carry_a_secret_elsewhere() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        world.bind("KEY", VALUE, &["http://up.test:PORT"]).await;
        let led =
            "GET http://UP/redirect?http://eu.shop.test:PORT/hello\nauthorization: {{secret:KEY}}";
        assert_eq!(world.fetch(led).await, "error: ErrorCode::HttpRequestDenied");
        assert_eq!(world.up.seen(), 1);
    });
}

#[test]
fn secrets_named_again_and_again_make_no_giant() {
    crate::harness::run(async {
        let mut world = World::new(|_| ()).await;
        world.bind("LONG", &"x".repeat(16 << 10), &["http://up.test:PORT"]).await;
        let giant = format!("GET http://UP/hello\nx-long: {}", "{{secret:LONG}}".repeat(5));
        let reply = world.fetch(&giant).await;
        assert!(reply.contains("HttpRequestHeaderSectionSize"), "{reply}");
        assert_eq!(world.receipt("ok").await["http"][0]["error"], "header_too_large");
        assert_eq!(world.up.seen(), 0);
    });
}

both_engines! {
    /// The librarian signs with the secret `signature` when it can read it.
    async fn a_bound_secret_is_never_revealed_to_the_component(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let (session, mut events) = cleo.starts(&agent).await;
        put(&bea, &agent, "signature", json!({ "value": "free", "secret": true })).await.with(204);
        cleo.says(&session, "hello").await;
        assert!(events.reply().await.contains("signature: 4 bytes"));
        let bound = json!({ "value": VALUE, "secret": true, "sites": ["https://api.example.com"] });
        put(&bea, &agent, "signature", bound).await.with(204);
        cleo.says(&session, "hello").await;
        assert!(!events.reply().await.contains("signature"));
        bea.receipts(&agent, &session, 3).await;
        let log = bea.get(&format!("/builder/agents/{agent}/logs")).await;
        assert!(log.text.contains("the secret signature is bound to sites"), "{}", log.text);
    }

    async fn a_binding_is_shown_and_bad_ones_are_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Any").await;
        let sites = json!(["https://API.example.com:443", "https://*.example.org:8443"]);
        put(&bea, &agent, "KEY", json!({ "value": VALUE, "secret": true, "sites": sites })).await.with(204);
        let path = format!("/builder/agents/{agent}/config");
        let shown = json!(["https://api.example.com", "https://*.example.org:8443"]);
        let listed = bea.get(&path).await.ok();
        assert_eq!(listed["data"][0]["sites"], shown);
        assert_eq!(listed["data"][0]["value"], Value::Null);
        assert_eq!(bea.get(&format!("{path}/KEY")).await.ok()["sites"], shown);

        for (setting, pointer, why) in [
            (json!({ "value": "v", "sites": ["https://a.example"] }), "/sites", "secret"),
            (json!({ "value": "v", "secret": true, "sites": [] }), "/sites", "no site"),
            (json!({ "value": "v", "secret": true, "sites": ["https://a.example", "https://*.com"] }),
                "/sites/1", "everybody's"),
            (json!({ "value": "v", "secret": true, "sites": ["https://10.0.0.1"] }),
                "/sites/0", "not an address"),
            (json!({ "value": "v", "secret": true, "sites": ["https://a.example/v1"] }),
                "/sites/0", "path"),
            (json!({ "value": "v", "secret": true, "sites": vec!["https://a.example"; 21] }),
                "/sites", "at most 20"),
            (json!({ "value": "a\r\nset-cookie: b", "secret": true, "sites": ["https://a.example"] }),
                "/value", "no line breaks"),
        ] {
            let refused = put(&bea, &agent, "KEY", setting).await.problem(400, "invalid_field");
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
            assert!(refused["errors"][0]["detail"].to_string().contains(why), "{refused}");
        }
        // Nothing of it was done; without `sites`, it is bound no longer.
        assert_eq!(bea.get(&format!("{path}/KEY")).await.ok()["sites"], shown);
        put(&bea, &agent, "KEY", json!({ "value": VALUE, "secret": true })).await.with(204);
        assert_eq!(bea.get(&format!("{path}/KEY")).await.ok()["sites"], Value::Null);
    }
}
