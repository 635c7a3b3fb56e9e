//! A company takes its data with it, and closes: what it had stored is gone, what was paid
//! stays, and nobody of it is known any more.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Value, guests, json,
        people::{Answer, Id, PASSWORD, send},
    },
    people::{colleague, mailing},
};
use reqwest::Method;
use std::{collections::BTreeMap, time::Duration};

/// The export, line by line.
async fn exported(admin: &Person) -> Vec<Value> {
    let answer = admin.get("/company/export").await.having(200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn counted(lines: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line["object"].as_str().expect("what it is")).or_default() += 1;
    }
    counts
}

async fn closes(admin: &Person) -> Answer {
    closes_with(admin, PASSWORD).await
}

async fn closes_with(admin: &Person, password: &str) -> Answer {
    let body = json!({ "password": password });
    send(admin.request(Method::DELETE, "/company").json(&body)).await
}

/// What is in the wallet goes back to where it came from.
async fn is_paid_back(operator: &Person, admin: &Person) {
    let company = admin.get("/company").await.ok().id();
    let left = admin.get("/wallet").await.ok()["availableCents"].clone();
    let path = format!("/admin/companies/{company}/refunds");
    operator.asks_once(&path, json!({ "amountCents": left })).await.created();
    for _ in 0..500 {
        let data = operator.get(&path).await.ok()["data"].clone();
        if data.as_array().expect("a list").iter().all(|refund| refund["status"] == "done") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the refund is not done");
}

async fn is_emptied(operator: &Person, company: &str) -> Value {
    for _ in 0..1_000 {
        let shown = operator.get(&format!("/admin/companies/{company}")).await.ok();
        if !shown["emptiedAt"].is_null() {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not emptied");
}

both_engines! {
    async fn all_that_a_company_has_is_in_its_export(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let (first, mut events) = max.starts(&agent).await;
        let said = max.says(&first, "the password is swordfish").await;
        events.until("message").await;
        let secret = json!({ "type": "secret", "name": "token", "content": "s3cr3t-value" });
        max.post(&format!("/sessions/{first}/shared-items"), secret).await.created();
        for n in 0..250 {
            let name = format!("Folder {n}");
            cleo.post("/files/folders", json!({ "name": name })).await.created();
        }
        let (second, _) = cleo.starts(&agent).await;
        cleo.ends(&second).await;

        max.get("/company/export").await.problem(403, "not_an_admin");
        let lines = exported(&cleo).await;
        let counts = counted(&lines);
        assert_eq!(lines[0]["object"], "company");
        assert_eq!(lines[lines.len() - 1], json!({ "object": "end" }));
        assert_eq!(counts["member"], 2);
        assert_eq!(counts["invitation"], 1);
        assert_eq!(counts["session"], 2);
        assert_eq!(counts["shared_item"], 1);
        assert_eq!(counts["file"], 250);
        assert!(counts["transaction"] >= 1 && counts["event"] >= 4, "{counts:?}");
        assert!(lines.iter().any(|line| line["id"] == said["id"] && line["content"] == said["content"]));
        let text = lines.iter().map(Value::to_string).collect::<String>();
        assert!(!text.contains("s3cr3t-value"), "a secret is not told");
        // Another company's has none of it.
        let stranger = platform.person("Stranger").await;
        let others = exported(&stranger).await;
        let text = others.iter().map(Value::to_string).collect::<String>();
        for id in [&first, &second, &cleo.get("/company").await.ok().id()] {
            assert!(!text.contains(id.as_str()));
        }
    }

    async fn a_company_closes_when_nothing_is_owed(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let bea = platform.builder("Bea").await;
        let operator = platform.operator("Olga").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let company = cleo.get("/company").await.ok().id();

        closes_with(&cleo, "not mine at all").await.problem(403, "wrong_password");
        closes(&max).await.problem(403, "not_an_admin");
        let key = json!({ "name": "ci", "scopes": ["company:write"] });
        let key = cleo.post("/api-keys", key).await.created();
        let mut program = cleo.clone();
        program.token = key["key"].as_str().expect("a key").to_owned();
        closes(&program).await.problem(403, "not_with_a_key");

        let (session, mut events) = max.starts(&agent).await;
        closes(&cleo).await.problem(409, "sessions_running");
        max.says(&session, "remember me").await;
        events.until("message").await;
        max.ends(&session).await;
        closes(&cleo).await.problem(409, "wallet_not_empty");
        is_paid_back(&operator, &cleo).await;
        let plan = json!({ "name": "Team", "interval": "month", "pricePerSeatCents": 100,
                           "maxActiveSessions": 1 });
        let plan = operator.post("/admin/plans", plan).await.created().id();
        let seats = json!({ "planId": plan, "quantity": 1 });
        cleo.asks_once("/stripe/subscriptions/create", seats).await.created();
        closes(&cleo).await.problem(409, "subscription_exists");
        // Everything is as it was.
        assert_eq!(cleo.get("/company").await.ok().id(), company);
        assert_eq!(max.get("/company/members").await.ok()["data"].as_array().map(Vec::len), Some(2));
    }

    async fn what_a_closed_company_had_is_gone_and_the_ledger_whole(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let mut bea = platform.builder("Bea").await;
        let operator = platform.operator("Olga").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let max = colleague(&platform, &mut smtp, &cleo, "Max").await;
        let company = cleo.get("/company").await.ok().id();
        let (session, mut events) = max.starts(&agent).await;
        max.says(&session, "our secret plan").await;
        events.until("message").await;
        let folder = platform.folder(&cleo, None, "Plans").await;
        platform.file(&cleo, Some(folder), "plan.txt", "the plan").await;
        let old = platform.file(&cleo, None, "old.txt", "an old plan").await;
        cleo.delete(&format!("/files/{old}")).await.with(204);
        assert_eq!(platform.objects_of(&cleo).await, 2);
        let begun = json!({ "name": "half.txt", "parentId": folder });
        cleo.post("/files/upload-url", begun).await.ok();
        max.ends(&session).await;
        is_paid_back(&operator, &cleo).await;
        let invoices = cleo.get("/invoices").await.ok();
        let stream = cleo.listens(&session, Some(0)).await;
        drop(stream);

        // Asked for by several at once, it is closed once.
        let tries = futures::future::join_all((0..4).map(|_| closes(&cleo))).await;
        assert!(tries.iter().all(|answer| [204, 401].contains(&answer.status)));
        assert!(tries.iter().any(|answer| answer.status == 204));
        let record = operator.get("/admin/audit?action=company.closed").await.ok();
        assert_eq!(record["data"].as_array().map(Vec::len), Some(1));
        for person in [&cleo, &max] {
            person.get("/me").await.problem(401, "unauthenticated");
            let again = json!({ "email": person.email, "password": PASSWORD });
            Person::nobody(&platform.url).post("/auth/login", again).await
                .problem(401, "unauthenticated");
        }
        let shown = is_emptied(&operator, &company).await;
        assert_eq!(shown["wallet"]["balanceCents"], 0);
        assert_eq!(platform.objects_in(&company).await, 0, "no bytes are left");
        // Its builder sees that there was a session, and nothing of what was said.
        let rentals = bea.get("/builder/sessions").await.ok();
        assert_eq!(rentals["data"][0]["id"], session.as_str());
        for list in ["invocations", "logs"] {
            let path = format!("/builder/agents/{agent}/{list}?sessionId={session}");
            assert_eq!(bea.get(&path).await.ok()["data"], json!([]), "{list}");
        }
        let direct = format!("/builder/sessions/{session}/direct-messages");
        assert_eq!(bea.get(&direct).await.ok()["data"], json!([]));
        // Nobody finds them, and their addresses are free.
        for person in [&cleo, &max] {
            let found = operator.get(&format!("/admin/users?q={}", person.email)).await.ok();
            assert_eq!(found["data"], json!([]));
        }
        let again = json!({ "email": cleo.email, "password": PASSWORD, "name": "Cleo" });
        Person::nobody(&platform.url).post("/auth/signup", again).await.created();
        // What was paid is in the books.
        let ledger = operator.get("/admin/ledger/check").await.ok();
        assert_eq!(ledger["ok"], true, "{ledger}");
        let earned = bea.get("/builder/earnings").await.ok();
        let paid = invoices["data"][0]["builderPayoutCents"].clone();
        assert_eq!(earned["netCents"], paid);
        bea.signs_in().await;
    }

    async fn who_builds_agents_keeps_his_account(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let cleo = platform.person("Cleo").await;
        let operator = platform.operator("Olga").await;
        let mut bea = colleague(&platform, &mut smtp, &cleo, "Bea").await;
        bea.becomes_builder("Bea's").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        is_paid_back(&operator, &cleo).await;
        let company = cleo.get("/company").await.ok().id();
        closes(&cleo).await.with(204);
        bea.get("/me").await.problem(401, "unauthenticated");
        bea.signs_in().await;
        let me = bea.get("/me").await.ok();
        assert_ne!(me["company"]["id"], company.as_str());
        assert_eq!(me["role"], "admin");
        assert_eq!(bea.get(&format!("/builder/agents/{agent}")).await.ok()["status"], "active");
    }
}
