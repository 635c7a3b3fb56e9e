//! Mail itself: servers that refuse, none at all, and names that would be headers.

use super::{data, invites, joins, logs_in, mailing};
use crate::{
    both_engines,
    harness::{Engine, Person, Platform, guests, json, people::PASSWORD, smtp::token},
};
use std::time::Duration;

both_engines! {
    async fn a_server_that_refuses_is_asked_again_unless_it_is_for_good(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let olga = platform.operator("Olga").await;
        invites(&cleo, "never-max@example.com").await.created();
        invites(&cleo, "later-max@example.com").await.created();
        let listed = async |state: &str| {
            loop {
                let found = data(olga.get(&format!("/admin/mails?state={state}")).await.ok());
                if found.first().is_some_and(|mail| mail["error"].is_string()) {
                    return found[0].clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let failed = listed("failed").await;
        assert_eq!(failed["to"], "never-max@example.com");
        assert!(failed["error"].as_str().expect("why").contains("no such mailbox"), "{failed}");
        let due = listed("due").await;
        assert_eq!((&due["to"], &due["link"]), (&json!("later-max@example.com"), &json!(null)));
        assert!(!due["text"].as_str().expect("a text").contains('#'), "not the operator's: {due}");
        platform.clock.advance(Duration::from_mins(1));
        while aiybiz_host::work::outbox::send(&platform.host).await.expect("it sends") {}
        let mail = smtp.to("later-max@example.com").await;
        joins(&platform.url, &mail.token(), "Max").await.created();
    }

    async fn without_a_server_operators_pass_links_on(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let olga = platform.operator("Olga").await;
        invites(&cleo, "max@example.com").await.created();
        let shown = loop {
            let found = data(olga.get("/admin/mails?state=shown").await.ok());
            let found = found.into_iter().find(|mail| mail["to"] == "max@example.com");
            if let Some(mail) = found {
                break mail;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let link = shown["link"].as_str().expect("a link");
        assert!(shown["text"].as_str().expect("a text").contains(link));
        joins(&platform.url, &token(link), "Max").await.created();
        cleo.get("/admin/mails").await.problem(403, "not_an_operator");
        olga.get("/admin/mails?state=lost").await.problem(400, "invalid_field");
    }

    async fn names_are_no_headers(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let nobody = Person::nobody(&platform.url);
        let hidden = [
            "Max\r\nBcc: all@example.com", "a\u{202e}b", "a\u{200b}b", "a\u{2028}b", "a\tb", "\u{feff}x",
        ];
        for name in hidden {
            let body = json!({ "email": "a@example.com", "password": PASSWORD, "name": name });
            let problem = nobody.post("/auth/signup", body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], "/name", "{name:?}");
        }
        for email in ["a@example.com\r\nBcc: b@example.com", "a b@example.com", "\"a\"@example.com",
            "a@exa_mple.com", "a@-example.com", "a..b@example.com", "ａ@example.com",
            "a@example.com,b@example.com", "<a@example.com>", "a@b@example.com"] {
            let body = json!({ "email": email, "password": PASSWORD, "name": "Max" });
            let problem = nobody.post("/auth/signup", body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], "/email", "{email:?}");
        }
        let odd = "Zoë 🦀 <b@example.com>, \"x\"; Ω";
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        cleo.patch("/me", json!({ "name": odd })).await.ok();
        cleo.patch("/company", json!({ "name": "=?utf-8?q?Bcc?=" })).await.ok();
        invites(&cleo, "max@example.com").await.created();
        let mail = smtp.next().await;
        assert!(mail.subject().starts_with(&format!("{odd} invites you to ")), "{}", mail.subject());
        assert_eq!(mail.0["to"], json!(["max@example.com"]));
        assert!(mail.header("bcc").is_empty() && mail.header("to") == ["max@example.com"]);
        assert_eq!(mail.header("from"), ["Aiybiz <agents@platform.example>"]);
    }

    async fn notifications_are_mailed_to_whoever_wants_it(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let olga = platform.operator("Olga").await;
        let cleo = platform.person("Cleo").await;
        let end = async || {
            let (session, _) = cleo.starts(&agent).await;
            olga.post(&format!("/admin/sessions/{session}/end"), json!({})).await.ok();
        };
        end().await;
        // The outbox is looked at now and then; nobody waits for such a mail.
        while aiybiz_host::work::outbox::send(&platform.host).await.expect("it sends") {}
        let mail = smtp.to(&cleo.email).await;
        assert_eq!(mail.subject(), "A session has ended");
        assert!(mail.text().contains("an operator"), "{}", mail.text());
        let problem = cleo.patch("/me", json!({ "unmailed": ["session_ended", "x"] })).await;
        assert_eq!(problem.problem(400, "invalid_field")["errors"][0]["pointer"], "/unmailed/1");
        cleo.patch("/me", json!({ "unmailed": ["session_ended"] })).await.ok();
        end().await;
        smtp.is_silent(&platform).await;
        assert_eq!(data(cleo.get("/notifications").await.ok()).len(), 2, "told all the same");
        logs_in(&platform.url, json!({ "email": cleo.email, "password": PASSWORD })).await.ok();
    }
}
