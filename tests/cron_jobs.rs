//! What an agent says of its own schedule, and what its client sees of it.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::{Answer, Id, send},
        voice::{NOBODY, Voice},
    },
};
use aiybiz_host::work;
use reqwest::Method;
use std::time::Duration;

async fn puts(voice: &Voice, jobs: Value) -> Answer {
    let path = format!("/agent/sessions/{}/cron-jobs", voice.session);
    send(voice.bare(Method::PUT, &path).bearer_auth(&voice.token).json(&jobs)).await
}

/// As the published SDK's bridge makes it.
fn job(id: &str) -> Value {
    json!({
        "id": id, "title": "Report", "description": "", "prompt": "Write the report\nnow",
        "schedule": "*/5 * * * *", "nextRunAt": "2026-05-07T12:00:00.000Z", "lastRunAt": null,
        "lastRunState": null,
    })
}

/// The names of the jobs that the client sees.
async fn sees(client: &Person, session: &str) -> Vec<String> {
    let found = client.get(&format!("/sessions/{session}/cron-jobs")).await.ok();
    found["jobs"].as_array().expect("a list").iter().map(Id::id).collect()
}

both_engines! {
    async fn an_agents_schedule_is_replaced_as_a_whole_and_stays(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Clock", NOBODY, "none").await;
        let (session, _events) = cleo.opens(&agent).await;
        let path = format!("/sessions/{session}/cron-jobs");
        let voice = Voice::of(&platform, &session);
        voice.auth().await.ok();
        assert_eq!(cleo.get(&path).await.ok(), json!({ "jobs": [], "updatedAt": null }));

        let mut other = job("b");
        other["lastRunAt"] = json!("2026-05-07T14:00:00+02:00");
        other["lastRunState"] = json!("failed");
        let rows = puts(&voice, json!({ "jobs": [job("z"), other.clone()] })).await.ok();
        let mut expected = [job("z"), other];
        expected[1]["lastRunAt"] = json!("2026-05-07T12:00:00.000Z");
        for row in &mut expected {
            row["executions"] = json!([]);
        }
        assert_eq!(rows, json!({ "jobs": expected }));
        let seen = cleo.get(&path).await.ok();
        assert_eq!(seen["jobs"], rows["jobs"]);
        assert!(seen["updatedAt"].is_string());
        platform.person("Eve").await.get(&path).await.problem(404, "not_found");

        // Silence deletes nothing; another list does, and so does an empty one.
        platform.clock.advance(Duration::from_hours(2));
        work::tidy(&platform.host).await.expect("it tidies up");
        assert_eq!(sees(&cleo, &session).await, ["z", "b"]);
        puts(&voice, json!({ "jobs": [job("c")] })).await.ok();
        assert_eq!(sees(&cleo, &session).await, ["c"]);
        puts(&voice, json!({ "jobs": [] })).await.ok();
        assert!(sees(&cleo, &session).await.is_empty());

        // The client reads the last one when all is over; the agent's token is dead.
        puts(&voice, json!({ "jobs": [job("last")] })).await.ok();
        cleo.ends(&session).await;
        puts(&voice, json!({ "jobs": [] })).await.problem(401, "unauthenticated");
        assert_eq!(sees(&cleo, &session).await, ["last"]);
    }

    async fn a_schedule_that_is_none_is_refused_and_changes_nothing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Clock", NOBODY, "none").await;
        let session = cleo.post("/sessions", json!({ "agentId": agent })).await.created().id();
        let voice = Voice::of(&platform, &session);
        let all: Vec<_> = (0..100).map(|n| job(&n.to_string())).collect();
        puts(&voice, json!({ "jobs": all })).await.ok();

        let with = |field: &str, value: Value| {
            let mut job = job("x");
            job[field] = value;
            json!({ "jobs": [self::job("first"), job] })
        };
        let many: Vec<_> = (0..101).map(|n| job(&n.to_string())).collect();
        let mut short = job("x");
        short.as_object_mut().expect("an object").remove("prompt");
        let refused = [
            (json!({ "jobs": many }), "/jobs"),
            (json!({ "jobs": [job("a"), job("b"), job("a")] }), "/jobs/2/id"),
            (json!({}), "/jobs"),
            (json!({ "jobs": null }), "/jobs"),
            (json!({ "jobs": {} }), "/jobs"),
            (json!({ "jobs": [], "more": 1 }), "/more"),
            (json!({ "jobs": [7] }), "/jobs/0"),
            (json!({ "jobs": [short] }), "/jobs/0/prompt"),
            (with("id", json!("")), "/jobs/1/id"),
            (with("id", json!(7)), "/jobs/1/id"),
            (with("id", json!("x".repeat(501))), "/jobs/1/id"),
            (with("title", json!(null)), "/jobs/1/title"),
            (with("title", json!("x".repeat(501))), "/jobs/1/title"),
            (with("title", json!("a\0b")), "/jobs/1/title"),
            (with("description", json!("x".repeat((64 << 10) + 1))), "/jobs/1/description"),
            (with("prompt", json!("a\0b")), "/jobs/1/prompt"),
            (with("schedule", json!("* * * *")), "/jobs/1/schedule"),
            (with("schedule", json!("* * * * * *")), "/jobs/1/schedule"),
            (with("schedule", json!("now")), "/jobs/1/schedule"),
            (with("nextRunAt", json!("tomorrow")), "/jobs/1/nextRunAt"),
            (with("lastRunAt", json!(1_700_000_000)), "/jobs/1/lastRunAt"),
            (with("lastRunState", json!("done")), "/jobs/1/lastRunState"),
            (with("executions", json!([])), "/jobs/1/executions"),
        ];
        for (body, pointer) in refused {
            let shown: String = body.to_string().chars().take(80).collect();
            let problem = puts(&voice, body).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{shown}");
        }
        assert_eq!(sees(&cleo, &session).await.len(), 100);
    }
}
