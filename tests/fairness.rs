//! Who computes for long shares what there is with others, agent by agent.

use crate::harness::{Engine, Person, Platform, guests, json};
use std::time::Duration;

/// Sessions of the agent that computes in many of them at once.
const MANY: usize = 8;

/// What each of its events may compute, in milliseconds; the one of the other agent, more
/// than that.
const EACH: u64 = 250;
const ONE: u64 = 400;

/// Were events equals, the one that may compute longest would be the last to end. But
/// agents are equals: it has half of what there is, and is the first.
#[test]
fn one_event_of_an_agent_does_not_wait_for_many_of_another() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let opal = platform.operator("Opal").await;
        let busy = looping(&bea, &opal, "Busy", EACH).await;
        let patient = looping(&bea, &opal, "Patient", ONE).await;
        let mut sessions = Vec::new();
        for _ in 0..MANY {
            sessions.push(cleo.starts(&busy).await.0);
        }
        let (one, _events) = cleo.starts(&patient).await;
        bea.receipts(&patient, &one, 1).await;
        for session in &sessions {
            bea.receipts(&busy, session, 1).await;
        }
        // The many are there first.
        let many = sessions.iter().map(|session| cleo.says(session, "go"));
        futures::future::join_all(many).await;
        cleo.says(&one, "go").await;

        let ended = bea.receipts(&patient, &one, 2).await.remove(1);
        assert_eq!(ended["outcome"], "cpu", "{ended}");
        let over = bea.get(&format!("/builder/agents/{busy}/invocations?outcome=cpu")).await.ok();
        let over = over["data"].as_array().expect("a list").len();
        assert!(over < MANY / 2, "{over} of {MANY} had all their time before the one had its own");
        for session in &sessions {
            bea.receipts(&busy, session, 2).await;
        }
    });
}

/// An agent whose events never end by themselves.
async fn looping(bea: &Person, opal: &Person, name: &str, cpu_millis: u64) -> String {
    let agent = bea.publish(name, guests::on_message("(loop $l (br $l))")).await;
    let wall = Duration::from_mins(1).as_millis() as u64;
    let limits = json!({ "cpuMillis": cpu_millis, "wallMillis": wall });
    opal.put(&format!("/admin/agents/{agent}/limits"), limits).await.ok();
    agent
}
