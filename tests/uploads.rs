//! Uploading components: what is said of a good one, versions, and going back.
//! What is refused is in `refusals`.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, json, people, program},
};
use std::time::Duration;

/// A guest that answers every message with this.
fn says(text: &str) -> Vec<u8> {
    let has = format!("(data (i32.const 1024) \"{text}\")");
    let does = format!("(call $say (i32.const 1024) (i32.const {}))", text.len());
    guests::guest(&has, &does, "")
}

fn path(agent: &str) -> String {
    format!("/builder/agents/{agent}/components")
}

both_engines! {
    async fn what_is_said_of_an_upload(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Echo").await;

        let module = bea.upload(&agent, guests::ECHO).await.created();
        assert_eq!(module["version"], 1);
        assert_eq!(module["sizeBytes"], guests::ECHO.len());
        assert_eq!(module["state"], "ready");
        assert_eq!(module["world"], "aiybiz:agent/agent@0.1.0");
        assert_eq!(module["active"], false);
        assert_eq!(module["problems"], json!([]));
        assert!(module["metadata"].is_object(), "{module}");
        let imports = module["imports"].as_array().expect("a list");
        assert!(imports.contains(&json!("aiybiz:agent/session@0.1.0")), "{module}");
        assert_eq!(module["warnings"], json!(["a core module; it was wrapped into a component"]));
        for field in ["ms", "peakBytes", "codeBytes"] {
            assert!(module["compile"][field].as_u64().is_some_and(|n| n > 0), "{module}");
        }

        // What the platform wraps itself comes to the same.
        let component = guests::component(guests::ECHO);
        let wrapped = bea.upload(&agent, component.clone()).await.created();
        assert_eq!(wrapped["version"], 2);
        assert_eq!(wrapped["sizeBytes"], component.len());
        assert_eq!((&wrapped["world"], &wrapped["warnings"]), (&module["world"], &json!([])));
        assert_ne!(wrapped["sha256"], module["sha256"]);

        let digest = <sha2::Sha256 as sha2::Digest>::digest(guests::ECHO);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(module["sha256"], digest);
        assert_eq!(bea.get(&format!("{}/1", path(&agent))).await.ok(), module);
        let listed = bea.get(&path(&agent)).await.ok();
        assert_eq!(listed["data"], json!([wrapped, module]));
    }

    async fn versions_go_forward_and_back(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Changing", says("first")).await;
        assert_eq!(bea.upload(&agent, says("second")).await.created()["version"], 2);
        // The same bytes again are a version of their own.
        assert_eq!(bea.upload(&agent, says("first")).await.created()["version"], 3);
        let (session, mut events) = cleo.starts(&agent).await;
        let activate = async |version: i64| {
            let path = format!("{}/{version}/activate", path(&agent));
            let version = bea.post(&path, json!({})).await.ok();
            assert_eq!(version["active"], true);
        };
        // Running sessions go along: a version serves events, not sessions.
        for (version, answer) in [(1, "first"), (2, "second"), (1, "first"), (3, "first")] {
            activate(version).await;
            cleo.says(&session, "who are you?").await;
            assert_eq!(events.reply().await, answer);
        }
        let listed = bea.get(&path(&agent)).await.ok();
        let active: Vec<_> = listed["data"].as_array().expect("a list").iter()
            .map(|version| (version["version"].clone(), version["active"].clone()))
            .collect();
        assert_eq!(active, [(3, true), (2, false), (1, false)].map(|(v, a)| (json!(v), json!(a))));
        bea.post(&format!("{}/9/activate", path(&agent)), json!({})).await.problem(404, "not_found");
        // An upload is what it is: there is no way to change or remove it.
        let first = format!("{}/1", path(&agent));
        bea.put(&first, json!({})).await.problem(405, "method_not_allowed");
        bea.delete(&first).await.problem(405, "method_not_allowed");
    }
}

/// Waits until a version is no longer being compiled.
async fn concluded(bea: &Person, agent: &str, version: i64) -> String {
    for _ in 0..1_000 {
        let found = bea.get(&format!("{}/{version}", path(agent))).await;
        let state = found.body["state"].as_str().unwrap_or("compiling").to_owned();
        if !["queued", "compiling"].contains(&state.as_str()) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("version {version} is never done");
}

#[test]
fn nobody_need_wait_for_the_compiler() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Echo").await;
        let upload = |query: &str, wasm: &[u8]| {
            let to = format!("{}{query}", path(&agent));
            let request = bea.request(reqwest::Method::POST, &to);
            request.header("content-type", "application/wasm").body(wasm.to_vec())
        };
        let queued = people::send(upload("?wait=0", guests::ECHO)).await.created();
        assert_eq!((&queued["version"], &queued["state"]), (&json!(1), &json!("queued")));
        assert_eq!(queued["compile"], json!(null));
        assert_eq!(concluded(&bea, &agent, 1).await, "ready");
        people::send(upload("?wait=soon", guests::ECHO)).await.problem(400, "invalid_field");

        // One who hangs up gets his version all the same.
        let large = upload("", guests::LIBRARIAN).timeout(Duration::from_millis(40)).send().await;
        assert!(large.as_ref().is_err_and(reqwest::Error::is_timeout), "{large:?}");
        assert_eq!(concluded(&bea, &agent, 2).await, "ready");
    });
}

#[test]
fn an_upload_goes_to_ones_own_component_agents_only() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let bob = platform.builder("Bob").await;
        let (mine, _) = bea.publish_webhook("Hook", "http://127.0.0.1:9/", "none").await;
        bea.upload(&mine, guests::ECHO).await.problem(409, "not_a_component_agent");
        let theirs = bob.component_agent("Bob's").await;
        bea.upload(&theirs, guests::ECHO).await.problem(404, "not_found");
        bea.get(&path(&theirs)).await.problem(404, "not_found");
        bea.get(&format!("{}/1", path(&theirs))).await.problem(404, "not_found");
        bea.upload("nonsense", guests::ECHO).await.problem(404, "not_found");
        let agent = bea.component_agent("Hers").await;
        bea.get(&format!("{}/1", path(&agent))).await.problem(404, "not_found");
        platform
            .person("Cleo")
            .await
            .upload(&agent, guests::ECHO)
            .await
            .problem(403, "not_a_builder");
        Person::nobody(&platform.url)
            .upload(&agent, guests::ECHO)
            .await
            .problem(401, "unauthenticated");
    });
}

/// What `aiybiz inspect` says of a file: how it ended, on its standard output and on
/// its standard error. It may leave nothing behind.
fn inspected(bytes: &[u8]) -> (Option<i32>, Value, String) {
    let place = tempfile::tempdir().expect("a folder");
    let (here, temporary) = (place.path().join("here"), place.path().join("temporary"));
    let file = place.path().join("agent.wasm");
    std::fs::write(&file, bytes).expect("a file");
    for folder in [&here, &temporary] {
        std::fs::create_dir(folder).expect("a folder");
    }
    let mut inspect = std::process::Command::new(program());
    inspect.arg("inspect").arg(&file).current_dir(&here).env("TMPDIR", &temporary);
    let ran = inspect.env("RUST_LOG", "error").output().expect("it runs");
    for folder in [&here, &temporary] {
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0, "{}", folder.display());
    }
    let said = serde_json::from_slice(&ran.stdout).expect("JSON");
    (ran.status.code(), said, String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn inspect_says_what_an_upload_would() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Echo").await;

        let (code, said, complaint) = inspected(guests::ECHO);
        let uploaded = bea.upload(&agent, guests::ECHO).await.created();
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
        for field in
            ["sha256", "sizeBytes", "state", "world", "imports", "metadata", "warnings", "problems"]
        {
            assert_eq!(said[field], uploaded[field], "{field}");
        }
        assert_eq!(said["compile"]["codeBytes"], uploaded["compile"]["codeBytes"]);
        for limit in [
            "componentBytes",
            "functions",
            "functionBytes",
            "functionLocals",
            "functionKnots",
            "modules",
            "imports",
            "memoryBytes",
            "tableElements",
            "compileMillis",
            "compileMemoryBytes",
            "codeBytes",
        ] {
            let left = said["headroom"][limit].as_u64();
            assert!(left.is_some_and(|left| left <= 100), "{limit} of {said}");
        }

        let (code, said, complaint) = inspected(b"Dear Sirs");
        let refused = bea.upload(&agent, &b"Dear Sirs"[..]).await.problem(422, "component_refused");
        assert_eq!((code, &said["problems"]), (Some(1), &refused["errors"]));
        assert_eq!((&said["state"], &said["compile"]), (&json!("refused"), &json!(null)));
        assert_eq!(complaint, "aiybiz: refused: body is not WebAssembly\n");
        // Half of the knots a function may have; and a file that nobody would read.
        let knots = "(block (br_if 0 (local.get 0)))".repeat(625);
        let half = format!("(func (param i32) (local {}) {knots})", "i32 ".repeat(399));
        assert_eq!(inspected(&guests::guest(&half, "", "")).1["headroom"]["functionKnots"], 50);
        let (code, said, _) = inspected(&vec![0; (32 << 20) + 1]);
        assert_eq!((code, &said["problems"][0]["pointer"]), (Some(1), &json!("componentBytes")));
    });
}

#[test]
fn an_agent_that_takes_long_to_start_is_refused_soon() {
    let spins = guests::guest("(func $spin (loop $l (br $l))) (start $spin)", "", "");
    let begun = std::time::Instant::now();
    let (code, said, complaint) = inspected(&spins);
    assert_eq!((code, &said["state"]), (Some(1), &json!("refused")), "{said}");
    assert!(complaint.contains("cannot be instantiated: the CPU budget is used up"), "{complaint}");
    // One second of its own, not the thirty that an event may take.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    // Its machine code is not kept for it.
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.component_agent("Slow").await;
        bea.upload(&agent, spins).await.problem(422, "component_refused");
        let kept = std::fs::read_dir(platform.host.config.data_dir.join("components"));
        assert_eq!(kept.expect("a folder").count(), 0);
    });
}
