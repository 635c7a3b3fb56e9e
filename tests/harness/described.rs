//! Every answer that a test gets is held against the description of the API, and every body
//! that was taken as well: an operation, a status, a code or a field that the description
//! does not know fails the test.

use super::{Value, json, people::Answer};
use jsonschema::Validator;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

static DESCRIBED: tokio::sync::OnceCell<Described> = tokio::sync::OnceCell::const_new();

struct Described {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Fails when the description does not have this answer to this request.
pub async fn check(method: &str, url: &reqwest::Url, body: Option<&[u8]>, answer: &Answer) {
    if !answer.headers.contains_key("x-request-id") {
        // Somebody else's, such as an object store's.
        return;
    }
    let described = DESCRIBED.get_or_init(|| Described::of(url.clone())).await;
    let Some((path, item)) = described.find(url.path()) else { return };
    let Some(operation) = item.get(method.to_lowercase()) else { return };
    let what = format!("{method} {path}");
    described.answered(&what, operation, answer);
    if (200..300).contains(&answer.status) {
        described.taken(&what, operation, body);
    }
}

impl Described {
    async fn of(mut url: reqwest::Url) -> Self {
        url.set_path("/openapi.json");
        url.set_query(None);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let document = client.get(url).send().await.expect("an answer").json().await;
        Self { document: document.expect("the description"), validators: Mutex::default() }
    }

    /// The path that is meant, and what is said of it. A word goes before a name.
    fn find(&self, path: &str) -> Option<(&str, &Value)> {
        let path = token_apart(path);
        let paths = self.document["paths"].as_object().expect("paths");
        let fits = |template: &&String| {
            let (said, asked) = (template.split('/'), path.split('/'));
            said.clone().count() == asked.clone().count()
                && said.zip(asked).all(|(said, asked)| said == asked || said.starts_with('{'))
        };
        let names = |template: &&String| template.matches('{').count();
        let template = paths.keys().filter(fits).min_by_key(names)?;
        Some((template, &paths[template]))
    }

    fn answered(&self, what: &str, operation: &Value, answer: &Answer) {
        let (status, text) = (answer.status, &answer.text);
        let found = &operation["responses"][status.to_string()];
        let found = self.resolved(found);
        if found.is_null() {
            return undescribed(&format!("{what} {status} {} {text}", answer.body["code"]));
        }
        let kind = answer.headers.get("content-type").map(|kind| kind.to_str().expect("text"));
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
        let content = &found["content"];
        if text.is_empty() {
            return;
        }
        let Some(schema) =
            content.get(kind).or(content.get("*/*")).map(|content| &content["schema"])
        else {
            return undescribed(&format!("{what} {status} with {kind}: {text}"));
        };
        if ["application/json", "application/problem+json"].contains(&kind) {
            let name = format!("{what} {status} {kind}");
            self.holds(&name, &answer.body, schema, status < 400);
            // What is on a page must be all described, too.
            let page = self.resolved(schema);
            if let (Some(items), Some(data)) =
                (page.pointer("/properties/data/items"), answer.body["data"].as_array())
            {
                for item in data {
                    self.holds(&format!("{name}, on a page"), item, items, true);
                }
            }
        }
    }

    fn taken(&self, what: &str, operation: &Value, body: Option<&[u8]>) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
        if let (Some(body), false) = (body, schema.is_null()) {
            self.holds(&format!("{what}, its body"), &body, schema, false);
        }
    }

    fn holds(&self, name: &str, value: &Value, schema: &Value, closed: bool) {
        let validator = {
            let mut all = self.validators.lock().expect("no panic");
            let new = || Arc::new(self.validator(schema, closed));
            Arc::clone(all.entry(name.to_owned()).or_insert_with(new))
        };
        if let Err(error) = validator.validate(value) {
            undescribed(&format!("{name}: {error} at {} of {value}", error.instance_path()));
        }
    }

    /// With `closed`, a field that is not described is an error.
    fn validator(&self, schema: &Value, closed: bool) -> Validator {
        let mut whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let object = self.resolved(schema);
        if closed && (object.get("properties").is_some() || object.get("allOf").is_some()) {
            whole["unevaluatedProperties"] = json!(false);
        }
        jsonschema::draft202012::options().build(&whole).expect("a schema")
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(link) = value.get("$ref").and_then(Value::as_str) else { return value };
        let pointer = link.strip_prefix('#').expect("a link into the document");
        self.document.pointer(pointer).unwrap_or_else(|| panic!("{link} leads nowhere"))
    }
}

/// Without the token that stands before an agent's path.
fn token_apart(path: &str) -> &str {
    let rest = path.strip_prefix("/t/").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    rest.filter(|rest| rest.starts_with("/agent/")).unwrap_or(path)
}

fn undescribed(what: &str) {
    static LIST: OnceLock<Option<String>> = OnceLock::new();
    let list = LIST.get_or_init(|| std::env::var("AIYBIZ_TEST_UNDESCRIBED").ok());
    match list {
        // All of them at once, for whoever writes the description.
        Some(list) => {
            use std::io::Write;
            let file = std::fs::OpenOptions::new().create(true).append(true).open(list);
            writeln!(file.expect("the list"), "{what}").expect("written");
        }
        None => panic!("the description does not have this: {what}"),
    }
}
