//! Who may call what: every operation of the description, called by each kind of caller. The
//! description says whom an operation is for; this holds the platform to it.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, json, people::Id, voice::Voice},
    people::{colleague, mailing},
};
use reqwest::Method;
use std::collections::BTreeMap;

/// What calls there are, and whom they are for.
struct Operation {
    method: Method,
    path: String,
    /// The first way to be let in, with the roles it needs; none when everybody is.
    scheme: Option<(String, Vec<String>)>,
    /// Whether it may answer 401.
    knows_callers: bool,
    /// Codes of 403 that it may answer.
    forbids: Vec<String>,
}

/// Whoever tries.
struct Caller {
    name: &'static str,
    token: String,
    /// What he is: `admin`, `builder`, `operator`.
    roles: &'static [&'static str],
}

/// What a caller was told; to HEAD, there is no code.
struct Told {
    status: u16,
    code: String,
}

async fn operations(platform: &Platform) -> Vec<Operation> {
    let document = Person::nobody(&platform.url).get("/openapi.json").await.ok();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, said) in item.as_object().expect("operations") {
            let first = said["security"].get(0).and_then(Value::as_object);
            let scheme = first.and_then(|one| one.iter().next()).map(|(scheme, roles)| {
                let roles = roles.as_array().expect("roles").iter();
                (
                    scheme.clone(),
                    roles.map(|role| role.as_str().expect("a role").to_owned()).collect(),
                )
            });
            let forbidden = said["responses"]["403"]["description"].as_str().unwrap_or_default();
            let codes = forbidden.split('`').skip(1).step_by(2);
            all.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                scheme,
                knows_callers: said["responses"].get("401").is_some(),
                forbids: codes.map(str::to_owned).collect(),
            });
        }
    }
    all
}

/// Asks with an empty object for a body; what has been let in then finds much to complain of.
async fn ask(platform: &Platform, operation: &Operation, path: &str, token: &str) -> Told {
    let mut asked = Person::nobody(&platform.url);
    asked.token = token.to_owned();
    let mut request = asked.request(operation.method.clone(), path);
    if operation.path.starts_with("/files/tus") {
        request = request.header("tus-resumable", "1.0.0");
    } else if operation.path == "/agent/{session}/auth" {
        // In a body it would look for the token there.
    } else if !operation.method.is_safe() {
        request = request.json(&json!({}));
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    // Of a payment provider that is not configured nothing is believed.
    let not_yet = status == 503 && path == "/stripe/webhook";
    assert!(status < 500 || not_yet, "{} {path} answered {status}", operation.method);
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let code = match kind {
        Some("application/problem+json") if operation.method != Method::HEAD => {
            let problem: Value = response.json().await.expect("a problem");
            problem["code"].as_str().expect("a code").to_owned()
        }
        // An event stream has no end.
        _ => String::new(),
    };
    Told { status, code }
}

impl Operation {
    /// With what these names stand for.
    fn at(&self, names: &BTreeMap<&str, String>) -> String {
        let put = |part: &str| match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(name) => names.get(name).unwrap_or_else(|| panic!("no {name}")).clone(),
            None => part.to_owned(),
        };
        let path = self.path.split('/').map(put).collect::<Vec<_>>().join("/");
        if self.path == "/agent/ws" {
            format!("{path}?sessionId={}", names["session"])
        } else {
            path
        }
    }

    fn called(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn judge(&self, caller: &Caller, told: &Told) {
        let (status, code) = (told.status, told.code.as_str());
        let what = format!("{} of {} was answered {status} {code}", self.called(), caller.name);
        let Some((scheme, roles)) = &self.scheme else {
            assert!(status != 401 || self.knows_callers, "{what}, and is for everybody");
            return;
        };
        if scheme != "token" || caller.token.is_empty() || caller.roles.contains(&"nobody") {
            assert_eq!(status, 401, "{what}");
            return;
        }
        let missing = roles.iter().find(|role| !caller.roles.contains(&role.as_str()));
        if let Some(role) = missing {
            let not = match role.as_str() {
                "admin" => "not_an_admin",
                "builder" => "not_a_builder",
                _ => "not_an_operator",
            };
            let code = if self.method == Method::HEAD { not } else { code };
            assert_eq!((status, code), (403, not), "{what}");
            return;
        }
        assert_ne!(status, 401, "{what}");
        if status == 403 {
            assert!(self.forbids.iter().any(|known| known == code), "{what}");
            // Not for want of a role that the description does not ask for.
            let own = ["not_an_admin", "not_a_builder", "not_an_operator"].contains(&code);
            let own = own && !self.path.starts_with("/company/members/");
            assert!(!own, "{what}");
        }
    }
}

/// Names of things that nobody has.
fn nothing(platform: &Platform) -> BTreeMap<&'static str, String> {
    let names = [
        "agent",
        "session",
        "node",
        "item",
        "member",
        "invitation",
        "invoice",
        "key",
        "id",
        "notification",
        "delivery",
        "replay",
        "company",
        "user",
        "plan",
        "upload",
    ];
    let mut all: BTreeMap<_, _> = names
        .into_iter()
        .map(|name| (name, platform.host.clock.id::<uuid::Uuid>().to_string()))
        .collect();
    all.insert("version", "1".into());
    all.insert("token", "nonsense".into());
    all.insert("what", "password".into());
    all
}

both_engines! {
    async fn each_operation_lets_in_whom_it_is_for_and_nobody_else(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let admin = platform.person("Ada").await;
        let member = colleague(&platform, &mut smtp, &admin, "Max").await;
        let builder = platform.builder("Bea").await;
        let operator = platform.operator("Olga").await;
        let agent = builder.publish("Echo", guests::ECHO).await;
        let (session, _) = admin.starts(&agent).await;
        let voice = Voice::of(&platform, &session);
        let gone = platform.person("Gone").await;
        gone.post("/auth/logout", json!({})).await.with(204);

        let caller = |name, token: &str, roles| Caller { name, token: token.to_owned(), roles };
        let callers = [
            caller("nobody", "", &["nobody"]),
            caller("a revoked token", &gone.token, &["nobody"]),
            caller("an agent", &voice.token, &["nobody"]),
            caller("a member", &member.token, &[]),
            caller("an admin", &admin.token, &["admin"]),
            caller("a builder", &builder.token, &["admin", "builder"]),
            caller("an operator", &operator.token, &["admin", "operator"]),
        ];
        let names = nothing(&platform);
        let all = operations(&platform).await;
        assert!(all.len() > 150, "{} operations", all.len());
        for operation in &all {
            // It ends the caller's sign-in, and has a test of its own.
            if operation.path == "/auth/logout" {
                continue;
            }
            let path = operation.at(&names);
            for caller in &callers {
                let told = ask(&platform, operation, &path, &caller.token).await;
                operation.judge(caller, &told);
            }
        }
    }

    async fn what_is_anothers_does_not_exist(engine: Engine) {
        let (platform, mut smtp) = mailing(engine).await;
        let ada = platform.person("Ada").await;
        let bea = platform.builder("Bea").await;
        let (agent, version) = {
            let agent = bea.publish("Echo", guests::ECHO).await;
            (agent, "1".to_owned())
        };
        let (session, mut events) = ada.starts(&agent).await;
        ada.says(&session, "hello").await;
        events.until("message").await;
        let folder = ada.post("/files/folders", json!({ "name": "Plans" })).await.created();
        let document = json!({ "type": "document", "name": "plan.txt", "content": "the plan" });
        let item = ada.post(&format!("/sessions/{session}/shared-items"), document).await.created();
        let invitation = json!({ "email": "somebody@example.com" });
        let invitation = ada.post("/company/invitations", invitation).await.created();
        smtp.next().await;
        let key = json!({ "name": "ci", "scopes": ["sessions:read"] });
        let key = ada.post("/api-keys", key).await.created();
        let (short, _) = ada.starts(&agent).await;
        ada.ends(&short).await;
        let members = ada.get("/company/members").await.ok();
        let mut invoices = ada.get("/invoices").await.ok();
        while invoices["data"][0].is_null() {
            invoices = ada.get("/invoices").await.ok();
        }
        let signed_in = ada.get("/auth/sessions").await.ok();
        bea.put(&format!("/builder/agents/{agent}/config/tone"), json!({ "value": "dry" })).await
            .with(204);

        let mut names = nothing(&platform);
        names.insert("agent", agent);
        names.insert("version", version);
        names.insert("session", session);
        names.insert("node", folder.id());
        names.insert("item", item.id());
        names.insert("invitation", invitation.id());
        names.insert("member", members["data"][0].id());
        names.insert("invoice", invoices["data"][0].id());
        names.insert("id", signed_in["data"][0].id());
        let stranger = platform.builder("Stranger").await;
        let mut asked = 0;
        for operation in operations(&platform).await {
            let Some((scheme, roles)) = &operation.scheme else { continue };
            let for_him = scheme == "token" && !roles.iter().any(|role| role == "operator");
            // Agents that are published are everybody's to look at.
            if !for_him || !operation.path.contains('{') || operation.path == "/agents/{agent}" {
                continue;
            }
            let key = if operation.path.starts_with("/api-keys") { key.id() } else { "tone".into() };
            names.insert("key", key);
            let told = ask(&platform, &operation, &operation.at(&names), &stranger.token).await;
            // Some look at what they were sent first.
            let said = (told.status, told.code.as_str());
            let hidden = told.status == 404
                || matches!(said, (400, "invalid_field") | (415, "not_a_piece" | "not_wasm"))
                || said == (403, "not_an_admin")
                // Ending somebody else's sign-in, or one that is no more, is the same.
                || (told.status == 204 && operation.path == "/auth/sessions/{id}");
            assert!(hidden, "{} was answered {} {}", operation.called(), said.0, said.1);
            asked += 1;
        }
        assert!(asked > 60, "{asked} operations have a name in their path");
        // And nothing of it has happened.
        assert_eq!(ada.get(&operation_path("/sessions/{session}", &names)).await.ok()["status"], "active");
        ada.get(&operation_path("/files/{node}", &names)).await.ok();
        assert_eq!(ada.get("/auth/sessions").await.ok(), signed_in);
        assert_eq!(ada.get("/company/members").await.ok(), members);
    }

    async fn a_key_is_good_for_its_scopes_alone(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let key = json!({ "name": "ci", "scopes": ["sessions:read"] });
        let key = bea.post("/api-keys", key).await.created();
        let key = key["key"].as_str().expect("a key").to_owned();
        let names = nothing(&platform);
        for operation in operations(&platform).await {
            let Some((scheme, _)) = &operation.scheme else { continue };
            if scheme != "token" {
                continue;
            }
            let told = ask(&platform, &operation, &operation.at(&names), &key).await;
            let begins = |with: &[&str]| {
                let root = operation.path.split('/').nth(1).unwrap_or_default();
                with.contains(&root)
            };
            let reads = operation.method.is_safe();
            let may = reads && begins(&["sessions", "me", "agents", "plans", "notifications"]);
            let codes = ["key_lacks_scope", "not_with_a_key", ""];
            let refused = told.status == 403 && codes.contains(&told.code.as_str());
            let what = format!("{}: {} {}", operation.called(), told.status, told.code);
            assert_eq!(refused, !may, "{what}");
        }
    }
}

fn operation_path(path: &str, names: &BTreeMap<&str, String>) -> String {
    let mut path = path.to_owned();
    for (name, value) in names {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    path
}
