//! What makes no sense is refused with the reason and the field, and nothing of it
//! is ever in force.

use super::{limits_of, recorded};
use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, json, people::send, program},
};
use aiybiz_host::{clock::Clock, config::Config, host::Host};
use reqwest::Method;

/// A body, the field it must be refused for, and a part of the reason.
fn senseless() -> Vec<(Value, &'static str, &'static str)> {
    let sites = |site: &str| json!({ "httpAllow": ["https://a.example", site] });
    vec![
        (json!({ "memoryBytes": 1_u64 << 31 }), "/memoryBytes", "the pool's slot"),
        (json!({ "memoryBytes": 4_096 }), "/memoryBytes", "at least 65536"),
        (json!({ "tableElements": 200_001 }), "/tableElements", "the pool's slot"),
        (json!({ "cpuMillis": 0 }), "/cpuMillis", "at least 1"),
        (json!({ "cpuMillis": 30_001 }), "/cpuMillis", "is above wallMillis (30000)"),
        (json!({ "wallMillis": 1_999 }), "/wallMillis", "cpuMillis (2000) is above"),
        (json!({ "cpuMillis": 200, "wallMillis": 100 }), "/cpuMillis", "is above wallMillis (100)"),
        (json!({ "cpuMillis": 900_001, "wallMillis": 900_001 }), "/cpuMillis", "at most 900000"),
        (json!({ "concurrentEvents": 129 }), "/concurrentEvents", "concurrentEventsTotal (128)"),
        (json!({ "concurrentEvents": 0 }), "/concurrentEvents", "at least 1"),
        (json!({ "warmInstances": 513 }), "/warmInstances", "the pool's instances"),
        (json!({ "hostCallBytes": 1_000 }), "/hostCallBytes", "at least"),
        (json!({ "handles": 0 }), "/handles", "at least"),
        (json!({ "compileMemoryBytes": 1 << 20 }), "/compileMemoryBytes", "at least"),
        (json!({ "replies": -1 }), "/replies", "expected u64"),
        (json!({ "replies": 1.5 }), "/replies", "expected u64"),
        (json!({ "replies": 1e300 }), "/replies", "expected u64"),
        (json!({ "replies": "10" }), "/replies", "expected u64"),
        (json!({ "replies": [10] }), "/replies", "expected u64"),
        (json!({ "replies": true }), "/replies", "expected u64"),
        (json!({ "patience": 10 }), "/patience", "no such limit"),
        (json!({ "patience": null }), "/patience", "no such limit"),
        (json!({ "a/b~c": 1 }), "/a~1b~0c", "no such limit"),
        (json!({ "memory_bytes": 1 << 20 }), "/memory_bytes", "no such limit"),
        (json!({ "effective": {} }), "/effective", "no such limit"),
        (json!({ "logBytes": 1, "replies": {} }), "/replies", "expected u64"),
        (json!({ "httpAllow": "https://a.example" }), "/httpAllow", "expected a sequence"),
        (json!({ "httpAllow": [1] }), "/httpAllow/0", "expected a string"),
        (json!({ "httpAllow": vec!["https://a.example"; 101] }), "/httpAllow", "at most 100"),
        (sites("ftp://a.example"), "/httpAllow/1", "ftp://a.example"),
        (sites("https://10.0.0.1"), "/httpAllow/1", "10.0.0.1"),
        (sites("https://a.example/path"), "/httpAllow/1", "/path"),
        (sites("https://me:you@a.example"), "/httpAllow/1", "me:you"),
        (sites("everywhere"), "/httpAllow/1", "everywhere"),
        (json!([]), "", "must be an object"),
        (json!("cpuMillis"), "", "expected an object"),
        (json!(null), "", "expected an object"),
    ]
}

/// Tries them all; nothing may change.
async fn refused(operator: &Person, path: &str) {
    let before = operator.get(path).await.ok();
    for (body, pointer, why) in senseless() {
        let refused = operator.put(path, body.clone()).await.problem(400, "invalid_field");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains(why), "{body}: {detail}");
    }
    // Every number has an upper bound.
    for (limit, value) in before["effective"].as_object().expect("an object") {
        let most = json!({ limit: u64::MAX });
        if value.is_number() {
            let refused = operator.put(path, most).await.problem(400, "invalid_field");
            assert_eq!(refused["errors"][0]["pointer"], format!("/{limit}"), "{refused}");
        }
    }
    let twice = operator.request(Method::PUT, path).header("content-type", "application/json");
    let twice =
        send(twice.body(r#"{"replies":1,"replies":2}"#)).await.problem(400, "invalid_field");
    assert_eq!(twice["errors"][0]["pointer"], "/replies");
    assert_eq!(operator.get(path).await.ok(), before);
}

both_engines! {
    async fn limits_that_make_no_sense_are_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let agent = limits_of(&bea.component_agent("Echo").await);
        refused(&opal, "/admin/limits").await;
        refused(&opal, &agent).await;
        // Null is as good as not said; a number is not.
        opal.put(&agent, json!({ "concurrentEventsTotal": null })).await.ok();
        let total = opal.put(&agent, json!({ "concurrentEventsTotal": 10 })).await;
        let total = total.problem(400, "invalid_field");
        assert_eq!(total["errors"][0]["pointer"], "/concurrentEventsTotal");
        assert!(total["detail"].as_str().is_some_and(|why| why.contains("PUT /admin/limits")));
        assert_eq!(recorded(&opal, "").await, []);
    }

    async fn a_change_must_go_with_what_single_agents_have(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let agent = bea.component_agent("Quick").await;
        opal.put(&limits_of(&agent), json!({ "wallMillis": 3_000 })).await.ok();
        let raised = json!({ "cpuMillis": 4_000 });
        let refused = opal.put("/admin/limits", raised.clone()).await;
        let refused = refused.problem(409, "agent_limits_conflict");
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains(&agent) && detail.contains("cpuMillis (4000) is above wallMillis (3000)"), "{detail}");
        assert_eq!(refused["errors"][0]["pointer"], "/cpuMillis");
        assert_eq!(opal.get("/admin/limits").await.ok()["effective"]["cpuMillis"], 2_000);
        opal.put(&limits_of(&agent), json!({ "cpuMillis": 3_000 })).await.ok();
        opal.put("/admin/limits", raised.clone()).await.ok();
        // Nor can the agent's own be taken away beneath the rest of it.
        let refused = opal.put(&limits_of(&agent), json!({ "cpuMillis": null })).await;
        assert_eq!(refused.problem(400, "invalid_field")["errors"][0]["pointer"], "/cpuMillis");
        opal.put(&limits_of(&agent), json!({ "cpuMillis": null, "wallMillis": null })).await.ok();
    }

    async fn two_operators_at_once_cannot_make_nonsense_together(engine: Engine) {
        let platform = Platform::start(engine).await;
        let other = platform.beside().await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let otto = opal.at(&other.url);
        let limits = limits_of(&bea.component_agent("Quick").await);
        for _ in 0..10 {
            let (whole, own) = tokio::join!(
                opal.put("/admin/limits", json!({ "cpuMillis": 5_000 })),
                otto.put(&limits, json!({ "wallMillis": 4_000 })),
            );
            match whole.status {
                200 => own.problem(400, "invalid_field"),
                _ => whole.problem(409, "agent_limits_conflict"),
            };
            opal.get(&limits).await.ok();
            opal.put(&limits, json!({ "wallMillis": null })).await.ok();
            opal.put("/admin/limits", json!({ "cpuMillis": null })).await.ok();
        }
    }

    async fn a_process_with_other_settings_does_not_begin_with_nonsense(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let agent = bea.component_agent("Large").await;
        opal.put(&limits_of(&agent), json!({ "memoryBytes": 512 << 20 })).await.ok();
        let start = async |pool: u64| {
            let folder = tempfile::tempdir().expect("a folder");
            let mut config = Config::clone(&platform.host.config);
            config.pool.memory_bytes = pool;
            config.data_dir = folder.path().to_owned();
            Host::open(config, Clock::default(), program()).await.map(drop)
        };
        let refused = start(256 << 20).await.expect_err("it makes no sense").to_string();
        assert!(refused.contains(&agent) && refused.contains("memoryBytes"), "{refused}");
        start(512 << 20).await.expect("it makes sense");
    }
}
