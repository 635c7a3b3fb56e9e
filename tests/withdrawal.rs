//! A builder takes a template away: nobody sees it any more, and what ran with it comes
//! to its end.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, guests, json,
        people::Id,
        voice::NOBODY,
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::{
    catalog::withdrawal,
    id::{AgentId, SessionId},
    work,
};
use futures::future::join_all;
use std::time::Duration;

fn place(agent: &str) -> String {
    format!("/builder/agents/{agent}")
}

/// Whether what the builder had stored with the agent is deleted.
async fn is_empty(platform: &Platform, agent: &str) -> bool {
    let agent: AgentId = agent.parse().expect("an id");
    let mut tx = platform.host.db.look().await.expect("a connection");
    let sql = "SELECT (SELECT COUNT(*) FROM settings WHERE agent_id = $1), COUNT(*) FROM agents
               WHERE id = $1 AND emptied_at IS NOT NULL AND webhook_secret IS NULL";
    let (settings, empty): (i64, i64) = tx.query(sql).bind(agent).one().await.expect("counts");
    assert!(empty == 0 || settings == 0, "{settings} settings are left");
    empty == 1
}

/// Tidies up until it is.
async fn emptied(platform: &Platform, agent: &str) {
    for _ in 0..1_000 {
        work::tidy(&platform.host).await.expect("it tidies up");
        if is_empty(platform, agent).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("something is left of agent {agent}");
}

/// Nobody finds the agent, by any route.
async fn is_gone(agent: &str, bea: &Person, cleo: &Person) {
    let path = place(agent);
    for get in [
        "",
        "/components",
        "/config",
        "/logs",
        "/invocations",
        "/deliveries",
        "/webhook",
        "/replays",
    ] {
        bea.get(&format!("{path}{get}")).await.problem(404, "not_found");
    }
    for post in ["publish", "unpublish", "webhook-secret/rotate", "webhook/enable", "test-event"] {
        bea.post(&format!("{path}/{post}"), json!({})).await.problem(404, "not_found");
    }
    bea.patch(&path, json!({ "name": "Other" })).await.problem(404, "not_found");
    bea.put(&format!("{path}/config/a"), json!({ "value": "b" })).await.problem(404, "not_found");
    bea.delete(&path).await.problem(404, "not_found");
    bea.delete(&format!("{path}?endSessions=true")).await.problem(404, "not_found");
    assert_eq!(bea.get("/builder/agents").await.ok()["data"], json!([]));
    for person in [bea, cleo] {
        assert_eq!(person.get("/agents").await.ok()["data"], json!([]));
        person.get(&format!("/agents/{agent}")).await.problem(404, "not_found");
        person.post("/sessions", json!({ "agentId": agent })).await.problem(404, "not_found");
    }
}

both_engines! {
    async fn a_template_is_not_taken_away_under_those_who_use_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
        let open = json!({ "agentId": agent });
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(cleo.post("/sessions", open.clone()).await.created().id());
        }
        cleo.ends(&sessions[0]).await;
        for path in [place(&agent), format!("{}?endSessions=false", place(&agent))] {
            let refused = bea.delete(&path).await.problem(409, "sessions_running");
            assert!(refused["detail"].as_str().is_some_and(|why| why.starts_with("2 sessions")), "{refused}");
        }
        let odd = bea.delete(&format!("{}?endSessions=yes", place(&agent))).await;
        assert_eq!(odd.problem(400, "invalid_field")["errors"][0]["pointer"], "endSessions");
        platform.builder("Ben").await.delete(&place(&agent)).await.problem(404, "not_found");
        // Nothing has happened to it.
        assert_eq!(cleo.get(&format!("/agents/{agent}")).await.ok()["status"], "active");
        cleo.ends(&sessions[1]).await;
        cleo.ends(&sessions[2]).await;
        bea.delete(&place(&agent)).await.with(204);
        is_gone(&agent, &bea, &cleo).await;
        for session in &sessions {
            let shown = cleo.get(&format!("/sessions/{session}")).await.ok();
            assert_eq!((&shown["agentName"], &shown["endReason"]), (&json!("Voice"), &json!("client")));
        }
        let seen = bea.get("/builder/sessions").await.ok();
        assert_eq!(seen["data"].as_array().map(Vec::len), Some(3));
    }

    async fn with_it_go_the_sessions_that_may_end(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, _) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        let (other, _) = bea.publish_webhook("Other", &hook.address, "standard").await;
        let (stays, _others) = cleo.starts(&other).await;
        let (first, mut first_events) = cleo.starts(&agent).await;
        let (second, mut second_events) = cleo.starts(&agent).await;
        cleo.says(&first, "hello").await;
        first_events.reply().await;
        let direct = format!("/sessions/{first}/direct-messages");
        cleo.post(&direct, json!({ "content": "Why?" })).await.created();
        bea.delete(&format!("{}?endSessions=true", place(&agent))).await.with(204);
        for (session, events) in [(&first, &mut first_events), (&second, &mut second_events)] {
            let ended = events.until("session_ended").await;
            assert_eq!(ended["reason"], "agent_withdrawn");
            events.rest().await;
            events.without_gap();
            let shown = cleo.get(&format!("/sessions/{session}")).await.ok();
            assert_eq!((&shown["status"], &shown["endReason"]), (&json!("completed"), &json!("agent_withdrawn")));
            assert_eq!(shown["agentName"], "Echo");
        }
        // The agent has heard of it, last; then nothing of it is left to be stored.
        emptied(&platform, &agent).await;
        for session in [&first, &second] {
            let seen = hook.seen();
            let heard = seen.iter().filter(|request| request.body["sessionId"] == **session);
            let heard: Vec<_> = heard.map(|request| request.body["event"].clone()).collect();
            assert_eq!(heard.last(), Some(&json!("session_ended")), "{heard:?}");
        }
        let told = cleo.get("/notifications").await.ok();
        let told = told["data"].as_array().expect("a list");
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|told| told["type"] == "session_ended"), "{told:?}");
        let page = format!("/builder/sessions/{first}/direct-messages");
        assert_eq!(bea.get(&page).await.ok()["data"][0]["content"], "Why?");
        assert_eq!(cleo.get(&format!("/sessions/{stays}")).await.ok()["status"], "active");
        bea.delete(&place(&agent)).await.problem(404, "not_found");
        bea.get(&place(&other)).await.ok();
    }

    async fn a_component_ends_its_sessions_with_its_own_settings(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Echo", guests::ECHO).await;
        bea.put(&format!("{}/config/a", place(&agent)), json!({ "value": "b" })).await.with(204);
        let (session, mut events) = cleo.starts(&agent).await;
        bea.delete(&format!("{}?endSessions=true", place(&agent))).await.with(204);
        is_gone(&agent, &bea, &cleo).await;
        assert_eq!(events.until("session_ended").await["reason"], "agent_withdrawn");
        // Its receipts stay, for operators.
        let opal = platform.operator("Opal").await;
        emptied(&platform, &agent).await;
        let receipts = opal.get(&format!("/admin/invocations?sessionId={session}")).await.ok();
        let outcomes: Vec<_> = receipts["data"].as_array().expect("a list").iter().collect();
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.iter().all(|receipt| receipt["outcome"] == "ok"), "{receipts}");
        assert_eq!(outcomes[0]["event"], "session_ended");
    }

    async fn who_dies_on_the_way_has_a_successor(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
        let open = json!({ "agentId": agent });
        let opened = join_all((0..105).map(|_| cleo.post("/sessions", open.clone()))).await;
        let opened: Vec<_> = opened.into_iter().map(|opened| opened.created().id()).collect();
        // Withdrawn by a process that dies before it ends any of them.
        let mut tx = platform.host.db.write().await.expect("a transaction");
        let id = agent.parse().expect("an id");
        let running = withdrawal::withdraw(&mut tx, &platform.clock, id, true).await;
        assert!(running.expect("it is withdrawn"));
        tx.commit().await.expect("it is kept");
        is_gone(&agent, &bea, &cleo).await;
        assert_eq!(cleo.get(&format!("/sessions/{}", opened[0])).await.ok()["status"], "provisioning");

        let other = platform.beside().await;
        let (one, two) = tokio::join!(work::tidy(&platform.host), work::tidy(&other.host));
        one.and(two).expect("they tidy up");
        let ended = cleo.get("/sessions?limit=200").await.ok();
        let ended = ended["data"].as_array().expect("a list");
        assert_eq!(ended.len(), 105);
        assert!(ended.iter().all(|session| session["endReason"] == "agent_withdrawn"));
        // Each was ended once, by whichever process.
        let told = cleo.get("/notifications?limit=200").await.ok();
        assert_eq!(told["data"].as_array().map(Vec::len), Some(105));
    }

    async fn what_never_reaches_its_agent_is_given_up(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let mut agents = Vec::new();
        for status in [503, 410] {
            let hook = WebhookAgent::that(&platform.url, move |request| {
                let start = request.body["event"] == "session_started";
                Reply::Status(if start { 200 } else { status })
            });
            let (agent, _) = bea.publish_webhook("Deaf", &hook.await.address, "standard").await;
            let (session, mut events) = cleo.starts(&agent).await;
            cleo.says(&session, "hello").await;
            // One is asked again later; the other is disabled, and its builder is gone.
            events.until("delivery_failed").await;
            bea.delete(&format!("{}?endSessions=true", place(&agent))).await.with(204);
            events.until("session_ended").await;
            agents.push((agent, session));
        }
        work::tidy(&platform.host).await.expect("it tidies up");
        for (agent, _) in &agents {
            assert!(!is_empty(&platform, agent).await, "it is tried again");
        }
        platform.clock.advance(Duration::from_hours(25));
        for (agent, session) in &agents {
            emptied(&platform, agent).await;
            let session: SessionId = session.parse().expect("an id");
            let mut tx = platform.host.db.look().await.expect("a connection");
            let sql = "SELECT s.queued, (SELECT delivery FROM events e WHERE e.session_id = s.id
                           AND e.type = 'session_ended') FROM sessions s WHERE s.id = $1";
            let left: (i64, String) = tx.query(sql).bind(session).one().await.expect("a session");
            assert_eq!(left, (0, "cancelled".into()));
        }
    }

    async fn a_withdrawn_template_makes_room_for_another(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        // One that was never rented needs no leave.
        let agent = bea.component_agent("Unused").await;
        bea.install(&agent, guests::ECHO).await;
        bea.put(&format!("{}/config/a", place(&agent)), json!({ "value": "b" })).await.with(204);
        bea.delete(&place(&agent)).await.with(204);
        is_gone(&agent, &bea, &cleo).await;
        assert!(is_empty(&platform, &agent).await);
        let again = bea.component_agent("Unused").await;
        assert_eq!(bea.get("/builder/agents").await.ok()["data"][0]["id"], json!(again));
    }

    async fn sessions_that_begin_meanwhile_end_too_or_never_begin(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        for n in 0..8 {
            let (agent, _) = bea.publish_webhook(&format!("Voice {n}"), NOBODY, "none").await;
            let open = json!({ "agentId": agent });
            let opening = join_all((0..4).map(|_| cleo.post("/sessions", open.clone())));
            let path = format!("{}?endSessions=true", place(&agent));
            let (opened, deleted) = tokio::join!(opening, bea.delete(&path));
            deleted.with(204);
            for opened in opened {
                if opened.status != 201 {
                    opened.problem(404, "not_found");
                    continue;
                }
                let mut events = cleo.listens(&opened.body.id(), Some(0)).await;
                assert_eq!(events.until("session_ended").await["reason"], "agent_withdrawn");
            }
        }
    }
}
