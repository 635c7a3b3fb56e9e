//! What a builder sees of each try of sending an event.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::work;
use std::time::Duration;

/// The tries of an agent, oldest first, once there are so many.
async fn tries(bea: &Person, agent: &str, count: usize) -> Vec<Value> {
    loop {
        let found = bea.get(&format!("/builder/agents/{agent}/deliveries?limit=200")).await.ok();
        let mut found = found["data"].as_array().expect("a list").clone();
        if found.len() >= count {
            found.reverse();
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

both_engines! {
    async fn every_try_is_on_record_without_what_would_open_a_session(engine: Engine) {
        let platform = Platform::configured(engine, |config| config.receipt_days = 1).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |request| {
            let said = request.body["message"]["content"].as_str().unwrap_or_default();
            Reply::Status(if said == "bad" { 503 } else { 200 })
        })
        .await;
        let (agent, secret) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        let (session, _events) = cleo.starts(&agent).await;
        cleo.says(&session, "good").await;
        cleo.says(&session, "bad").await;
        let all = tries(&bea, &agent, 3).await;
        let outcomes: Vec<_> = all.iter().map(|one| &one["outcome"]).collect();
        assert_eq!(outcomes, ["delivered", "delivered", "retrying"]);
        let good = &all[1];
        assert_eq!((&good["event"], &good["attempt"], &good["sessionId"]), (&json!("message"), &json!(1), &json!(session)));
        assert_eq!((&good["responseStatus"], &good["responseBody"], &good["error"]), (&json!(200), &json!(""), &Value::Null));
        assert_eq!(good["url"], hook.address);
        assert!(hook.address.contains(good["address"].as_str().expect("an address")));
        assert!(good["durationMs"].as_u64() >= good["firstByteMs"].as_u64());
        assert_eq!(good["requestHeaders"]["webhook-id"], good["eventId"]);
        let sent: Value = serde_json::from_str(good["requestBody"].as_str().expect("text")).expect("JSON");
        assert_eq!(sent["message"]["content"], "good");
        // Nothing in it lets anybody speak for the agent, or sign.
        let seen = hook.seen();
        let token = seen[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
        let signature = seen[1].header("webhook-signature").to_owned();
        let told = json!(all).to_string();
        for hidden in [&token, &secret, &signature] {
            assert!(!told.contains(hidden), "{told}");
        }
        let bad = &all[2];
        assert_eq!((&bad["responseStatus"], &bad["error"]), (&json!(503), &json!("status")));
        assert!(bad["nextAttemptAt"].is_string());

        // Only who made the agent may read it, and only what is meant.
        let path = format!("/builder/agents/{agent}/deliveries");
        platform.builder("Rival").await.get(&path).await.problem(404, "not_found");
        cleo.get(&path).await.problem(403, "not_a_builder");
        bea.get(&format!("{path}?outcome=fine")).await.problem(400, "invalid_field");
        bea.get(&format!("{path}?sessionId=x")).await.problem(400, "invalid_field");
        let dead = bea.get(&format!("{path}?outcome=retrying&sessionId={session}")).await.ok();
        assert_eq!(dead["data"].as_array().map(Vec::len), Some(1));
        let page = bea.get(&format!("{path}?limit=2")).await.ok();
        let rest = format!("{path}?cursor={}", page["nextCursor"].as_str().expect("a cursor"));
        assert_eq!(bea.get(&rest).await.ok()["data"][0]["id"], all[0]["id"]);

        // It is kept for as long as receipts are.
        platform.clock.advance(Duration::from_hours(25));
        work::tidy(&platform.host).await.expect("it tidies up");
        let left = bea.get(&path).await.ok();
        assert!(left["data"].as_array().is_some_and(|left| left.iter().all(|one| one["id"] != all[0]["id"])), "{left}");
    }

    async fn what_went_wrong_has_a_name(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Redirect("http://127.0.0.1:1/".into())).await;
        let (agent, _) = bea.publish_webhook("Away", &hook.address, "none").await;
        let _opened = cleo.opens(&agent).await;
        let one = tries(&bea, &agent, 1).await.remove(0);
        assert_eq!((&one["outcome"], &one["error"], &one["responseStatus"]), (&json!("dead"), &json!("redirect"), &json!(307)));

        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let closed = format!("http://{}/hook", free.local_addr().expect("an address"));
        drop(free);
        let (agent, _) = bea.publish_webhook("Gone", &closed, "none").await;
        let _opened = cleo.opens(&agent).await;
        let one = tries(&bea, &agent, 1).await.remove(0);
        assert_eq!((&one["error"], &one["responseStatus"], &one["responseBody"]), (&json!("refused"), &Value::Null, &Value::Null));

        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(404)).await;
        let (agent, _) = bea.publish_webhook("Nobody", &hook.address, "none").await;
        let _opened = cleo.opens(&agent).await;
        let one = tries(&bea, &agent, 1).await.remove(0);
        assert_eq!((&one["error"], &one["responseStatus"]), (&json!("status"), &json!(404)));
    }
}
