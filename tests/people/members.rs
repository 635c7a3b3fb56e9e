//! Members of a company and their roles.

use super::{colleague, data, invites, joins, mailing};
use crate::{
    both_engines,
    harness::{Engine, guests, json, people::Id},
};

both_engines! {
    async fn admins_manage_and_members_look(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let members = data(max.get("/company/members").await.ok());
        let roles: Vec<_> = members.iter().map(|m| (m["name"].clone(), m["role"].clone())).collect();
        assert_eq!(roles, [(json!("Max"), json!("member")), (json!("Cleo"), json!("admin"))]);
        assert_eq!(members[0]["email"], max.email.as_str());
        assert_eq!(max.get("/company").await.ok(), cleo.get("/company").await.ok());

        let (of_max, of_cleo) = (members[0].id(), members[1].id());
        let admin = json!({ "role": "admin" });
        for answer in [
            max.patch("/company", json!({ "name": "Max & Co" })).await,
            max.patch(&format!("/company/members/{of_max}"), admin.clone()).await,
            max.delete(&format!("/company/members/{of_cleo}")).await,
            max.get("/company/invitations").await,
            max.post("/company/invitations", json!({ "email": "a@example.com" })).await,
            max.asks_once("/stripe/wallet/topup", json!({ "amountCents": 1000 })).await,
        ] {
            answer.problem(403, "not_an_admin");
        }
        let path = format!("/company/members/{of_max}");
        cleo.patch(&path, json!({ "role": "boss" })).await.problem(400, "invalid_field");
        assert_eq!(cleo.patch(&path, admin).await.ok()["role"], "admin");
        max.patch("/company", json!({ "name": "Max & Co" })).await.ok();

        // Members of other companies do not exist.
        let stranger = platform.person("Stranger").await;
        stranger.patch(&path, json!({ "role": "member" })).await.problem(404, "not_found");
        stranger.delete(&path).await.problem(404, "not_found");
    }

    async fn the_last_admin_stays(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let members = data(cleo.get("/company/members").await.ok());
        let paths = [&members[0], &members[1]].map(|m| format!("/company/members/{}", m.id()));
        let [of_max, of_cleo] = paths;
        let member = json!({ "role": "member" });
        cleo.patch(&of_cleo, member.clone()).await.problem(409, "last_admin");
        cleo.delete(&of_cleo).await.problem(409, "last_admin");

        // Two admins resign at once: one of them stays.
        cleo.patch(&of_max, json!({ "role": "admin" })).await.ok();
        for _ in 0..5 {
            let (one, other) = tokio::join!(
                cleo.patch(&of_cleo, member.clone()),
                max.patch(&of_max, member.clone()),
            );
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert!(matches!(statuses, [200, 409 | 403]), "{statuses:?}");
            let left = data(cleo.get("/company/members").await.ok());
            let admins = left.iter().filter(|m| m["role"] == "admin").count();
            assert_eq!(admins, 1);
            let (by, whom) = if one.status == 200 { (&max, &of_cleo) } else { (&cleo, &of_max) };
            by.patch(whom, json!({ "role": "admin" })).await.ok();
        }
    }

    async fn who_is_removed_is_out_at_once_and_his_sessions_go_on(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let mut max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let (session, _) = max.starts(&agent).await;
        let key = json!({ "name": "ci", "scopes": ["sessions:write"] });
        let key = max.post("/api-keys", key).await.created();
        let path = format!("/company/members/{}", data(cleo.get("/company/members").await.ok())[0].id());
        cleo.delete(&path).await.with(204);
        cleo.delete(&path).await.problem(404, "not_found");

        max.get("/me").await.problem(401, "unauthenticated");
        let mut program = max.clone();
        program.token = key["key"].as_str().expect("a key").to_owned();
        program.get("/sessions").await.problem(401, "unauthenticated");
        // He has a company of his own again, which knows nothing of the other.
        max.signs_in().await;
        let me = max.get("/me").await.ok();
        assert_eq!((&me["company"]["name"], &me["role"]), (&json!("Max"), &json!("admin")));
        max.get(&format!("/sessions/{session}")).await.problem(404, "not_found");
        assert_eq!(data(max.get("/sessions").await.ok()).len(), 0);
        // The session is the company's.
        assert_eq!(cleo.get(&format!("/sessions/{session}")).await.ok()["status"], "active");
        cleo.says(&session, "still there?").await;
        cleo.ends(&session).await;

        // And he may come back.
        invites(&cleo, &max.email).await.created();
        let token = smtp.to(&max.email).await.token();
        max.post(&format!("/invitations/{token}/accept"), json!({})).await.ok();
        assert_eq!(max.get("/company").await.ok(), cleo.get("/company").await.ok());
        assert_eq!(max.get(&format!("/sessions/{session}")).await.ok()["status"], "completed");
    }

    async fn members_may_leave(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let own = data(max.get("/company/members").await.ok())[0].id();
        max.delete(&format!("/company/members/{own}")).await.with(204);
        assert_eq!(data(cleo.get("/company/members").await.ok()).len(), 1);
        max.get("/me").await.problem(401, "unauthenticated");
        joins(&platform.url, "nonsense", "Max").await.problem(404, "not_found");
    }
}
