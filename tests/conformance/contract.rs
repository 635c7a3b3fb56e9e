//! Schemathesis makes up requests from the API's own description, sensible ones and others,
//! in the name of each kind of caller, and follows what was made by one call into others. Two
//! callers of a kind must not get at each other's things.
//!
//! `AIYBIZ_TEST_FUZZ_SECONDS` gives each kind more than its minute.

use super::folder;
use crate::harness::{Engine, Person, Platform, Value, guests, json, run, voice::Voice};
use std::{fs, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::process::Command;

const SECONDS: u64 = 60;

/// What would sign the caller out, or end the session that he talks in: all that follows would
/// be answered 401 or 409.
const ENDS_IT: [&str; 4] =
    ["/auth/logout", "/auth/sessions", "/auth/sessions/{id}", "/sessions/{session}/end"];

#[test]
fn whoever_is_not_signed_in_finds_what_is_described() {
    run(async {
        let platform = ready(Engine::Sqlite).await;
        fuzz(&platform, None, None, "^/").await;
    });
}

#[test]
fn clients_find_what_is_described() {
    run(async {
        let platform = ready(Engine::Sqlite).await;
        clients(&platform).await;
    });
}

#[test]
fn clients_find_the_same_on_the_other_engine() {
    run(async {
        let platform = ready(Engine::Postgres).await;
        clients(&platform).await;
    });
}

async fn clients(platform: &Platform) {
    let bea = platform.builder("Bea").await;
    let agent = bea.publish("Echo", guests::ECHO).await;
    let (mut tokens, mut sessions) = (Vec::new(), Vec::new());
    for name in ["Ada", "Cleo"] {
        let client = platform.person(name).await;
        let (session, _) = client.starts(&agent).await;
        client.says(&session, "hello").await;
        sessions.push(session);
        client.post("/files/folders", json!({ "name": name })).await.created();
        tokens.push(client.token);
    }
    let tokens = tokens.try_into().expect("two");
    let paths = "^/(me|company|invitations|api-keys|agents|sessions|files|wallet|invoices|plans\
                 |subscription|notifications|stripe|auth)";
    fuzz(platform, Some(tokens), Some(&sessions[0]), paths).await;
}

#[test]
fn builders_find_what_is_described() {
    run(async {
        let platform = ready(Engine::Sqlite).await;
        let mut tokens = Vec::new();
        for name in ["Bea", "Ben"] {
            let builder = platform.builder(name).await;
            builder.publish("Echo", guests::ECHO).await;
            builder.publish_webhook("Hook", crate::harness::voice::NOBODY, "none").await;
            tokens.push(builder.token);
        }
        let tokens = tokens.try_into().expect("two");
        fuzz(&platform, Some(tokens), None, "^/(builder|stripe/connect)").await;
    });
}

#[test]
fn operators_find_what_is_described() {
    run(async {
        let platform = ready(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        bea.publish("Echo", guests::ECHO).await;
        let tokens = [platform.operator("Olga").await.token, platform.operator("Otto").await.token];
        fuzz(&platform, Some(tokens), None, "^/(admin|metrics|healthz|readyz)").await;
    });
}

#[test]
fn agents_find_what_is_described() {
    run(async {
        let platform = ready(Engine::Sqlite).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let (ada, cleo) = (platform.person("Ada").await, platform.person("Cleo").await);
        let sessions = [ada.starts(&agent).await.0, cleo.starts(&agent).await.0];
        ada.says(&sessions[0], "hello").await;
        let tokens = sessions.each_ref().map(|session| Voice::of(&platform, session).token);
        fuzz(&platform, Some(tokens), Some(&sessions[0]), "^/agent/").await;
    });
}

/// A platform that Stripe could tell things.
async fn ready(engine: Engine) -> Platform {
    Platform::configured(engine, |config| {
        config.money.stripe_webhook_secret = vec!["whsec_dGhhdCBub2JvZHkga25vd3M=".into()];
    })
    .await
}

/// Runs it for its time in the name of two callers, and fails with what it found.
async fn fuzz(platform: &Platform, two: Option<[String; 2]>, session: Option<&str>, paths: &str) {
    let place = TempDir::new().expect("a folder");
    let seconds = std::env::var("AIYBIZ_TEST_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS);
    fs::write(place.path().join("schemathesis.toml"), settings(two.is_some(), session))
        .expect("written");
    if let Some(two) = &two {
        fs::write(place.path().join("auth.json"), credentials(two).to_string()).expect("written");
    }
    let description = unnamed(platform).await.to_string();
    fs::write(place.path().join("openapi.json"), description).expect("written");
    let mut command = Command::new(folder().join(".venv/bin/st"));
    command
        .current_dir(place.path())
        .args(["run", "openapi.json", "--url", &platform.url])
        .args(["--checks", "all", "--mode", "all"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--max-time", &seconds.to_string()])
        .args(["--seed", "1", "--continue-on-failure", "--no-color", "--output-truncate", "false"])
        .args(["--include-path-regex", paths])
        // Of tus: OPTIONS is the same for whatever is asked, and the kind of content of a
        // piece is not known to it. Another program, made for it, speaks tus with the platform.
        .args(["--exclude-method", "OPTIONS"])
        .args(["--exclude-operation-id", "patchFilesTusUpload"])
        .args(["--exclude-operation-id", "postFilesTusUpload"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for path in ENDS_IT {
        command.args(["--exclude-path", path]);
    }
    let bound = Duration::from_secs(seconds * 3 + 120);
    let done = tokio::time::timeout(bound, command.output()).await.expect("it ends in its time");
    let done = done.expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("No issues found") || said.contains("passed"), "{said}");
    still_well(platform).await;
}

/// The description without the names that requests may have. What came under a name before is
/// not done: under the few that would be made up, hardly anything would.
async fn unnamed(platform: &Platform) -> Value {
    let mut document = Person::nobody(&platform.url).get("/openapi.json").await.ok();
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            if let Some(all) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
                all.retain(|one| one["name"] != "Idempotency-Key" || one["required"] == true);
            }
        }
    }
    document
}

/// Whatever was sent, the platform serves, and its books are right.
async fn still_well(platform: &Platform) {
    let operator = platform.operator("Last").await;
    let ledger = operator.get("/admin/ledger/check").await.ok();
    assert_eq!(ledger["ok"], true, "{ledger}");
    Person::nobody(&platform.url).get("/readyz").await.ok();
}

/// Two callers, and what is right although no schema can say it.
fn settings(signed_in: bool, session: Option<&str>) -> String {
    let auth = "[auth.wfc]\npath = \"auth.json\"\npeers = [\"one\", \"other\"]\n";
    let session = session.map(|id| format!("[parameters]\n\"path.session\" = \"{id}\"\n"));
    format!("{}{}{SETTINGS}", if signed_in { auth } else { "" }, session.unwrap_or_default())
}

/// A request may have the right form and be refused for what it says: a cursor that is none, a
/// span of time that ends before it begins, a field that goes without another, 1.0 for 1, a
/// price that cannot be paid. What is out of date or in another version is 412, before anything
/// else is looked at, and another request under the name of one that was is 422.
const SETTINGS: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "4xx"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "408", "409", "412", "413", "415", "422", "423"]

[checks.missing_required_header]
expected-statuses = ["400", "401", "403", "412", "415", "422"]
"#;

fn credentials([first, second]: &[String; 2]) -> Value {
    let one = |name: &str, token: &str| {
        let header = json!({ "name": "Authorization", "value": format!("Bearer {token}") });
        json!({ "name": name, "fixedHeaders": [header] })
    };
    json!({ "auth": [one("one", first), one("other", second)] })
}
