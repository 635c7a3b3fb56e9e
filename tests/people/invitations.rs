//! Invitations: a week, once, and for one address.

use super::{colleague, data, invites, joins, logs_in, mailing};
use crate::{
    both_engines,
    harness::{
        Engine, Person, json,
        people::{Id, PASSWORD},
    },
};
use std::time::Duration;

both_engines! {
    async fn one_who_is_new_signs_up_by_accepting(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        cleo.patch("/company", json!({ "name": "Cleo & Sons" })).await.ok();
        let invited = invites(&cleo, " Max@Example.com ").await.created();
        assert_eq!(invited["email"], "max@example.com");
        assert_eq!((&invited["role"], &invited["status"]), (&json!("member"), &json!("pending")));
        let mail = smtp.to("max@example.com").await;
        assert_eq!(mail.subject(), "Cleo invites you to Cleo & Sons");
        assert!(mail.text().contains(&platform.url), "{}", mail.text());
        let path = format!("/invitations/{}", mail.token());
        let shown = Person::nobody(&platform.url).get(&path).await.ok();
        assert_eq!(shown["company"]["name"], "Cleo & Sons");
        assert_eq!((&shown["email"], &shown["hasAccount"]), (&json!("max@example.com"), &json!(false)));

        let joined = joins(&platform.url, &mail.token(), "Max").await.created();
        assert_eq!(joined["company"], cleo.get("/company").await.ok());
        assert_eq!(joined["user"]["email"], "max@example.com");
        let signed = json!({ "email": "max@example.com", "password": PASSWORD });
        logs_in(&platform.url, signed).await.ok();
        // Once.
        joins(&platform.url, &mail.token(), "Max").await.problem(410, "invitation_used");
        Person::nobody(&platform.url).get(&path).await.problem(410, "invitation_used");
        let listed = data(cleo.get("/company/invitations").await.ok());
        assert_eq!(listed[0]["status"], "accepted");
        let gone = cleo.delete(&format!("/company/invitations/{}", invited.id())).await;
        gone.problem(409, "invitation_over");
    }

    async fn old_cancelled_replaced_and_foreign_ones_are_refused(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let mut cleo = platform.person("Cleo").await;
        let first = invites(&cleo, "max@example.com").await.created();
        invites(&cleo, "MAX@example.com").await.problem(409, "already_invited");
        invites(&cleo, &cleo.email).await.problem(409, "already_a_member");
        let old = smtp.to("max@example.com").await.token();
        let path = format!("/company/invitations/{}", first.id());
        cleo.post(&format!("{path}/resend"), json!({})).await.ok();
        let new = smtp.to("max@example.com").await.token();
        assert_ne!(old, new);
        joins(&platform.url, &old, "Max").await.problem(410, "invitation_replaced");

        // For another address it is no invitation.
        let stranger = platform.person("Stranger").await;
        let accept = format!("/invitations/{new}/accept");
        stranger.post(&accept, json!({})).await.problem(403, "another_address");
        // Nobody else can send it again or cancel it.
        stranger.delete(&path).await.problem(404, "not_found");
        stranger.post(&format!("{path}/resend"), json!({})).await.problem(404, "not_found");

        platform.clock.advance(Duration::from_hours(7 * 24));
        joins(&platform.url, &new, "Max").await.problem(410, "invitation_expired");
        cleo.signs_in().await;
        assert_eq!(data(cleo.get("/company/invitations").await.ok())[0]["status"], "expired");
        // One that has expired makes room, and may also be sent again.
        cleo.post(&format!("{path}/resend"), json!({})).await.ok();
        let again = smtp.to("max@example.com").await.token();
        cleo.delete(&path).await.with(204);
        cleo.delete(&path).await.with(204);
        joins(&platform.url, &again, "Max").await.problem(410, "invitation_cancelled");
        cleo.post(&format!("{path}/resend"), json!({})).await.problem(409, "invitation_over");

        for nonsense in ["", "x", "..%2f", &"A".repeat(64), &format!("{again}A"), &"a".repeat(9000)] {
            let path = format!("/invitations/{nonsense}/accept");
            let answer = Person::nobody(&platform.url).post(&path, json!({})).await;
            assert!(matches!(answer.status, 400 | 404 | 414), "{nonsense}: {}", answer.text);
        }
        for (email, field) in [("no address", "/email"), ("a@b", "/email"), ("м@example.com", "/email")] {
            let problem = invites(&cleo, email).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], field);
        }
    }

    async fn one_with_an_unused_company_moves_and_others_do_not(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let unused = Person::penniless(&platform.url, "Unused").await;
        invites(&cleo, &unused.email).await.created();
        let token = smtp.to(&unused.email).await.token();
        // Not signed in: whoever holds the link alone is not the user.
        joins(&platform.url, &token, "Unused").await.problem(409, "sign_in_first");
        let accept = format!("/invitations/{token}/accept");
        let moved = unused.post(&accept, json!({})).await.ok();
        assert_eq!(moved["company"], cleo.get("/company").await.ok());
        assert_eq!(unused.get("/me").await.ok()["role"], "member");

        // This one has money in his wallet.
        let rich = platform.person("Rich").await;
        invites(&cleo, &rich.email).await.created();
        let token = smtp.to(&rich.email).await.token();
        let accept = format!("/invitations/{token}/accept");
        rich.post(&accept, json!({})).await.problem(409, "company_in_use");
        assert_eq!(rich.get("/wallet").await.ok()["balanceCents"], 1_000_000);

        // This one is not alone.
        let boss = Person::penniless(&platform.url, "Boss").await;
        colleague(&platform, &mut smtp, &boss, "Max").await;
        invites(&cleo, &boss.email).await.created();
        let token = smtp.to(&boss.email).await.token();
        let accept = format!("/invitations/{token}/accept");
        boss.post(&accept, json!({})).await.problem(409, "company_in_use");
    }

    async fn one_invitation_makes_one_member_however_often_it_is_followed(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        invites(&cleo, "max@example.com").await.created();
        let token = smtp.to("max@example.com").await.token();
        let tries = (0..8).map(|_| joins(&platform.url, &token, "Max"));
        let answers = futures::future::join_all(tries).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1, "{answers:?}");
        assert_eq!(data(cleo.get("/company/members").await.ok()).len(), 2);
    }
}
