//! Replacing a webhook's signing secret while events go on.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, guests, json,
        webhook::{Request, WebhookAgent},
    },
};
use aiybiz_host::work;
use std::time::Duration;

/// Says something and returns the delivery of it.
async fn delivered(cleo: &Person, session: &str, hook: &WebhookAgent, said: &str) -> Request {
    cleo.says(session, said).await;
    loop {
        let seen = hook.seen();
        let found = seen.into_iter().find(|seen| seen.body["message"]["content"] == said);
        if let Some(found) = found {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn signatures(request: &Request) -> usize {
    request.header("webhook-signature").split(' ').count()
}

both_engines! {
    async fn a_replaced_secret_goes_on_signing_for_a_day(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, first) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        let (session, _events) = cleo.starts(&agent).await;
        let before = delivered(&cleo, &session, &hook, "before").await;
        assert!(before.is_signed_with(&first) && signatures(&before) == 1);

        let path = format!("/builder/agents/{agent}/webhook-secret/rotate");
        let rotated = bea.post(&path, json!({})).await.ok();
        let second = rotated["signingSecret"].as_str().expect("a secret").to_owned();
        assert!(second.starts_with("whsec_") && second != first);
        assert!(rotated["previousExpiresAt"].is_string());
        platform.clock.advance(Duration::from_hours(12));
        let third = bea.post(&path, json!({})).await.ok();
        let third = third["signingSecret"].as_str().expect("a secret").to_owned();
        let during = delivered(&cleo, &session, &hook, "during").await;
        assert_eq!(signatures(&during), 3);
        for secret in [&first, &second, &third] {
            assert!(during.is_signed_with(secret));
        }

        // A day after its own rotation each is silent, be it swept or not.
        platform.clock.advance(Duration::from_hours(12));
        let after = delivered(&cleo, &session, &hook, "after the first").await;
        assert!(!after.is_signed_with(&first) && after.is_signed_with(&second));
        assert_eq!(signatures(&after), 2);
        platform.clock.advance(Duration::from_hours(13));
        work::tidy(&platform.host).await.expect("it tidies up");
        let last = delivered(&cleo, &session, &hook, "after all").await;
        assert!(last.is_signed_with(&third) && signatures(&last) == 1);
        // It is shown once.
        let shown = bea.get(&format!("/builder/agents/{agent}")).await.ok();
        assert!(!shown.to_string().contains("whsec_"), "{shown}");
    }

    async fn only_the_builder_rotates_and_not_without_end(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, rival) = (platform.builder("Bea").await, platform.builder("Rival").await);
        let cleo = platform.person("Cleo").await;
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, first) = bea.publish_webhook("Echo", &hook.address, "none").await;
        let path = format!("/builder/agents/{agent}/webhook-secret/rotate");
        rival.post(&path, json!({})).await.problem(404, "not_found");
        cleo.post(&path, json!({})).await.problem(403, "not_a_builder");
        let component = bea.publish("Component", guests::ECHO).await;
        let none = format!("/builder/agents/{component}/webhook-secret/rotate");
        bea.post(&none, json!({})).await.problem(409, "not_a_webhook");
        for _ in 0..10 {
            bea.post(&path, json!({})).await.ok();
        }
        bea.post(&path, json!({})).await.problem(429, "too_many_rotations");
        // What was refused replaced nothing: the first is one of the ten still.
        let (session, _events) = cleo.starts(&agent).await;
        let seen = delivered(&cleo, &session, &hook, "hello").await;
        assert!(seen.is_signed_with(&first) && signatures(&seen) == 11);
        platform.clock.advance(Duration::from_hours(25));
        bea.post(&path, json!({})).await.ok();
    }
}
