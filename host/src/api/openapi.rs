//! The description of this API, as OpenAPI 3.1: what handlers say of themselves, completed
//! by what goes for all of them.
//!
//! A handler names its path, its body and what it answers. From the path follow its group
//! and who may call it; from these, and from what it takes, the errors that it has in
//! common with others. Its own errors it lists by their codes.

mod answers;

use super::{once, page};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Whom an operation is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Nobody need say who he is.
    Nobody,
    /// People, by a token or a cookie, who have these roles besides.
    People(&'static [&'static str]),
    /// The agent of a session.
    Agent,
    /// The operator's own scheduler.
    Internal,
}

const USER: Who = Who::People(&[]);
const ADMIN: Who = Who::People(&["admin"]);
const BUILDER: Who = Who::People(&["builder"]);
const OPERATOR: Who = Who::People(&["operator"]);

/// What begins so belongs to a group, and is for those who show such a thing; the first
/// that fits goes.
const GROUPS: [(&str, &str, Who); 25] = [
    ("/auth", "People", USER),
    ("/me", "People", USER),
    ("/api-keys", "People", USER),
    ("/notifications", "People", USER),
    ("/company", "Companies", USER),
    ("/invitations", "Companies", USER),
    ("/links", "Companies", USER),
    ("/agents", "Catalogue", USER),
    ("/sessions", "Sessions", USER),
    ("/files/tus", "Resumable uploads", USER),
    ("/files", "Files", USER),
    ("/f", "Files", USER),
    ("/wallet", "Money", USER),
    ("/invoices", "Money", USER),
    ("/plans", "Money", USER),
    ("/subscription", "Money", USER),
    ("/stripe/connect", "Builders", BUILDER),
    ("/stripe", "Money", USER),
    ("/builder", "Builders", BUILDER),
    ("/agent", "Agents", Who::Agent),
    ("/admin", "Operators", OPERATOR),
    ("/internal", "Operation", Who::Internal),
    ("/metrics", "Operation", OPERATOR),
    ("/healthz", "Operation", Who::Nobody),
    ("/readyz", "Operation", Who::Nobody),
];

const WHAT: &str = "Companies rent AI agents: they open sessions, talk and share files; the \
    platform bills, and pays the agents' builders.\n\n\
    Times are RFC 3339 in UTC, money is integer cents of US dollars. Lists are pages: \
    `limit`, and as `cursor` the `nextCursor` of the page before. Every error is a \
    `Problem`; its `code` is for programs. Every POST but Stripe's takes an `Idempotency-Key`: \
    sent again within 24 hours it answers the same and does nothing. Fields may be added to answers, \
    and none is taken away.\n\n\
    Routes that begin with `/agent/` also exist under `/t/{agentAuthToken}/agent/…`, for \
    agents that can send no header.";

/// The whole description.
pub(super) fn complete(api: &OpenApi) -> Value {
    let mut document = json!(api);
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "aiybiz", "version": env!("CARGO_PKG_VERSION"), "description": WHAT,
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["components"]["securitySchemes"] = schemes();
    document["components"]["responses"] = answers::shared();
    for (path, item) in fields(&mut document["paths"]) {
        for (method, operation) in fields(item) {
            complete_one(path, method, operation);
        }
    }
    document
}

fn schemes() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "The token of a sign-in, or an API key with the scope for it. \
                An operation may ask for a role as well.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "aiybiz",
            "description": "What a browser got by signing in with `cookie: true`. Over https \
                its name begins with `__Host-`. Changes are taken from pages of the platform only.",
        },
        "agentToken": {
            "type": "http", "scheme": "bearer",
            "description": "The session's `agentAuthToken`. Good until the session is over.",
        },
        "agentHeader": {
            "type": "apiKey", "in": "header", "name": "X-Agent-Token",
            "description": "The session's `agentAuthToken`, where Authorization is taken.",
        },
        "ticket": {
            "type": "apiKey", "in": "query", "name": "ticket",
            "description": "From `POST /sessions/{session}/stream-ticket`; good once, for 60 s.",
        },
        "internal": {
            "type": "http", "scheme": "bearer",
            "description": "The platform's internal secret.",
        },
    })
}

/// What is said of one operation, and what can be told of it.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    who: Who,
    said: &'a mut Map<String, Value>,
}

fn complete_one(path: &str, method: &str, said: &mut Value) {
    let Some(said) = said.as_object_mut() else { return };
    let begins = |begin: &str| {
        path.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let group = GROUPS.iter().find(|(begin, ..)| begins(begin));
    let (_, group, usual) = group.copied().unwrap_or(("", "Operation", Who::Nobody));
    let own = said.remove("security");
    let own = own.as_ref().and_then(Value::as_array);
    let who = own.map_or(usual, |own| whom(own));
    let security = security(who, own.map_or(&[], |own| own.get(1..).unwrap_or_default()));
    let mut operation = Operation { path, method, who, said };
    operation.text();
    operation.said.insert("tags".into(), json!([group]));
    operation.said.insert("operationId".into(), json!(name(method, path)));
    operation.said.insert("security".into(), security);
    operation.parameters();
    answers::complete(&mut operation);
    if let Some(body) = operation.said.get_mut("requestBody") {
        as_bytes(&mut body["content"]);
        may_be_missing(body);
    }
}

/// A body that need not be there is not null when it is.
fn may_be_missing(body: &mut Value) {
    let schema = body.pointer("/content/application~1json/schema/oneOf").and_then(Value::as_array);
    let real = schema.and_then(|either| either.iter().find(|one| one["type"] != "null")).cloned();
    if let Some(real) = real {
        body["content"]["application/json"]["schema"] = real;
        body["required"] = json!(false);
    }
}

/// What is no JSON and no text is bytes, and no list of numbers; of a stream, what is said of
/// its events goes for each, and they differ.
fn as_bytes(content: &mut Value) {
    for (kind, content) in fields(content) {
        if kind == "text/event-stream" {
            content["schema"] = json!({});
        } else if !kind.contains("json") && !kind.starts_with("text/") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}

/// Whom a handler says it is for: `()`, `("user" = [])`, `("user" = ["admin"])`.
fn whom(said: &[Value]) -> Who {
    let user = said.first().and_then(|first| first.get("user")).and_then(Value::as_array);
    match user {
        None => Who::Nobody,
        Some(roles) if roles.is_empty() => USER,
        Some(_) => ADMIN,
    }
}

/// By what callers are known; `others` is what a handler takes besides.
fn security(who: Who, others: &[Value]) -> Value {
    let mut ways = match who {
        Who::Nobody => vec![],
        Who::People(roles) => vec![json!({ "token": roles }), json!({ "cookie": roles })],
        Who::Agent => vec![json!({ "agentToken": [] }), json!({ "agentHeader": [] })],
        Who::Internal => vec![json!({ "internal": [] })],
    };
    ways.extend_from_slice(others);
    json!(ways)
}

impl Operation<'_> {
    /// The first sentence of what is said is the summary.
    fn text(&mut self) {
        let said = ["summary", "description"].map(|name| self.said.remove(name));
        let texts = said.iter().flatten().filter_map(Value::as_str).map(str::trim);
        let whole = texts.collect::<Vec<_>>().join(" ").replace('\n', " ");
        let end = [". ", ": ", "? "].iter().filter_map(|end| whole.find(end)).min();
        let (first, rest) = end.map_or((&*whole, ""), |end| (&whole[..end], &whole[end + 2..]));
        self.said.insert("summary".into(), json!(first.trim_end_matches('.')));
        if !rest.is_empty() {
            self.said.insert("description".into(), json!(capital(rest.trim())));
        }
    }

    /// Completes its parameters by those of the path, and by what is the same everywhere.
    fn parameters(&mut self) {
        let said = self.said.remove("parameters");
        let mut all: Vec<Value> = Vec::new();
        for name in
            self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        {
            all.push(json!({
                "name": name, "in": "path", "required": true, "schema": part_of_path(self.path, name),
            }));
        }
        let query = said.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
        all.extend(query.into_iter().filter(|one| one["in"] != "path").map(known));
        if self.takes_key() && !all.iter().any(|one| one["name"] == "Idempotency-Key") {
            all.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "Names the request: sent again within 24 hours, it answers the \
                    same and does nothing.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$" },
            }));
        }
        if self.is_conditional() {
            all.push(json!({
                "name": "If-Match", "in": "header", "required": false,
                "description": "The `ETag` of what is to be changed: it is changed only if it \
                    is still that.",
                "schema": { "type": "string" },
            }));
        }
        if self.is_tagged() {
            all.push(json!({
                "name": "If-None-Match", "in": "header", "required": false,
                "description": "An `ETag` that is known: 304 when it is still that.",
                "schema": { "type": "string" },
            }));
        }
        if !all.is_empty() {
            self.said.insert("parameters".into(), json!(all));
        }
    }

    /// May it be named by an `Idempotency-Key`?
    fn takes_key(&self) -> bool {
        self.method == "post" && once::is_named(self.path)
    }

    /// Does looking at it answer with an `ETag`?
    fn is_tagged(&self) -> bool {
        let tag = self.said.get("responses").and_then(|all| all.pointer("/200/headers/ETag"));
        self.method == "get" && tag.is_some()
    }

    /// Is it refused when what it changes was changed since?
    fn is_conditional(&self) -> bool {
        let codes = self.said.get("responses").and_then(|all| all.pointer("/412/description"));
        codes.is_some_and(|codes| codes == "changed_since")
    }
}

/// What stands for a name in a path; ids, where nothing else is said.
fn part_of_path(path: &str, name: &str) -> Value {
    match name {
        "version" => json!({ "type": "integer", "minimum": 1 }),
        "key" if path.starts_with("/api-keys") => json!({ "type": "string", "format": "uuid" }),
        "what" => json!({ "enum": ["invitation", "password", "email", "page.js", "page.css"] }),
        "key" | "token" => json!({ "type": "string", "minLength": 1 }),
        _ => json!({ "type": "string", "format": "uuid" }),
    }
}

/// A query parameter; those of pages are said once, here.
fn known(mut parameter: Value) -> Value {
    if parameter["name"] == "limit" {
        parameter["description"] = json!("How many there are on a page.");
        parameter["schema"] = json!({ "type": "integer", "minimum": 1, "maximum": page::MOST, "default": page::DEFAULT });
    } else if parameter["name"] == "cursor" {
        parameter["description"] = json!("The `nextCursor` of the page before.");
        parameter["schema"] = json!({ "type": "string" });
    }
    parameter
}

/// A name that no other operation has: `getSessionMessages`. What follows a plural and
/// stands for one of it takes its place.
fn name(method: &str, path: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(one) if words.last().is_some_and(|many| many.starts_with(one)) => {
                words.pop();
                words.push(one.to_owned());
            }
            Some(one) => words.push(one.to_owned()),
            None => words.push(part.to_owned()),
        }
    }
    let words = words.iter().flat_map(|word| word.split(['-', '.', '_']));
    method.to_owned() + &words.map(capital).collect::<String>()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn fields(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn an_operation_is_named_by_its_path() {
        assert_eq!(name("get", "/sessions"), "getSessions");
        assert_eq!(name("get", "/sessions/{session}"), "getSession");
        assert_eq!(name("post", "/agent/{session}/auth"), "postAgentSessionAuth");
        let path = "/builder/agents/{agent}/webhook-secret/rotate";
        assert_eq!(name("post", path), "postBuilderAgentWebhookSecretRotate");
    }
}
