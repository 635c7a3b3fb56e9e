//! Forgotten and changed passwords, changed addresses.

use super::{logs_in, mailing};
use crate::{
    both_engines,
    harness::{Engine, Person, json, people::PASSWORD},
};
use std::time::Duration;

const OTHER: &str = "another horse battery";

both_engines! {
    async fn a_forgotten_password_is_replaced_once_and_signs_everybody_out(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        let forgot = json!({ "email": cleo.email.to_uppercase() });
        nobody.post("/auth/password/forgot", forgot.clone()).await.with(202);
        let mail = smtp.to(&cleo.email).await;
        assert_eq!(mail.subject(), "Choose a new password");
        nobody.post("/auth/password/forgot", forgot).await.with(202);
        let second = smtp.to(&cleo.email).await.token();

        let reset = |token: &str, password: &str| json!({ "token": token, "password": password });
        let path = "/auth/password/reset";
        let problem = nobody.post(path, reset(&second, "short")).await.problem(400, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], "/password");
        nobody.post(path, reset(&second, OTHER)).await.with(204);
        cleo.get("/me").await.problem(401, "unauthenticated");
        let old = json!({ "email": cleo.email, "password": PASSWORD });
        logs_in(&platform.url, old).await.problem(401, "unauthenticated");
        logs_in(&platform.url, json!({ "email": cleo.email, "password": OTHER })).await.ok();
        assert_eq!(smtp.to(&cleo.email).await.subject(), "Your password was changed");
        // Neither link is good again.
        for token in [second, mail.token()] {
            nobody.post(path, reset(&token, PASSWORD)).await.problem(410, "link_used");
        }
    }

    async fn old_foreign_and_invented_links_are_refused(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        nobody.post("/auth/password/forgot", json!({ "email": cleo.email })).await.with(202);
        let token = smtp.to(&cleo.email).await.token();
        let reset = |token: &str| json!({ "token": token, "password": OTHER });
        let mut forged = token.clone().into_bytes();
        let last = forged.len() - 2;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("text");
        for wrong in ["", "x", forged.as_str()] {
            nobody.post("/auth/password/reset", reset(wrong)).await.problem(404, "not_found");
        }
        // A link for one thing does nothing else.
        let confirm = nobody.post("/auth/email/confirm", json!({ "token": token })).await;
        confirm.problem(404, "not_found");
        let accept = nobody.post(&format!("/invitations/{token}/accept"), json!({})).await;
        accept.problem(404, "not_found");
        platform.clock.advance(Duration::from_hours(1));
        nobody.post("/auth/password/reset", reset(&token)).await.problem(410, "link_expired");
        // Whoever is unknown is told the same, and mailed nothing.
        let unknown = json!({ "email": "stranger@example.com" });
        nobody.post("/auth/password/forgot", unknown).await.with(202);
        smtp.is_silent(&platform).await;
        // A database of ours signs nobody in.
        let dump = format!("{:?}", mails(&platform).await);
        assert!(!dump.contains(&token) && dump.contains("password_reset"), "{dump}");
    }

    async fn a_password_is_changed_by_who_knows_it(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let mut elsewhere = cleo.clone();
        elsewhere.signs_in().await;
        let change = |old: &str| json!({ "currentPassword": old, "newPassword": OTHER });
        let wrong = cleo.post("/auth/password", change("wrong")).await;
        assert_eq!(wrong.problem(403, "wrong_password")["errors"][0]["pointer"], "/currentPassword");
        cleo.post("/auth/password", change(PASSWORD)).await.with(204);
        cleo.get("/me").await.ok();
        elsewhere.get("/me").await.problem(401, "unauthenticated");
        assert_eq!(smtp.to(&cleo.email).await.subject(), "Your password was changed");
    }

    async fn an_address_is_changed_once_it_is_confirmed(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let max = platform.person("Max").await;
        let new = |email: &str, password: &str| json!({ "email": email, "password": password });
        let wrong = cleo.post("/auth/email", new("new@example.com", "wrong")).await;
        wrong.problem(403, "wrong_password");
        cleo.post("/auth/email", new("new@example.com", PASSWORD)).await.with(202);
        let token = smtp.to("new@example.com").await.token();
        assert_eq!(cleo.get("/me").await.ok()["user"]["email"], cleo.email.as_str());
        let nobody = Person::nobody(&platform.url);
        let confirmed = nobody.post("/auth/email/confirm", json!({ "token": token })).await.ok();
        assert_eq!(confirmed["user"]["email"], "new@example.com");
        let told = smtp.to(&cleo.email).await;
        assert!(told.text().contains("new@example.com"), "the old address is told: {}", told.text());
        nobody.post("/auth/email/confirm", json!({ "token": token })).await.problem(410, "link_used");
        logs_in(&platform.url, new("new@example.com", PASSWORD)).await.ok();
        logs_in(&platform.url, new(&cleo.email, PASSWORD)).await.problem(401, "unauthenticated");

        // One that somebody has is not told apart until it is confirmed.
        cleo.post("/auth/email", new(&max.email, PASSWORD)).await.with(202);
        let token = smtp.to(&max.email).await.token();
        nobody.post("/auth/email/confirm", json!({ "token": token })).await.problem(409, "email_taken");
        assert_eq!(cleo.get("/me").await.ok()["user"]["email"], "new@example.com");
    }
}

async fn mails(platform: &crate::harness::Platform) -> Vec<(String,)> {
    let mut tx = platform.host.db.read().await.expect("a snapshot");
    let sql = "SELECT CAST(content AS TEXT) FROM mails";
    tx.query(sql).all().await.expect("rows")
}
