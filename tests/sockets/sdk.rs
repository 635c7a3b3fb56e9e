//! The published SDK, unchanged but for the address that its user gives it: from
//! activation to the end of the session and beyond, and through crashes of the platform.

use super::Scene;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, json,
        process::Process,
        sdk::{self, Sdk},
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::{delivery::socket::Parting, id::SessionId};

both_engines! {
    async fn the_sdk_answers_from_activation_to_the_end(engine: Engine) {
        if !sdk::available() {
            return;
        }
        let mut scene = Scene::new(engine, "standard", 503).await;
        let mut agent = Sdk::start("echo", &scene.platform.url, &scene.session, &scene.voice.token);
        assert_eq!(agent.until("activate").await, json!(["activate", 200, { "success": true }]));
        agent.until("open").await;
        scene.events.presence("online").await;
        for n in 0..10 {
            scene.say(&format!("{n}")).await;
            assert_eq!(scene.events.reply().await, format!("echo: {n}"));
        }
        // Hung up on, it comes back by itself, and finds what it missed.
        let session: SessionId = scene.session.parse().expect("an id");
        let line = scene.platform.host.sockets.of(session).expect("a socket");
        line.close(Parting::Restart);
        assert_eq!(agent.until("close").await, json!(["close", 1012, "restart"]));
        scene.say("are you back?").await;
        assert_eq!(scene.events.reply().await, "echo: are you back?");
        // It heard messages and nothing else; none of them twice.
        let heard = agent.told.iter().filter(|told| told[0] == "message");
        let strange = heard.clone().find(|told| told[1]["type"] != "message" || told[1]["from"] != "client");
        assert_eq!(strange, None);
        scene.cleo.ends(&scene.session).await;
        assert_eq!(agent.until("close").await, json!(["close", 4001, "session_ended"]));
        // It cannot know that this was the end.
        let refused = agent.until("error").await;
        assert!(refused[1].as_str().is_some_and(|why| why.contains("401")), "{refused}");
        assert_eq!(agent.until("close").await[1], 1006);
        assert!(agent.is_running());
        let heard = agent.told.iter().filter(|told| told[0] == "message");
        assert_eq!(heard.count(), 11, "{:?}", agent.told);
        scene.events.rest().await;
        scene.events.without_gap();
        assert!(!scene.events.heard.iter().any(|heard| heard.kind == "message_failed"));
    }

    async fn the_stock_bridge_is_understood(engine: Engine) {
        if !sdk::available() {
            return;
        }
        let platform = Platform::start(engine).await;
        let mut scene = Scene::on(platform, "none", 200).await;
        let mut agent = Sdk::start("bridge", &scene.platform.url, &scene.session, &scene.voice.token);
        let told = agent.until("cron-jobs").await;
        assert_eq!((&told[1], &told[2]["jobs"][0]["executions"]), (&json!(200), &json!([])));
        scene.events.presence("online").await;
        let jobs = scene.cleo.get(&format!("/sessions/{}/cron-jobs", scene.session)).await.ok();
        assert_eq!(jobs["jobs"], told[2]["jobs"]);
        scene.say("hello").await;
        scene.events.until("typing").await;
        assert_eq!(scene.events.reply().await, "echo: hello");
        drop(agent);
        scene.events.presence("offline").await;
        // Neither its greetings nor its silence left anything in the conversation.
        let said = scene.events.heard.iter().filter(|heard| heard.kind == "message").count();
        assert_eq!(said, 2, "{:?}", scene.events.heard);
        let jobs = scene.cleo.get(&format!("/sessions/{}/cron-jobs", scene.session)).await.ok();
        assert_eq!(jobs["jobs"], told[2]["jobs"]);
    }

    async fn the_sdk_answers_through_crashes(engine: Engine) {
        if !sdk::available() {
            return;
        }
        let place = Place::new(engine).await;
        let mut process = Process::serve(&place);
        let url = process.url.clone();
        let bea = Person::sign_up(&url, "bea").await;
        bea.becomes_builder("Bea").await;
        let hook = WebhookAgent::that(&url, |request| {
            Reply::Status(if request.body["event"] == "message" { 503 } else { 200 })
        })
        .await;
        let (template, _) = bea.publish_webhook("Bridge", &hook.address, "standard").await;
        let (session, mut events) = bea.starts(&template).await;
        let token = hook.seen()[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
        let mut agent = Sdk::start("echo", &url, &session, &token);
        agent.until("open").await;
        for n in 0..5 {
            // Killed at once: before it is delivered, or in the middle, or after.
            bea.says(&session, &format!("{n}")).await;
            process.kill();
            events.rest().await;
            process = Process::serve_at(&place, &url);
            let last = events.last_id();
            events = bea.listens(&session, Some(last)).await;
            let path = format!("/sessions/{session}/messages?limit=200");
            let answer = format!("echo: {n}");
            loop {
                let said = bea.get(&path).await.ok();
                let said = said["data"].as_array().expect("a list");
                if said.iter().any(|message| message["content"] == answer) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        assert!(agent.is_running());
        bea.ends(&session).await;
        loop {
            let closed = agent.until("close").await;
            if closed[1] == 4001 {
                break;
            }
        }
    }
}
