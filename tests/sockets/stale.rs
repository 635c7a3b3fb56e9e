//! Agents that had a socket and are not heard of any more.

use super::Scene;
use crate::{
    both_engines,
    harness::{Engine, Value, json},
};
use aiybiz_host::work::{self, overdue};
use std::time::Duration;

/// Why the session has ended, so much later, if it has. The platform was there all the
/// time.
async fn ended(scene: &Scene, later: Duration) -> Value {
    let host = &scene.platform.host;
    *host.attentive.lock().expect("a time") = host.clock.now();
    scene.platform.clock.advance(later);
    work::tidy(host).await.expect("it tidies up");
    overdue::end_stale(host).await.expect("it looks");
    scene.cleo.get(&format!("/sessions/{}", scene.session)).await.ok()["endReason"].clone()
}

const SHORT: Duration = Duration::from_mins(4);
const LONG: Duration = Duration::from_mins(6);

both_engines! {
    async fn a_session_whose_agent_is_gone_ends(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 503).await;
        assert_eq!(ended(&scene, LONG).await, json!(null), "nobody knows where it should be");
        let socket = scene.connect().await;
        scene.events.presence("online").await;
        drop(socket);
        scene.events.presence("offline").await;
        assert_eq!(ended(&scene, SHORT).await, json!(null), "it has five minutes");
        scene.voice.says("I do without").await;
        assert_eq!(ended(&scene, SHORT).await, json!(null), "it has called");

        let mut socket = scene.connect().await;
        socket.settle().await;
        drop(socket);
        scene.events.presence("offline").await;
        // The platform itself has only just come.
        scene.platform.clock.advance(LONG);
        let host = &scene.platform.host;
        *host.attentive.lock().expect("a time") = host.clock.now();
        overdue::end_stale(host).await.expect("it looks");
        let mut socket = scene.connect().await;
        socket.settle().await;
        assert_eq!(ended(&scene, Duration::ZERO).await, json!(null), "it came back");
        drop(socket);
        scene.events.presence("offline").await;

        // What nobody takes is no sign of life.
        scene.say("are you there?").await;
        let tries = scene.tries(2).await;
        assert_eq!(tries[1]["outcome"], "dead");
        assert_eq!(ended(&scene, LONG).await, json!("stale"));
        let told = scene.events.until("session_ended").await;
        assert_eq!(told["reason"], "stale");
        // The time for which nobody was there is billed like any other.
        assert!(told["billedCents"].as_i64() > Some(0), "{told}");
        scene.events.without_gap();
        let notices = scene.cleo.get("/notifications").await.ok();
        assert_eq!(notices["data"][0]["type"], "session_ended", "{notices}");
    }

    async fn an_agent_whose_webhook_takes_what_comes_is_there(engine: Engine) {
        let mut scene = Scene::new(engine, "none", 200).await;
        let socket = scene.connect().await;
        drop(socket);
        scene.events.presence("offline").await;
        scene.platform.clock.advance(SHORT);
        scene.say("hello").await;
        scene.tries(2).await;
        assert_eq!(ended(&scene, SHORT).await, json!(null));
        assert_eq!(ended(&scene, LONG).await, json!("stale"));
    }
}
