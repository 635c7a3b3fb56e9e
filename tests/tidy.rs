//! What nobody else puts away: uploads whose process died, tokens that have expired.

use crate::{
    both_engines,
    harness::{Engine, Platform, people::Id},
};
use aiybiz_host::{catalog::components, work};
use std::time::Duration;

both_engines! {
    async fn an_upload_whose_process_died_is_refused_in_the_end(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let agent = builder.component_agent("Orphan").await;
        let mut tx = platform.host.db.write().await.expect("a transaction");
        let (id, now) = (agent.parse().expect("an id"), platform.clock.now());
        // As an upload leaves it when kill -9 comes while it is looked at.
        components::begin(&mut tx, id, "00", 1, [7; 8], now).await.expect("a version");
        tx.commit().await.expect("a commit");
        let path = format!("/builder/agents/{agent}/components/1");

        work::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(builder.get(&path).await.ok()["state"], "queued", "it may be at work");
        platform.clock.advance(Duration::from_mins(10));
        work::tidy(&platform.host).await.expect("it tidies up");
        let version = builder.get(&path).await.ok();
        assert_eq!(version["state"], "refused");
        assert!(version["problems"][0]["detail"].as_str().expect("a text").contains("again"));
    }

    async fn expired_tokens_are_forgotten_and_others_kept(engine: Engine) {
        let platform = Platform::start(engine).await;
        let old = platform.person("Old").await;
        platform.clock.advance(Duration::from_hours(31 * 24));
        let new = platform.person("New").await;
        work::tidy(&platform.host).await.expect("it tidies up");
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let (tokens,): (i64,) =
            tx.query("SELECT COUNT(*) FROM sign_ins").one().await.expect("a count");
        assert_eq!(tokens, 1);
        old.get("/me").await.problem(401, "unauthenticated");
        new.get("/me").await.ok()["user"].id();
    }
}
