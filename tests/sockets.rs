//! Agents that keep a socket open: the bridge of the published SDK.

mod crash;
mod frames;
mod roads;
mod sdk;
mod stale;

use crate::{
    both_engines,
    harness::{
        Engine, Events, Person, Platform, Value, json,
        people::send,
        socket::{self, Socket},
        voice::Voice,
        webhook::{Reply, WebhookAgent},
        within,
    },
};
use aiybiz_host::id::SessionId;
use reqwest::Method;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// A client in an active session whose agent's webhook takes starts and ends; what it
/// does with messages is said.
struct Scene {
    platform: Platform,
    bea: Person,
    cleo: Person,
    hook: WebhookAgent,
    agent: String,
    session: String,
    events: Events,
    voice: Voice,
}

impl Scene {
    async fn new(engine: Engine, policy: &str, messages: u16) -> Self {
        Self::on(Platform::start(engine).await, policy, messages).await
    }

    async fn on(platform: Platform, policy: &str, messages: u16) -> Self {
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, move |request| {
            Reply::Status(if request.body["event"] == "message" { messages } else { 200 })
        })
        .await;
        let (agent, _) = bea.publish_webhook("Bridge", &hook.address, policy).await;
        let (session, events) = cleo.starts(&agent).await;
        let voice = Voice::of(&platform, &session);
        Self { platform, bea, cleo, hook, agent, session, events, voice }
    }

    /// A socket that is the session's.
    async fn connect(&self) -> Socket {
        let session: SessionId = self.session.parse().expect("an id");
        let known = || self.platform.host.sockets.of(session).map(|line| line.id);
        let before = known();
        let socket = Socket::open(&self.platform.url, &self.session, &self.voice.token).await;
        within(SOON, || known().filter(|id| Some(*id) != before)).await;
        socket
    }

    async fn say(&self, content: &str) {
        self.cleo.says(&self.session, content).await;
    }

    /// What the webhook was called for.
    fn hooked(&self) -> Vec<String> {
        let event = |body: &Value| match body["message"]["content"].as_str() {
            Some(content) => content.to_owned(),
            None => body["event"].as_str().expect("an event").to_owned(),
        };
        self.hook.seen().iter().map(|request| event(&request.body)).collect()
    }

    /// The tries that the builder sees, oldest first, once there are so many.
    async fn tries(&self, count: usize) -> Vec<Value> {
        let path = format!("/builder/agents/{}/deliveries?limit=200", self.agent);
        loop {
            let found = self.bea.get(&path).await.ok();
            let mut found = found["data"].as_array().expect("a list").clone();
            if found.len() >= count {
                found.reverse();
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What readers were told of how the agent is.
fn presences(events: &Events) -> Vec<&str> {
    events.presences.iter().map(|told| told["status"].as_str().expect("a status")).collect()
}

both_engines! {
    async fn a_conversation_goes_through_the_socket(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let mut socket = scene.connect().await;
        socket.send(json!({ "type": "ready", "instanceId": scene.session, "capabilities": ["chat"], "timestamp": 1 })).await;
        scene.events.presence("online").await;
        let told = json!({ "type": "presence", "sessionId": scene.session, "status": "online" });
        assert_eq!(scene.events.presences, [told]);

        let said = scene.cleo.says(&scene.session, "hello\n\"you\"").await;
        let frame = socket.next().await;
        let expected = json!({
            "type": "message", "from": "client", "id": said["id"], "content": "hello\n\"you\"",
            "createdAt": said["createdAt"],
        });
        assert_eq!(frame.to_string(), expected.to_string(), "these fields in this order");
        socket.says("hello, client").await;
        assert_eq!(scene.events.reply().await, "hello, client");
        scene.say("and again").await;
        assert_eq!(socket.told().await, "and again");
        socket.send(json!({ "type": "pulse", "content": "pulsed" })).await;
        assert_eq!(scene.events.reply().await, "pulsed");
        // Nothing else was ever sent to the agent.
        socket.settle().await;

        let tries = scene.tries(3).await;
        let sent = &tries[1];
        assert_eq!(sent["url"], format!("ws:{}", scene.session));
        assert_eq!(sent["requestBody"], frame.to_string());
        assert_eq!((&sent["outcome"], &sent["attempt"], &sent["event"]), (&json!("delivered"), &json!(1), &json!("message")));
        assert_eq!((&sent["error"], &sent["responseStatus"]), (&Value::Null, &Value::Null));
        assert!(sent["durationMs"].is_u64());
        assert!(!json!(tries).to_string().contains(&scene.voice.token));
        let path = format!("/sessions/{}/messages", scene.session);
        let messages = scene.cleo.get(&path).await.ok();
        assert_eq!(messages["data"][3]["status"], "delivered");

        scene.cleo.ends(&scene.session).await;
        assert_eq!(socket.closed().await, (4001, "session_ended".into()));
        scene.tries(4).await;
        assert_eq!(scene.hooked(), ["session_started", "session_ended"]);
        scene.events.rest().await;
        scene.events.without_gap();
        // The SDK comes again and again.
        let address = socket::address(&scene.platform.url, &scene.session, &scene.voice.token);
        assert_eq!(Socket::try_open(socket::request(&address)).await.err(), Some(401));
    }

    async fn an_agent_of_the_sdk_says_that_it_is_ready(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (agent, _) = bea.publish_webhook("Late", &hook.address, "standard").await;
        for by_frame in [false, true] {
            let (session, mut events) = cleo.opens(&agent).await;
            let voice = Voice::of(&platform, &session);
            let status = async || cleo.get(&format!("/sessions/{session}")).await.ok()["status"].clone();
            assert_eq!(status().await, "provisioning");
            if by_frame {
                let mut socket = Socket::open(&platform.url, &session, &voice.token).await;
                socket.send(json!({ "type": "ready" })).await;
                events.until("session").await;
                // Its start, which the webhook never took, holds up nothing any more.
                cleo.says(&session, "hello").await;
                assert_eq!(socket.told().await, "hello");
                assert_eq!(status().await, "active");
            } else {
                // No credential but the path, as the published SDK does it.
                let path = format!("/t/{}/agent/sessions/{session}/activate", voice.token);
                let activate = || voice.bare(Method::POST, &path).json(&json!({ "capabilities": ["llm"] }));
                let first = send(activate()).await;
                assert_eq!(first.text, r#"{"success":true}"#);
                let session = events.until("session").await["session"].clone();
                assert_eq!(session["status"], "active");
                send(activate()).await.ok();
                assert_eq!(status().await, "active");
                let wrong = |body: Value| send(voice.bare(Method::POST, &path).json(&body));
                wrong(json!({ "capabilities": "llm" })).await.problem(400, "invalid_field");
                wrong(json!({ "capabilities": [7] })).await.problem(400, "invalid_field");
            }
        }
    }

    async fn pulses_are_told_apart(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let mut socket = scene.connect().await;
        scene.events.presence("online").await;
        socket.pulse("⏳ Processing...", json!({ "processing": true })).await;
        assert_eq!(scene.events.until("typing").await["from"], "agent");
        socket.pulse("⚠️ Agent degraded (HTTP 502).", json!({ "status": "degraded" })).await;
        scene.events.presence("degraded").await;
        // Who comes now is told, too.
        let mut late = scene.cleo.listens(&scene.session, None).await;
        late.presence("degraded").await;
        let up = json!({ "status": "ok", "openclawUrl": "http://inside" });
        socket.pulse("✅ Agent is up and ready.", up).await;
        scene.events.presence("online").await;
        socket.pulse("❌ Agent unreachable", json!({ "status": "error", "error": "refused" })).await;
        scene.events.presence("degraded").await;
        socket.pulse("Agent is online and ready.", json!({ "sessionId": scene.session })).await;
        scene.events.presence("online").await;
        socket.pulse("scraped", json!({ "job": "scrape" })).await;
        socket.send(json!({ "type": "pulse", "content": "an answer" })).await;
        assert_eq!(scene.events.reply().await, "scraped");
        assert_eq!(scene.events.reply().await, "an answer");
        socket.0.close(None).await.expect("it closes");
        scene.events.presence("offline").await;
        let mut later = scene.cleo.listens(&scene.session, Some(0)).await;
        later.presence("offline").await;
        scene.cleo.ends(&scene.session).await;
        scene.events.rest().await;
        later.rest().await;
        let told = ["online", "degraded", "online", "degraded", "online", "offline"];
        assert_eq!(presences(&scene.events), told);
        assert!(!format!("{:?}", scene.events.heard).contains("inside"));
        let said: Vec<_> = later.heard.iter().filter(|heard| heard.kind == "message").collect();
        assert_eq!(said.len(), 2, "{said:?}");
    }

    async fn a_component_has_no_socket(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Echo", crate::harness::guests::ECHO).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let address = socket::address(&platform.url, &session, &Voice::of(&platform, &session).token);
        assert_eq!(Socket::try_open(socket::request(&address)).await.err(), Some(409));
        cleo.says(&session, "hello").await;
        assert_eq!(events.reply().await, "echo: hello");
    }
}
