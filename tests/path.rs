//! The main path: a message goes in, an agent answers, the stream tells.

use crate::{
    both_engines,
    harness::{Engine, Platform, guests, people::Id, webhook::WebhookAgent},
};

both_engines! {
    async fn a_component_answers_a_message(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let agent = builder.publish("Echo", guests::ECHO).await;

        let (session, mut events) = client.starts(&agent).await;
        let said = client.says(&session, "hello").await;
        assert_eq!(said["role"], "user");
        assert_eq!(said["status"], "queued");
        assert_eq!(events.reply().await, "echo: hello");

        let messages = client.get(&format!("/sessions/{session}/messages")).await.ok();
        assert_eq!(messages["data"][0]["content"], "echo: hello");
        assert_eq!(messages["data"][1]["id"], said.id());
        client.ends(&session).await;
        events.rest().await;
        events.without_gap();
        let kinds: Vec<_> = events.heard.iter().map(|heard| heard.kind.as_str()).collect();
        assert_eq!(kinds, ["session_started", "session", "message", "message", "session_ended"]);
    }

    async fn a_webhook_answers_a_message(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, secret) = builder.publish_webhook("Hook", &hook.address, "none").await;

        let (session, mut events) = client.starts(&agent).await;
        client.says(&session, "hello").await;
        assert_eq!(events.reply().await, "echo: hello");
        client.ends(&session).await;
        events.rest().await;
        events.without_gap();
        for request in hook.seen() {
            assert!(request.is_signed_with(&secret));
            assert_eq!(request.body["sessionId"], session);
        }
    }
}
