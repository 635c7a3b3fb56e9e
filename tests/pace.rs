//! How often an agent may call.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, json,
        people::send,
        voice::{NOBODY, Voice},
    },
};
use std::num::NonZeroU32;

both_engines! {
    async fn an_agent_that_calls_without_end_is_told_to_slow_down(engine: Engine) {
        let slow = |config: &mut aiybiz_host::config::Config| {
            config.agent_calls_per_minute = NonZeroU32::new(60).expect("not zero");
        };
        let platform = Platform::configured(engine, slow).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Busy", NOBODY, "none").await;
        let (first, _) = cleo.opens(&agent).await;
        let (second, _) = cleo.opens(&agent).await;
        let (busy, other) = (Voice::of(&platform, &first), Voice::of(&platform, &second));
        // Who does not know the token uses up nothing of it.
        let stranger = Person { token: "aat_nonsense".into(), ..Person::nobody(&platform.url) };
        for _ in 0..20 {
            let path = format!("/agent/{first}/typing");
            stranger.post(&path, json!({})).await.problem(401, "unauthenticated");
        }
        busy.auth().await.ok();
        let mut refused = 0;
        for n in 0..30 {
            let answer = busy.posts(json!({ "content": format!("{n}") })).await;
            if answer.status == 429 {
                refused += 1;
                let wait = answer.headers["retry-after"].to_str().expect("text").parse::<u32>();
                assert!((1..=2).contains(&wait.expect("seconds")));
                answer.problem(429, "too_many_calls");
            }
        }
        assert!(refused > 10, "{refused}");
        // Every kind of call counts, and another session's agent is not concerned.
        assert_eq!(send(busy.call("typing")).await.status, 429);
        other.auth().await.ok();
        other.says("hello").await;
    }
}
