//! What a client and the builder behind the agent say to each other: both find it, the
//! agent and everybody else do not.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::Id,
        voice::{NOBODY, Voice},
        webhook::WebhookAgent,
    },
};
use futures::future::join_all;

fn of_client(session: &str) -> String {
    format!("/sessions/{session}/direct-messages")
}

fn of_builder(session: &str) -> String {
    format!("/builder/sessions/{session}/direct-messages")
}

fn content(text: &str) -> Value {
    json!({ "content": text })
}

/// A builder, a client, and their session with an agent that speaks by itself.
async fn talk(platform: &Platform) -> (Person, Person, Voice) {
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
    let session = cleo.post("/sessions", json!({ "agentId": agent })).await.created().id();
    (bea, cleo, Voice::of(platform, &session))
}

both_engines! {
    async fn both_sides_speak_and_read_past_the_agent(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, _) = bea.publish_webhook("Echo", &hook.address, "none").await;
        let (session, mut events) = cleo.starts(&agent).await;
        let asked = cleo.post(&of_client(&session), content("Is anybody there?")).await.created();
        let answered = bea.post(&of_builder(&session), content("I am.")).await.created();
        assert_eq!((&asked["from"], &answered["from"]), (&json!("client"), &json!("builder")));
        assert_eq!(asked["content"], "Is anybody there?");
        assert_eq!((&asked["sessionId"], &answered["sessionId"]), (&json!(session), &json!(session)));
        assert!(asked["seq"].as_i64() < answered["seq"].as_i64());
        assert!(asked["createdAt"].is_string() && asked["id"] != answered["id"]);

        // Both find the same, newest first, in pages.
        let (path, theirs) = (of_client(&session), of_builder(&session));
        let both = json!({ "data": [answered, asked], "nextCursor": null });
        assert_eq!(cleo.get(&path).await.ok(), both);
        assert_eq!(bea.get(&theirs).await.ok(), both);
        for (person, path) in [(&cleo, path), (&bea, theirs)] {
            let page = person.get(&format!("{path}?limit=1")).await.ok();
            assert_eq!(page["data"], json!([answered]));
            let next = page["nextCursor"].as_str().expect("a cursor");
            let next = person.get(&format!("{path}?limit=1&cursor={next}")).await.ok();
            assert_eq!(next, json!({ "data": [asked], "nextCursor": null }));
        }

        // The stream has them, once; the agent and the list of messages never.
        assert_eq!(events.until("direct_message").await, asked);
        assert_eq!(events.until("direct_message").await, answered);
        cleo.says(&session, "And you?").await;
        assert_eq!(events.reply().await, "echo: And you?");
        events.without_gap();
        let voice = Voice::of(&platform, &session);
        for listed in [
            voice.history("").await.ok(),
            cleo.get(&format!("/sessions/{session}/messages")).await.ok(),
        ] {
            let said: Vec<_> = listed["data"].as_array().expect("a list").iter().collect();
            assert_eq!(said.len(), 2, "{listed}");
            assert!(said.iter().all(|message| message["role"].is_string()), "{listed}");
        }
        let heard: Vec<_> = hook.seen().iter().map(|request| request.body["event"].clone()).collect();
        assert_eq!(heard, ["session_started", "message"]);
    }

    async fn they_may_speak_until_the_session_is_over_and_read_after_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo, voice) = talk(&platform).await;
        let (path, theirs) = (of_client(&voice.session), of_builder(&voice.session));
        // It is not active yet.
        cleo.post(&path, content("Why does it not start?")).await.created();
        bea.post(&theirs, content("A moment.")).await.created();
        voice.auth().await.ok();
        cleo.post(&path, content("It does.")).await.created();
        for blank in ["", " \n"] {
            cleo.post(&path, content(blank)).await.problem(400, "invalid_field");
            bea.post(&theirs, content(blank)).await.problem(400, "invalid_field");
        }
        let long = "x".repeat((64 << 10) + 1);
        bea.post(&theirs, content(&long)).await.problem(413, "content_too_large");
        cleo.ends(&voice.session).await;
        cleo.post(&path, content("Late")).await.problem(409, "session_ended");
        bea.post(&theirs, content("Late")).await.problem(409, "session_ended");
        for read in [cleo.get(&path).await.ok(), bea.get(&theirs).await.ok()] {
            let said = read["data"].as_array().expect("a list").iter();
            let said: Vec<_> = said.map(|message| message["content"].clone()).collect();
            assert_eq!(said, ["It does.", "A moment.", "Why does it not start?"]);
        }
    }

    async fn nobody_else_finds_them(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo, voice) = talk(&platform).await;
        let (path, theirs) = (of_client(&voice.session), of_builder(&voice.session));
        cleo.post(&path, content("Between us")).await.created();
        let (ben, dora, _) = talk(&platform).await;
        let opal = platform.operator("Opal").await;
        for person in [&dora, &ben, &bea, &opal] {
            person.get(&path).await.problem(404, "not_found");
            person.post(&path, content("Hello")).await.problem(404, "not_found");
        }
        ben.get(&theirs).await.problem(404, "not_found");
        ben.post(&theirs, content("Hello")).await.problem(404, "not_found");
        // The client is no builder, and as a builder not the one behind this agent.
        cleo.post(&theirs, content("Hello")).await.problem(403, "not_a_builder");
        cleo.becomes_builder("Cleo").await;
        cleo.post(&theirs, content("Hello")).await.problem(404, "not_found");
        assert_eq!(bea.get(&theirs).await.ok()["data"].as_array().map(Vec::len), Some(1));
    }

    async fn behind_the_platforms_own_agents_is_nobody_to_speak_to(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo, voice) = talk(&platform).await;
        // As a session with such an agent is stored.
        let session: aiybiz_host::id::SessionId = voice.session.parse().expect("an id");
        let mut tx = platform.host.db.write().await.expect("a transaction");
        let sql = "UPDATE sessions SET builder_id = NULL WHERE id = $1";
        assert_eq!(tx.query(sql).bind(session).run().await.expect("an answer"), 1);
        tx.commit().await.expect("it is kept");
        let path = of_client(&voice.session);
        cleo.get(&path).await.problem(404, "not_found");
        cleo.post(&path, content("Hello")).await.problem(404, "not_found");
        bea.get(&of_builder(&voice.session)).await.problem(404, "not_found");
        assert_eq!(cleo.get(&format!("/sessions/{session}")).await.ok()["lastSeq"], 1);
    }

    async fn who_resumes_hears_each_once_and_in_order(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo, voice) = talk(&platform).await;
        voice.auth().await.ok();
        let (path, theirs) = (of_client(&voice.session), of_builder(&voice.session));
        let mut events = cleo.listens(&voice.session, Some(0)).await;
        let first = cleo.post(&path, content("one")).await.created();
        assert_eq!(events.until("direct_message").await, first);
        let seen = events.last_id();
        drop(events);
        // Said while nobody listens.
        let missed = bea.post(&theirs, content("two")).await.created();
        let mut events = cleo.listens(&voice.session, Some(seen)).await;
        let live = cleo.post(&path, content("three")).await.created();
        cleo.ends(&voice.session).await;
        events.rest().await;
        events.without_gap();
        let heard = events.heard.iter().filter(|heard| heard.kind == "direct_message");
        let heard: Vec<_> = heard.map(|heard| heard.data.clone()).collect();
        assert_eq!(heard, [missed, live]);
        assert_eq!(events.heard[0].id, Some(seen + 1));
    }

    async fn many_speak_at_once_and_no_number_is_left_out(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo, voice) = talk(&platform).await;
        voice.auth().await.ok();
        let (path, theirs) = (of_client(&voice.session), of_builder(&voice.session));
        let events = cleo.listens(&voice.session, Some(0));
        let clients = join_all((0..20).map(|n| cleo.post(&path, content(&format!("c{n}")))));
        let builders = join_all((0..20).map(|n| bea.post(&theirs, content(&format!("b{n}")))));
        let messages = join_all((0..20).map(|n| {
            let (cleo, session) = (&cleo, &voice.session);
            async move { cleo.says(session, &format!("m{n}")).await }
        }));
        let agents = join_all((0..20).map(|n| {
            let voice = &voice;
            async move { voice.says(&format!("a{n}")).await }
        }));
        let (mut events, clients, builders, ..) =
            tokio::join!(events, clients, builders, messages, agents);
        let answers: Vec<_> = clients.into_iter().chain(builders).map(|said| said.created()).collect();
        cleo.ends(&voice.session).await;
        events.rest().await;
        events.without_gap();
        let heard = events.heard.iter().filter(|heard| heard.kind == "direct_message");
        let heard: Vec<_> = heard.map(|heard| heard.data.clone()).collect();
        assert_eq!(heard.len(), 40);
        assert!(answers.iter().all(|said| heard.contains(said)));
        let listed = cleo.get(&path).await.ok();
        let listed: Vec<_> = listed["data"].as_array().expect("a list").iter().rev().cloned().collect();
        assert_eq!(listed, heard);
    }
}
