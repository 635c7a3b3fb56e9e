//! What operators run a platform with: readiness, metrics, suspending, and whom browsers
//! let call it.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, guests, json,
        people::{Id, send},
        run,
    },
};
use reqwest::Method;

both_engines! {
    async fn metrics_say_what_happens(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let olga = platform.operator("Olga").await;
        let (session, mut events) = cleo.starts(&agent).await;
        cleo.says(&session, "hello").await;
        events.until("message").await;
        cleo.get("/sessions/nonsense").await.problem(404, "not_found");
        cleo.get("/nowhere/at/all").await.problem(404, "not_found");
        cleo.get("/metrics").await.problem(403, "not_an_operator");
        Person::nobody(&platform.url).get("/metrics").await.problem(401, "unauthenticated");
        bea.receipts(&agent, &session, 2).await;
        let answer = olga.get("/metrics").await.having(200);
        let kind = answer.headers["content-type"].to_str().expect("text");
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        let text = answer.text;
        for line in [
            "aiybiz_events_total{delivery=\"component\",outcome=\"delivered\"} 2",
            "aiybiz_sessions_running 1",
            "aiybiz_events_waiting 0",
            "aiybiz_streams_open 1",
            "aiybiz_http_requests_total{method=\"GET\",route=\"/sessions/{session}\",status=\"404\"} 1",
            "aiybiz_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
            "aiybiz_http_requests_total{method=\"POST\",route=\"/sessions/{session}/messages\",status=\"201\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert!(text.trim_end().ends_with("# EOF"));
        let postings = text.lines().find_map(|l| l.strip_prefix("aiybiz_postings_last_minute "));
        let postings: u32 = postings.expect("a line").parse().expect("a number");
        assert!(postings >= 4, "top-ups and a hold: {postings}");
        // What callers make up makes no new series.
        assert!(!text.contains("nonsense") && !text.contains("nowhere"));
        drop(events);
    }

    async fn operators_look_through_all_sessions(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let (echo, other) =
            (bea.publish("Echo", guests::ECHO).await, bea.publish("Other", guests::ECHO).await);
        let (ada, cleo) = (platform.person("Ada").await, platform.person("Cleo").await);
        let olga = platform.operator("Olga").await;
        let first = ada.starts(&echo).await.0;
        let second = ada.starts(&other).await.0;
        let third = cleo.starts(&echo).await.0;
        ada.ends(&first).await;
        let company = ada.get("/company").await.ok()["id"].as_str().expect("an id").to_owned();
        let found = async |query: &str| {
            let list = olga.get(&format!("/admin/sessions?{query}")).await.ok();
            let data = list["data"].as_array().expect("a list").clone();
            data.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("").await, [third.as_str(), &second, &first]);
        assert_eq!(found(&format!("companyId={company}")).await, [second.as_str(), &first]);
        assert_eq!(found(&format!("agentId={echo}")).await, [third.as_str(), &first]);
        assert_eq!(found("status=completed").await, [first.as_str()]);
        assert_eq!(found("status=active").await, [third.as_str(), &second]);
        let both = format!("companyId={company}&agentId={echo}&status=completed");
        assert_eq!(found(&both).await, [first.as_str()]);
        let page = olga.get("/admin/sessions?limit=2").await.ok();
        let cursor = page["nextCursor"].as_str().expect("more");
        assert_eq!(found(&format!("limit=2&cursor={cursor}")).await, [first.as_str()]);
        assert_eq!(page["data"][1]["companyId"], company.as_str());
        olga.get("/admin/sessions?status=over").await.problem(400, "invalid_field");
        olga.get("/admin/sessions?agentId=x").await.problem(400, "invalid_field");
        bea.get("/admin/sessions").await.problem(403, "not_an_operator");
    }

    async fn a_suspended_agent_is_nowhere_and_its_sessions_end(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let olga = platform.operator("Olga").await;
        let (_, mut events) = cleo.starts(&agent).await;
        let path = format!("/admin/agents/{agent}");
        cleo.post(&format!("{path}/suspend"), json!({})).await.problem(403, "not_an_operator");
        let suspended = olga.post(&format!("{path}/suspend"), json!({})).await.ok();
        assert!(suspended["suspendedAt"].is_string());
        assert_eq!(olga.post(&format!("{path}/suspend"), json!({})).await.ok(), suspended);
        let ended = events.until("session_ended").await;
        assert_eq!(ended["reason"], "operator");
        cleo.get(&format!("/agents/{agent}")).await.problem(404, "not_found");
        assert_eq!(cleo.get("/agents").await.ok()["data"], json!([]));
        let open = json!({ "agentId": agent });
        cleo.post("/sessions", open.clone()).await.problem(404, "not_found");
        bea.post("/sessions", open.clone()).await.problem(409, "agent_suspended");
        assert!(bea.get(&format!("/builder/agents/{agent}")).await.ok()["suspendedAt"].is_string());
        // Publishing once more is no way around it.
        bea.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
        cleo.post("/sessions", open).await.problem(404, "not_found");

        olga.post(&format!("{path}/resume"), json!({})).await.ok();
        cleo.starts(&agent).await;
        let audit = olga.get(&format!("/admin/audit?target=agent/{agent}")).await.ok();
        let actions: Vec<_> = audit["data"].as_array().expect("a list").iter()
            .map(|row| row["action"].as_str().expect("text")).collect();
        assert_eq!(actions, ["agent.resumed", "agent.suspended"]);
        let listed = olga.get("/admin/agents?q=ech").await.ok();
        assert_eq!(listed["data"][0].id(), agent);
        assert_eq!(olga.get("/admin/agents?q=e_h").await.ok()["data"], json!([]));
    }

    async fn a_suspended_company_looks_and_changes_nothing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let olga = platform.operator("Olga").await;
        let found = olga.get(&format!("/admin/companies?q={}", cleo.email)).await.ok();
        let company = &found["data"][0];
        assert_eq!((&company["name"], &company["members"]), (&json!("Cleo"), &json!(1)));
        let (session, mut events) = cleo.starts(&agent).await;
        let path = format!("/admin/companies/{}", company.id());
        let shown = olga.get(&path).await.ok();
        assert_eq!(shown["wallet"]["heldCents"], 1000);
        assert_eq!(shown["runningSessions"], 1);
        olga.post(&format!("{path}/suspend"), json!({})).await.ok();
        events.until("session_ended").await;
        cleo.get("/wallet").await.ok();
        cleo.get(&format!("/sessions/{session}/messages")).await.ok();
        for answer in [
            cleo.post("/sessions", json!({ "agentId": agent })).await,
            cleo.post("/files/folders", json!({ "name": "f" })).await,
            cleo.asks_once("/stripe/wallet/topup", json!({ "amountCents": 1000 })).await,
            cleo.patch("/company", json!({ "name": "x" })).await,
        ] {
            answer.problem(403, "company_suspended");
        }
        cleo.post("/auth/logout", json!({})).await.with(204);
        let mut cleo = cleo;
        cleo.signs_in().await;
        olga.post(&format!("{path}/resume"), json!({})).await.ok();
        cleo.starts(&agent).await;
        olga.get("/admin/companies/nonsense").await.problem(404, "not_found");
        let users = olga.get(&format!("/admin/users?q={}", cleo.email)).await.ok();
        assert_eq!(users["data"][0]["email"], cleo.email.as_str());
        assert_eq!(users["data"].as_array().expect("a list").len(), 1);
    }

    async fn readiness_says_what_is_away(engine: Engine) {
        let platform = Platform::start(engine).await;
        let nobody = Person::nobody(&platform.url);
        let ready = nobody.get("/readyz").await.ok();
        let well = json!({ "serving": true, "database": true, "objectStore": true });
        assert_eq!((&ready["ok"], &ready["checks"]), (&json!(true), &well));
        platform.host.leaving.cancel();
        let not = nobody.get("/readyz").await.with(503);
        assert_eq!((&not["ok"], &not["why"]), (&json!(false), &json!("stopping")));
        assert_eq!(nobody.get("/healthz").await.ok()["ok"], true, "it lives");
        nobody.get("/agents").await.problem(401, "unauthenticated");
    }
}

#[test]
fn metrics_have_a_listener_of_their_own_when_they_are_to() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let platform = Platform::configured(Engine::Sqlite, |config| {
            config.web.metrics_listen = Some(address);
        })
        .await;
        let open = Person::nobody(&format!("http://{address}"));
        assert!(open.get("/metrics").await.having(200).text.contains("aiybiz_sandbox_slots "));
        assert_eq!(open.get("/agents").await.status, 404, "and nothing else");
        Person::nobody(&platform.url).get("/metrics").await.problem(401, "unauthenticated");
    });
}

#[test]
fn other_sites_call_only_when_the_operator_names_them() {
    run(async {
        let friend = "https://console.example.com";
        let closed = Platform::start(Engine::Sqlite).await;
        let open = Platform::configured(Engine::Sqlite, |config| {
            config.web.allowed_origins = vec![friend.into()];
        })
        .await;
        let preflight = async |platform: &Platform, origin: &str| {
            let nobody = Person::nobody(&platform.url);
            let asked = nobody.request(Method::OPTIONS, "/sessions").header("origin", origin);
            let asked = asked.header("access-control-request-method", "POST");
            send(asked.header("access-control-request-headers", "authorization")).await
        };
        let allowed = |answer: &crate::harness::people::Answer| {
            answer
                .headers
                .get("access-control-allow-origin")
                .map(|v| v.to_str().expect("text").to_owned())
        };
        assert_eq!(allowed(&preflight(&closed, friend).await), None);
        assert_eq!(allowed(&preflight(&open, "https://evil.example").await), None);
        let answer = preflight(&open, friend).await;
        assert_eq!(allowed(&answer).as_deref(), Some(friend));
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        // Also what goes wrong may be read there.
        let nobody = Person::nobody(&open.url);
        let refused = send(nobody.request(Method::GET, "/me").header("origin", friend)).await;
        assert_eq!(allowed(&refused).as_deref(), Some(friend));
        let told = refused.headers["access-control-expose-headers"].to_str().expect("text");
        assert!(told.contains("x-request-id") && told.contains("ratelimit"), "{told}");
    });
}

#[test]
fn what_a_route_takes_is_said_with_405() {
    run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let refused = cleo.delete("/sessions").await;
        let mut allowed: Vec<_> =
            refused.headers["allow"].to_str().expect("text").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["GET", "HEAD", "POST"]);
        refused.problem(405, "method_not_allowed");
    });
}

#[test]
fn a_company_has_a_most_of_streams() {
    run(async {
        let platform = Platform::configured(Engine::Sqlite, |config| {
            config.web.streams_per_company = 3;
        })
        .await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let (session, one) = cleo.starts(&agent).await;
        let (two, three) = (cleo.listens(&session, None).await, cleo.listens(&session, None).await);
        let path = format!("/sessions/{session}/stream");
        cleo.get(&path).await.problem(429, "too_many_streams");
        let (other, _theirs) = bea.starts(&agent).await;
        bea.listens(&other, None).await;
        drop((one, two, three));
        // Places are free again once it is noticed that nobody listens.
        for _ in 0..500 {
            let request = cleo.request(Method::GET, &path).send().await.expect("an answer");
            if request.status() == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the places stay taken");
    });
}

/// What the packages start the program with is what it takes.
#[test]
fn the_packages_start_what_there_is() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let unit = std::fs::read_to_string(folder.join("aiybiz.service")).expect("a unit");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let config = tempfile::NamedTempFile::new().expect("a file");
    let path = config.path().to_str().expect("text");
    let start = start.replace("/etc/aiybiz/aiybiz.toml", path);
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/aiybiz"));
    let said = std::process::Command::new(crate::harness::program())
        .args(words)
        .arg("--print-config")
        .output()
        .expect("the program");
    assert!(said.status.success(), "{said:?}");
    let image = std::fs::read_to_string(folder.join("Containerfile")).expect("a file");
    let set = image.lines().find_map(|line| line.strip_prefix("ENV ")).expect("settings");
    let set = set.split_whitespace().map(|pair| pair.split_once('=').expect("a value"));
    let said = std::process::Command::new(crate::harness::program())
        .args(["serve", "--print-config"])
        .envs(set)
        .output()
        .expect("the program");
    let shown = String::from_utf8(said.stdout).expect("text");
    for line in ["listen = \"0.0.0.0:3001\"", "dataDir = \"/data\""] {
        assert!(shown.contains(line), "{shown}");
    }
}
