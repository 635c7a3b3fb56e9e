//! What operators decide: who may, what makes sense, when it is in force, and the
//! record of it.

mod senseless;

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, json},
};

/// No agent has this name.
const UNKNOWN: &str = "/admin/agents/01890000-0000-7000-8000-000000000000/limits";

fn limits_of(agent: &str) -> String {
    format!("/admin/agents/{agent}/limits")
}

/// What the record has of this action, newest first, each as target, before, after.
async fn recorded(operator: &Person, filter: &str) -> Vec<(Value, Value, Value)> {
    let found = operator.get(&format!("/admin/audit?action=limits.set{filter}")).await.ok();
    let data = found["data"].as_array().expect("a list").iter();
    data.map(|row| (row["target"].clone(), row["before"].clone(), row["after"].clone())).collect()
}

both_engines! {
    async fn limits_are_for_operators(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, bea) = (platform.person("Cleo").await, platform.builder("Bea").await);
        let limits = limits_of(&bea.component_agent("Echo").await);
        let change = || json!({ "cpuMillis": 100 });
        for path in ["/admin/audit", "/admin/limits", &limits, UNKNOWN] {
            for person in [&cleo, &bea] {
                person.get(path).await.problem(403, "not_an_operator");
                if path != "/admin/audit" {
                    person.put(path, change()).await.problem(403, "not_an_operator");
                }
            }
            Person::nobody(&platform.url).get(path).await.problem(401, "unauthenticated");
        }
        Person::nobody(&platform.url).put(&limits, change()).await.problem(401, "unauthenticated");

        let opal = platform.operator("Opal").await;
        assert_eq!(opal.get("/admin/limits").await.ok()["effective"]["cpuMillis"], 2_000);
        opal.get(UNKNOWN).await.problem(404, "not_found");
        opal.put(UNKNOWN, change()).await.problem(404, "not_found");
        opal.put("/admin/agents/nobody/limits", change()).await.problem(404, "not_found");
        assert_eq!(recorded(&opal, "").await, []);
    }

    async fn what_is_not_set_is_inherited(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let agent = bea.component_agent("Echo").await;
        let limits = limits_of(&agent);
        let fresh = opal.get(&limits).await.ok();
        assert_eq!(fresh["effective"], opal.get("/admin/limits").await.ok()["effective"]);
        assert_eq!((&fresh["from"]["cpuMillis"], &fresh["cpuMillis"]), (&json!("default"), &json!(null)));

        let own = opal.put(&limits, json!({ "cpuMillis": 500, "httpAllow": ["https://a.example"] }));
        let own = own.await.ok();
        assert_eq!((&own["effective"]["cpuMillis"], &own["from"]["cpuMillis"]), (&json!(500), &json!("agent")));
        assert_eq!((&own["effective"]["httpAllow"], &own["from"]["httpAllow"]), (&json!(["https://a.example"]), &json!("agent")));
        assert_eq!((&own["effective"]["replies"], &own["from"]["replies"]), (&json!(1_000), &json!("default")));
        // The platform's change shows through where the agent has nothing of its own.
        opal.put("/admin/limits", json!({ "cpuMillis": 900, "replies": 7 })).await.ok();
        let own = opal.get(&limits).await.ok();
        assert_eq!((&own["effective"]["cpuMillis"], &own["effective"]["replies"]), (&json!(500), &json!(7)));
        // Only what is given changes; null gives it back.
        let own = opal.put(&limits, json!({ "cpuMillis": null, "logBytes": 0 })).await.ok();
        assert_eq!((&own["effective"]["cpuMillis"], &own["from"]["cpuMillis"]), (&json!(900), &json!("default")));
        assert_eq!((&own["logBytes"], &own["httpAllow"]), (&json!(0), &json!(["https://a.example"])));
        let whole = opal.put("/admin/limits", json!({ "cpuMillis": null })).await.ok();
        assert_eq!((&whole["effective"]["cpuMillis"], &whole["effective"]["replies"]), (&json!(2_000), &json!(7)));
        assert_eq!(opal.get("/admin/limits").await.ok(), whole);

        // What changed nothing is no decision.
        opal.put(&limits, json!({})).await.ok();
        opal.put(&limits, json!({ "logBytes": 0, "cpuMillis": null })).await.ok();
        let target = json!(format!("agent/{agent}"));
        let https = json!(["https://a.example"]);
        assert_eq!(recorded(&opal, "").await, [
            (json!("platform"), json!({ "cpuMillis": 900 }), json!({ "cpuMillis": null })),
            (target.clone(), json!({ "cpuMillis": 500, "logBytes": null }), json!({ "cpuMillis": null, "logBytes": 0 })),
            (json!("platform"), json!({ "cpuMillis": null, "replies": null }), json!({ "cpuMillis": 900, "replies": 7 })),
            (target.clone(), json!({ "cpuMillis": null, "httpAllow": null }), json!({ "cpuMillis": 500, "httpAllow": https })),
        ]);
        assert_eq!(recorded(&opal, "&target=platform").await.len(), 2);
        assert_eq!(opal.get("/admin/audit?action=limits.cleared").await.ok()["data"], json!([]));
        let page = opal.get("/admin/audit?limit=3").await.ok();
        let path = format!("/admin/audit?cursor={}", page["nextCursor"].as_str().expect("a cursor"));
        // One more of the limits, and that she became an operator.
        assert_eq!(opal.get(&path).await.ok()["data"].as_array().map(Vec::len), Some(2));
        let me = opal.get("/me").await.ok();
        assert_eq!(page["data"][0]["actorId"], me["user"]["id"]);
        assert!(page["data"][0]["createdAt"].is_string());
        opal.get("/admin/audit?cursor=x").await.problem(400, "invalid_field");

        // An agent that goes takes its limits with it.
        bea.delete(&format!("/builder/agents/{agent}")).await.with(204);
        opal.get(&limits).await.problem(404, "not_found");
    }

    async fn events_that_run_end_under_the_old_limits_and_the_next_begin_under_the_new(engine: Engine) {
        let platform = Platform::start(engine).await;
        // Operators may be served by another process than clients.
        let other = platform.beside().await;
        let opal = platform.operator("Opal").await.at(&other.url);
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let says = "(call $say (local.get $text) (local.get $textn))";
        let slow = guests::on_message(&format!("{says} (call $sleep (i64.const 1500000000)) {says}"));
        let agent = bea.publish("Slow", slow).await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "first").await;
        assert_eq!(events.reply().await, "first");
        let lowered = json!({ "wallMillis": 400, "cpuMillis": 300 });
        opal.put(&limits_of(&agent), lowered.clone()).await.ok();
        assert_eq!(events.reply().await, "first");

        let said = cleo.says(&session, "second").await;
        let failed = events.until("message_failed").await;
        assert_eq!((&failed["code"], &failed["messageId"]), (&json!("wall"), &said["id"]));
        opal.put(&limits_of(&agent), json!({ "wallMillis": null, "cpuMillis": null })).await.ok();
        cleo.says(&session, "third").await;
        let heard = [events.reply().await, events.reply().await];
        assert_eq!(heard, ["third", "third"]);
        // And for the platform as a whole.
        opal.put("/admin/limits", lowered.clone()).await.ok();
        cleo.says(&session, "fourth").await;
        assert_eq!(events.until("message_failed").await["code"], "wall");

        let receipts = bea.receipts(&agent, &session, 5).await;
        let outcomes: Vec<_> = receipts.iter().map(|receipt| &receipt["outcome"]).collect();
        assert_eq!(outcomes, ["ok", "ok", "wall", "ok", "wall"]);
        let explanation = receipts[2]["explanation"].as_str().expect("a sentence");
        assert!(explanation.contains("wallMillis (400)"), "{explanation}");

        let row = opal.get(&format!("/admin/audit?target=agent/{agent}")).await.ok()["data"][1].clone();
        assert_eq!(row["actorId"], opal.get("/me").await.ok()["user"]["id"]);
        assert_eq!((&row["before"], &row["after"]), (&json!({ "wallMillis": null, "cpuMillis": null }), &lowered));
        // Decided while the first event ran, as its receipt shows.
        let (decided, ended) = (row["createdAt"].as_str(), receipts[1]["createdAt"].as_str());
        assert!(decided.expect("a time") < ended.expect("a time"), "{row} {}", receipts[1]);
    }

    async fn uploads_are_judged_by_their_agents_limits(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (opal, bea) = (platform.operator("Opal").await, platform.builder("Bea").await);
        let (one, two) = (bea.component_agent("One").await, bea.component_agent("Two").await);
        opal.put("/admin/limits", json!({ "componentBytes": 1_000 })).await.ok();
        opal.put(&limits_of(&two), json!({ "componentBytes": 1 << 20, "compileMillis": 1 })).await.ok();
        let refused = bea.upload(&one, guests::ECHO).await.problem(413, "component_too_large");
        assert!(refused["detail"].as_str().is_some_and(|why| why.contains("componentBytes (1000)")), "{refused}");
        let refused = bea.upload(&two, guests::ECHO).await.problem(422, "component_refused");
        assert!(refused["detail"].as_str().is_some_and(|why| why.contains("compileMillis (1)")), "{refused}");
        opal.put(&limits_of(&two), json!({ "compileMillis": null })).await.ok();
        bea.upload(&two, guests::ECHO).await.created();
        bea.upload(&one, guests::ECHO).await.problem(413, "component_too_large");
    }
}
