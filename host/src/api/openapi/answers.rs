//! What an operation answers: the headers of all answers, the errors that it shares with
//! others like it, and its own, which it lists by their codes.

use super::{Operation, Who, as_bytes, fields};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Errors of most operations, by what they are called here.
const SHARED: [(&str, u16, &[&str]); 6] = [
    ("Unauthenticated", 401, &["unauthenticated"]),
    ("NotFound", 404, &["not_found"]),
    ("TooSlow", 408, &["body_too_slow"]),
    ("TooLarge", 413, &["body_too_large"]),
    ("Internal", 500, &["internal"]),
    ("Unavailable", 503, &["unavailable"]),
];

pub(super) fn shared() -> Value {
    let named = SHARED.iter().map(|(name, status, codes)| {
        let codes = codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
        ((*name).to_owned(), problem(*status, &codes))
    });
    Value::Object(named.collect())
}

pub(super) fn complete(operation: &mut Operation<'_>) {
    let tagged = operation.is_tagged();
    let said = operation.said.remove("responses").unwrap_or_default();
    let mut codes = common(operation);
    let mut answers: BTreeMap<u16, Value> = BTreeMap::new();
    for (status, answer) in said.as_object().into_iter().flatten() {
        let Ok(number) = status.parse::<u16>() else { continue };
        // Readiness answers 503 in words of its own.
        if number < 400 || answer.get("content").is_some() {
            let mut answer = succeeded(number, answer.clone());
            if operation.takes_key() && number < 300 {
                let replayed =
                    "`true`: the same was asked under this name before, and not done again.";
                answer["headers"]["Idempotent-Replayed"] = text(replayed);
            }
            answers.insert(number, answer);
            continue;
        }
        let own = answer["description"].as_str().unwrap_or_default();
        let own = own.split(',').map(str::trim).filter(|code| !code.is_empty());
        codes.entry(number).or_default().extend(own.map(str::to_owned));
    }
    if tagged {
        answers.entry(304).or_insert_with(|| succeeded(304, json!({})));
    }
    for (status, mut codes) in codes {
        codes.sort();
        codes.dedup();
        answers.entry(status).or_insert_with(|| refused(status, &codes));
    }
    let answers = answers.into_iter().map(|(status, answer)| (status.to_string(), answer));
    operation.said.insert("responses".into(), Value::Object(answers.collect()));
}

/// The errors that follow from who may call it and from what it takes.
fn common(operation: &Operation<'_>) -> BTreeMap<u16, Vec<String>> {
    let mut codes: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut add = |status: u16, more: &[&str]| {
        codes.entry(status).or_default().extend(more.iter().map(|code| (*code).to_owned()));
    };
    add(500, &["internal"]);
    add(503, &["unavailable"]);
    if operation.who != Who::Nobody {
        add(401, &["unauthenticated"]);
    }
    let changes = operation.method != "get" && operation.method != "head";
    if let Who::People(roles) = operation.who {
        add(403, &["key_lacks_scope", "not_with_a_key"]);
        if changes {
            add(403, &["cross_site"]);
        }
        if changes && !operation.path.starts_with("/auth/") {
            add(403, &["company_suspended"]);
        }
        for role in roles {
            match *role {
                "admin" => add(403, &["not_an_admin"]),
                "builder" => add(403, &["not_a_builder"]),
                _ => add(403, &["not_an_operator"]),
            }
        }
    }
    if operation.who == Who::Agent {
        add(429, &["too_many_calls"]);
    }
    if operation.path.contains('{') {
        add(400, &["bad_request"]);
        if matches!(operation.who, Who::People(_)) {
            add(404, &["not_found"]);
        }
    }
    let content = operation.said.get("requestBody").map(|body| &body["content"]);
    if content.is_some_and(|content| content.get("application/json").is_some()) {
        add(400, &["invalid_field", "not_json", "body_incomplete"]);
        add(408, &["body_too_slow"]);
        add(413, &["body_too_large"]);
        add(415, &["not_json"]);
    }
    if in_query(operation) {
        add(400, &["invalid_field", "invalid_query"]);
    }
    if operation.takes_key() {
        // What is named is read as a whole before it is done.
        add(400, &["invalid_idempotency_key", "body_incomplete"]);
        add(408, &["body_too_slow"]);
        add(413, &["body_too_large"]);
        if operation.who == Who::Nobody {
            add(403, &["cross_site"]);
        }
        add(409, &["idempotency_key_in_use"]);
        add(422, &["idempotency_key_reused"]);
    }
    codes
}

fn in_query(operation: &Operation<'_>) -> bool {
    let all = operation.said.get("parameters").and_then(Value::as_array);
    all.is_some_and(|all| all.iter().any(|one| one["in"] == "query"))
}

/// An answer that is none of the errors, with the headers of all of them.
fn succeeded(status: u16, mut answer: Value) -> Value {
    if answer["description"].as_str().is_none_or(str::is_empty) {
        answer["description"] = json!(reason(status));
    }
    as_bytes(&mut answer["content"]);
    if answer["content"].is_null() {
        answer.as_object_mut().map(|answer| answer.remove("content"));
    }
    let mut headers = headers(status);
    for (name, header) in fields(&mut answer["headers"]) {
        headers.insert(name.clone(), header.take());
    }
    answer["headers"] = json!(headers);
    answer
}

fn refused(status: u16, codes: &[String]) -> Value {
    let same = |(_, shared, all): &&(&str, u16, &[&str])| *shared == status && *all == codes;
    match SHARED.iter().find(same) {
        Some((name, ..)) => json!({ "$ref": format!("#/components/responses/{name}") }),
        None => problem(status, codes),
    }
}

fn problem(status: u16, codes: &[String]) -> Value {
    let named: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
    let first = codes.first().map_or("", String::as_str);
    let detail = first.replace('_', " ");
    let own = json!({ "properties": { "code": { "enum": codes } } });
    json!({
        "description": format!("{}: {}", reason(status), named.join(", ")),
        "headers": headers(status),
        "content": { "application/problem+json": {
            "schema": { "allOf": [{ "$ref": "#/components/schemas/Problem" }, own] },
            "example": {
                "type": format!("urn:aiybiz:problem:{first}"), "title": reason(status),
                "status": status, "detail": detail, "code": first,
                "requestId": "0198c6d0-5f3a-7cc1-9a51-2f6f0f9d3c11", "error": detail,
            },
        } },
    })
}

fn headers(status: u16) -> Map<String, Value> {
    let mut headers = Map::new();
    let id = text("The request's name; it is in the operator's log as well.");
    headers.insert("X-Request-Id".into(), id);
    match status {
        401 => {
            headers.insert("WWW-Authenticate".into(), text("`Bearer`"));
        }
        429 | 503 => {
            let after =
                json!({ "description": "Seconds to wait.", "schema": { "type": "integer" } });
            headers.insert("Retry-After".into(), after);
        }
        _ => {}
    }
    if status == 429 {
        let left = text(
            "What is left, and for how many seconds: `\"policy\";r=0;t=12` \
                         (draft-ietf-httpapi-ratelimit-headers-11).",
        );
        headers.insert("RateLimit".into(), left);
        headers.insert("RateLimit-Policy".into(), text("How many in how many seconds."));
    }
    headers
}

fn text(what: &str) -> Value {
    json!({ "description": what, "schema": { "type": "string" } })
}

fn reason(status: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Checksum Mismatch")
}
