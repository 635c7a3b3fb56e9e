//! How sessions end when nobody who talks in them ends them, and how streams go on.

use crate::{
    both_engines,
    harness::{
        Engine, Platform, guests, json,
        people::{Id, send},
        voice::Voice,
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::work;
use reqwest::Method;
use std::time::Duration;

both_engines! {
    async fn an_agent_that_never_becomes_ready_ends_the_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (late, _) = bea.publish_webhook("Late", &hook.address, "none").await;
        let (session, mut events) = cleo.opens(&late).await;
        let voice = Voice::of(&platform, &session);
        let (other, _others) = cleo.starts(&bea.publish("Echo", guests::ECHO).await).await;

        platform.clock.advance(Duration::from_mins(9));
        let (young, _young) = cleo.opens(&late).await;
        work::tidy(&platform.host).await.expect("it tidies up");
        let path = format!("/sessions/{session}");
        assert_eq!(cleo.get(&path).await.ok()["status"], "provisioning", "it has ten minutes");
        platform.clock.advance(Duration::from_mins(2));
        work::tidy(&platform.host).await.expect("it tidies up");
        let ended = events.until("session_ended").await;
        assert_eq!((&ended["reason"], &ended["billedCents"]), (&json!("provisioning_timeout"), &json!(0)));
        let shown = cleo.get(&path).await.ok();
        assert_eq!((&shown["status"], &shown["endReason"]), (&json!("completed"), &json!("provisioning_timeout")));
        events.without_gap();
        // It comes too late now, and others have nothing to do with it.
        send(voice.bare(Method::POST, &format!("/agent/{session}/auth")).bearer_auth(&voice.token))
            .await
            .problem(401, "unauthenticated");
        assert_eq!(cleo.get(&format!("/sessions/{other}")).await.ok()["status"], "active");
        assert_eq!(cleo.get(&format!("/sessions/{young}")).await.ok()["status"], "provisioning");
    }

    async fn an_operator_ends_any_session_and_it_is_recorded(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let opal = platform.operator("Opal").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let end = format!("/admin/sessions/{session}/end");
        for person in [&cleo, &bea] {
            person.post(&end, json!({})).await.problem(403, "not_an_operator");
        }
        let unknown = "/admin/sessions/01890000-0000-7000-8000-000000000000/end";
        opal.post(unknown, json!({})).await.problem(404, "not_found");

        let ended = opal.post(&end, json!({})).await.ok();
        assert_eq!((&ended["status"], &ended["endReason"]), (&json!("completed"), &json!("operator")));
        assert_eq!(events.until("session_ended").await["reason"], "operator");
        assert_eq!(opal.post(&end, json!({})).await.ok()["endedAt"], ended["endedAt"]);
        // The agent is told, too: its start and its end.
        assert_eq!(bea.receipts(&agent, &session, 2).await[1]["outcome"], "ok");
        let audit = opal.get(&format!("/admin/audit?target=session/{session}")).await.ok();
        let audit = audit["data"].as_array().expect("a list");
        assert_eq!(audit.len(), 1, "{audit:?}");
        assert_eq!(audit[0]["action"], "session.ended");
        assert_eq!(audit[0]["actorId"], opal.get("/me").await.ok()["user"].id());
        assert_eq!(audit[0]["before"], json!({ "status": "active" }));
    }

    async fn a_stream_is_closed_after_its_time_and_goes_on_where_it_was(engine: Engine) {
        let platform = Platform::configured(engine, |config| config.stream_seconds = 1).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (session, mut events) = cleo.opens(&bea.publish("Echo", guests::ECHO).await).await;
        let mut heard = 0;
        // Said while one stream after the other comes to its end.
        for said in 0..60 {
            if said == 0 {
                events.until("session").await;
            }
            cleo.says(&session, &format!("{said}")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut streams = 1;
        while heard < 2 + 120 {
            events.rest().await;
            events.without_gap();
            let last = events.last_id().max(heard);
            assert!(events.heard.iter().all(|event| event.id.is_none_or(|id| id > heard)));
            heard = last;
            if heard < 2 + 120 {
                events = cleo.listens(&session, Some(heard)).await;
                streams += 1;
            }
        }
        assert!(streams >= 2, "{streams}");
    }
}
