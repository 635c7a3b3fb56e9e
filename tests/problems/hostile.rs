//! What should never come: huge and deep bodies, fields twice, wrong types of content, tricks
//! with Unicode, line breaks in headers. All routes that take JSON are shown it.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::{Answer, send},
    },
};
use reqwest::{Method, RequestBuilder};

/// Every operation that takes JSON, with ids of nothing in its path.
async fn takers(platform: &Platform) -> Vec<(Method, String)> {
    let document = Person::nobody(&platform.url).get("/openapi.json").await.ok();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, said) in item.as_object().expect("operations") {
            // What Stripe sends is looked at when its signature was.
            let json = !said["requestBody"]["content"]["application/json"].is_null();
            if json && path != "/stripe/webhook" {
                let id = platform.host.clock.id::<uuid::Uuid>().to_string();
                let parts =
                    path.split('/').map(|part| if part.starts_with('{') { &*id } else { part });
                let path = parts.collect::<Vec<_>>().join("/");
                all.push((method.to_uppercase().parse().expect("a method"), path));
            }
        }
    }
    assert!(all.len() > 50, "{} operations take JSON", all.len());
    all
}

/// Somebody who is everything, so that nothing is refused for who he is.
async fn everybody(platform: &Platform) -> Person {
    let person = platform.operator("Olga").await;
    person.becomes_builder("Olga").await;
    person
}

/// It was not understood, and nothing happened.
fn is_refused(what: &str, answer: &Answer, statuses: &[u16]) {
    // Agents' calls are refused for their token first, and what is nowhere for that.
    let early = [401, 404].contains(&answer.status);
    assert!(
        early || statuses.contains(&answer.status),
        "{what}: {} {}",
        answer.status,
        answer.text
    );
    assert!(answer.body["code"].is_string(), "{what}: {}", answer.text);
}

fn raw(person: &Person, method: &Method, path: &str, body: String) -> RequestBuilder {
    let request = person.request(method.clone(), path);
    request.header("content-type", "application/json").body(body)
}

both_engines! {
    async fn bodies_that_make_no_sense(engine: Engine) {
        let platform = Platform::start(engine).await;
        let person = everybody(&platform).await;
        let deep = format!("{{\"name\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        let deep_objects = "{\"a\":".repeat(7_000) + "1" + &"}".repeat(7_000);
        for (method, path) in takers(&platform).await {
            let what = |kind: &str| format!("{method} {path}, {kind}");
            for body in [&deep, &deep_objects] {
                // Who is refused before his body is read may find the line cut instead.
                if let Ok(answer) = raw(&person, &method, &path, body.clone()).send().await {
                    let status = answer.status().as_u16();
                    assert!([400, 401, 404].contains(&status), "{method} {path}: {status}");
                }
            }
            for (kind, body) in [
                ("a list", "[1,2,3]".to_owned()),
                ("a text", "\"x\"".to_owned()),
                ("a number beyond numbers", "{\"name\":1e999999}".to_owned()),
                ("half of it", "{\"name\":\"x".to_owned()),
                ("two", "{}{}".to_owned()),
                ("a lone surrogate", "{\"name\":\"\\ud800\"}".to_owned()),
                ("a field that nobody knows", "{\"__proto__\":{\"admin\":true}}".to_owned()),
                ("a BOM", "\u{feff}{}".to_owned()),
            ] {
                let answer = send(raw(&person, &method, &path, body)).await;
                is_refused(&what(kind), &answer, &[400]);
            }
            let plain = person.request(method.clone(), &path);
            let plain = plain.header("content-type", "text/plain").body("{\"name\":\"x\"}");
            is_refused(&what("plain text"), &send(plain).await, &[415]);
            let form = person.request(method.clone(), &path);
            let form = form.header("content-type", "application/x-www-form-urlencoded").body("name=x");
            is_refused(&what("a form"), &send(form).await, &[415]);
        }
        person.get("/me").await.ok();
    }

    async fn ten_mebibytes_are_not_read(engine: Engine) {
        let platform = Platform::start(engine).await;
        let person = everybody(&platform).await;
        let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(10 << 20));
        for (method, path) in takers(&platform).await {
            // The platform may hang up before all of it is sent.
            let answer = raw(&person, &method, &path, huge.clone()).send().await;
            if let Ok(answer) = answer {
                let status = answer.status().as_u16();
                assert!([413, 401, 404].contains(&status), "{method} {path}: {status}");
            }
        }
        person.get("/me").await.ok();
    }

    async fn a_field_that_comes_twice(engine: Engine) {
        let platform = Platform::start(engine).await;
        let person = everybody(&platform).await;
        for (method, path, body, pointer) in [
            (Method::POST, "/files/folders", "{\"name\":\"a\",\"name\":\"b\"}", "/name"),
            (Method::PATCH, "/company", "{\"name\":\"a\",\"name\":\"b\"}", "/name"),
            (Method::PUT, "/admin/limits", "{\"replies\":1,\"replies\":2}", "/replies"),
            (Method::POST, "/auth/login", "{\"email\":\"a\",\"password\":\"b\",\"email\":\"c\"}", "/email"),
        ] {
            let answer = send(raw(&person, &method, path, body.to_owned())).await;
            let problem = answer.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}");
        }
        assert_eq!(person.get("/files").await.ok()["data"], json!([]));
    }

    async fn names_and_addresses_that_pretend(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let signs_up = async |email: &str, name: &str| {
            let body = json!({ "email": email, "password": "correct horse battery", "name": name });
            Person::nobody(&platform.url).post("/auth/signup", body).await
        };
        for name in [
            "a\u{202e}b", "a\u{2066}b", "a\u{200b}", "\u{200d}", "a\u{0000}b", "a\rb", "a\nb",
            "a\r\nBcc: all@example.com", "\u{feff}", "   ", "a\u{0085}b", "a\u{2028}b", "\u{e0041}",
        ] {
            let answer = signs_up("new@example.com", name).await;
            assert_eq!(answer.status, 400, "{name:?}: {}", answer.text);
            assert_eq!(answer.body["errors"][0]["pointer"], "/name", "{name:?}");
        }
        for email in [
            "a@b@c", "a b@example.com", "a@example.com\r\nBcc: all@example.com", "a@\u{202e}com",
            "@example.com", "a@", "a", "", "a@exam ple.com", "a@example.com,b@example.com",
            "<a@example.com>", "\u{0430}dmin@example.com\u{0000}", "a@-example.com", "a@.com",
        ] {
            let answer = signs_up(email, "A").await;
            assert_eq!(answer.status, 400, "{email:?}: {}", answer.text);
            assert_eq!(answer.body["errors"][0]["pointer"], "/email", "{email:?}");
            let body = json!({ "email": email });
            let answer = cleo.post("/company/invitations", body).await;
            assert_eq!(answer.status, 400, "{email:?}: {}", answer.text);
        }
        // One address, however it is written.
        signs_up("One@Example.com", "One").await.created();
        signs_up("one@example.COM ", "Two").await.problem(409, "email_taken");
    }

    async fn headers_are_what_they_are(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        // What is told of a request is never made of what came with it.
        let odd = cleo.request(Method::GET, "/me").header("x-request-id", "mine\tand mine");
        let answer = send(odd).await.having(200);
        let id = answer.headers["x-request-id"].to_str().expect("text");
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
        for (name, value) in [
            ("idempotency-key", "a\u{e9}b"),
            ("idempotency-key", ""),
            ("authorization", "Bearer"),
            ("authorization", "Basic YTpi"),
            ("cookie", "aiybiz=\"; Path=/\""),
        ] {
            let nobody = Person::nobody(&platform.url);
            let asked = nobody.request(Method::POST, "/files/folders").json(&json!({ "name": "x" }));
            let answer = send(asked.header(name, value)).await;
            assert!([400, 401, 403].contains(&answer.status), "{name}: {}", answer.text);
        }
        // A file's name reaches a header, and stays in it.
        let name = "a\".txt; filename=\"b.exe";
        let id = platform.file(&cleo, None, name, "x").await;
        let link = cleo.get(&format!("/files/{id}/download-url")).await.ok();
        let url = link["signedUrl"].as_str().expect("a link");
        let answer = send(cleo.http.get(url)).await.having(200);
        let said = answer.headers["content-disposition"].to_str().expect("text");
        assert!(said.starts_with("attachment;") && !said.contains("; filename=\"b.exe"), "{said}");
    }
}

/// Whether there is such an account, nobody learns from the time an answer takes: each of the
/// two is the faster one now and then.
#[test]
fn a_known_address_and_an_unknown_one_take_as_long() {
    crate::harness::run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        for path in ["/auth/login", "/auth/password/forgot"] {
            let took = async |email: &str| {
                let mut body = json!({ "email": email });
                if path == "/auth/login" {
                    body["password"] = Value::from("not the password");
                }
                let begun = std::time::Instant::now();
                nobody.post(path, body).await;
                begun.elapsed()
            };
            let (mut known, mut unknown) = (Vec::new(), Vec::new());
            for n in 0..15 {
                known.push(took(&cleo.email).await);
                unknown.push(took(&format!("nobody-{n}@example.com")).await);
            }
            known.sort();
            unknown.sort();
            // Without the hashing of a password that is nobody's, the one would take a
            // hundredth of the other: the ranges would not meet.
            let ranges = (known[0]..known[14], unknown[0]..unknown[14]);
            let meet = ranges.0.start < ranges.1.end && ranges.1.start < ranges.0.end;
            assert!(meet, "{path}: {ranges:?}");
        }
    });
}
