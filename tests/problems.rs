//! Bad input: whatever is wrong with a request, the answer is a problem with a
//! stable code that names the field, and nothing is stored. Never a 500.

mod hostile;
mod requests;
mod world;

use crate::{
    both_engines,
    harness::{Engine, Value, json},
};
use reqwest::header::CONTENT_TYPE;
use world::{World, bodies};

both_engines! {
    async fn bodies_that_are_not_the_expected_object(engine: Engine) {
        let world = World::new(engine).await;
        let before = world.templates().await;
        for (method, path, body) in bodies() {
            let what = |why: &str| format!("{method} {path}: {why}");
            for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
            {
                let request = world.request(method, path).header(CONTENT_TYPE, kind);
                world.refuses(&what(kind), request.body(body.to_string()), 415, "not_json").await;
            }
            let cut = body.to_string().replace('}', "");
            let trailing = format!("{body} x");
            let first = body.as_object().and_then(|body| body.keys().next()).expect("a field");
            let surrogate = format!(r#"{{"{first}":"\ud800"}}"#);
            for text in
                ["", " ", "{", "nonsense", "{'a':1}", "\u{feff}{}", &cut, &trailing, &surrogate]
            {
                if text.is_empty() && path.ends_with("/auth") {
                    // Needs no body: the token is in a header.
                    continue;
                }
                let request = world.json(method, path, text);
                world.refuses(&what(text), request, 400, "not_json").await;
            }
            let raw = world.request(method, path).header(CONTENT_TYPE, "application/json");
            world.refuses(&what("no UTF-8"), raw.body(vec![b'{', 0xff]), 400, "not_json").await;
            let deep = "[".repeat(100_000);
            let as_list =
                Value::Array(body.as_object().expect("an object").values().cloned().collect());
            for text in ["null", "7", "\"text\"", "[]", "[{}]", &deep, &as_list.to_string()] {
                let short: String = text.chars().take(60).collect();
                world.refuses_field(&what(&short), world.json(method, path, text), "").await;
            }
            let deep = format!(r#"{{"deep":{deep}"#);
            world.refuses_field(&what("deep"), world.json(method, path, deep), "/deep").await;
            let mut large = body.clone();
            large["padding"] = json!("x".repeat(1 << 20));
            let large = world.json(method, path, large);
            world.refuses(&what("large"), large, 413, "body_too_large").await;
        }
        assert_eq!(world.templates().await, before);
    }

    async fn fields_that_are_missing_unknown_twice_or_of_another_type(engine: Engine) {
        let world = World::new(engine).await;
        let before = world.templates().await;
        for (method, path, body) in bodies() {
            let what = |why: &str, body: &Value| format!("{method} {path}: {why} in {body}");
            let mut more = body.clone();
            more["sur/pr~ise"] = json!(1);
            world
                .refuses_field(
                    &what("unknown", &more),
                    world.json(method, path, &more),
                    "/sur~1pr~0ise",
                )
                .await;
            for (field, value) in body.as_object().expect("an object") {
                let pointer = format!("/{field}");
                for wrong in [Value::Null, json!({}), json!([]), json!(true), json!([[[value]]])] {
                    let mut body = body.clone();
                    body[field] = wrong;
                    world
                        .refuses_field(
                            &what("type", &body),
                            world.json(method, path, &body),
                            &pointer,
                        )
                        .await;
                }
                let twice = body.to_string().replacen('{', &format!("{{\"{field}\":{value},"), 1);
                world.refuses_field(&twice, world.json(method, path, &twice), &pointer).await;
                let mut body = body.clone();
                body.as_object_mut().expect("an object").remove(field);
                // A change need not name everything.
                if method != "PATCH" || path == "/builder" {
                    world
                        .refuses_field(
                            &what("missing", &body),
                            world.json(method, path, &body),
                            &pointer,
                        )
                        .await;
                }
            }
        }
        assert_eq!(world.templates().await, before);
    }

    async fn values_that_make_no_sense(engine: Engine) {
        let world = World::new(engine).await;
        let before = world.templates().await;
        let long = |length: usize| json!("x".repeat(length));
        let texts = |most: usize| {
            vec![json!(""), json!(" \n"), json!("a\0b"), json!("a\u{1b}b"), long(most + 1)]
        };
        let emails = [
            "", "a", "a@", "@b.c", "a@b", "a@.c", "a@b.", "a@b@c.d", "a b@c.d", "a@b.c\0",
            "<a@b.c>",
        ];
        let urls = [
            "",
            "nonsense",
            "/hook",
            "ftp://example.com",
            "http://example.com",
            "https://",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/",
            "http://0.0.0.0/",
            "https://u:p@example.com/",
            "https://example.com/#f",
            "file:///etc/passwd",
        ];
        let mut urls: Vec<_> = urls.map(|url| json!(url)).into();
        urls.push(json!(format!("https://example.com/{}", "x".repeat(2048))));
        let prices = vec![json!(-1), json!(1_000_001), json!(9.5), json!("10"), json!(1e30)];
        let places = vec![json!(0), json!(-1), json!(1_000_001), json!(1.5), json!("1")];
        let mut listing = vec![
            ("/name", texts(100)),
            ("/description", texts(5_000)),
            ("/logoEmoji", texts(16)),
            ("/priceCentsPerHour", prices),
            ("/maxSessions", places),
            ("/webhookUrl", urls),
            ("/retryPolicy", vec![json!("always"), json!(1)]),
        ];
        for field in ["/themes", "/tools", "/capabilities"] {
            listing.push((field, vec![json!("law"), json!({}), json!(vec!["a"; 21])]));
        }
        let mut new = listing.clone();
        new.push(("/delivery", vec![json!("email"), json!("")]));
        let sign_up = vec![
            ("/email", emails.map(|email| json!(email)).into()),
            ("/email", vec![json!(format!("{}@example.com", "x".repeat(243)))]),
            ("/password", vec![json!(""), json!("1234567"), long(257)]),
            ("/name", texts(200)),
            ("/companyName", texts(200)),
        ];
        let tables = [
            (0, sign_up),
            (2, vec![("/displayName", texts(200))]),
            (3, vec![("/displayName", texts(200))]),
            (4, new),
            (5, listing),
            (6, vec![("/value", vec![long((16 << 10) + 1)]), ("/secret", vec![json!("yes")])]),
            (7, vec![("/agentId", vec![json!(""), json!("x"), json!("a\0b"), long(10_000)])]),
        ];
        let routes = bodies();
        for (route, fields) in tables {
            let (method, path, body) = &routes[route];
            for (pointer, wrong) in fields {
                for value in wrong {
                    let mut body = body.clone();
                    if path.ends_with("/agents") && pointer == "/webhookUrl" {
                        body["delivery"] = json!("webhook");
                    }
                    body[&pointer[1..]] = value;
                    let short: String = body.to_string().chars().take(300).collect();
                    world.refuses_field(&short, world.json(method, path, &body), pointer).await;
                }
            }
        }
        for (themes, pointer) in [
            (json!(["a", ""]), "/themes/1"),
            (json!([7]), "/themes/0"),
            (json!(["a", "b", "x".repeat(51)]), "/themes/2"),
        ] {
            let change =
                world.json("PATCH", "/builder/agents/{agent}", json!({ "themes": themes }));
            world.refuses_field(pointer, change, pointer).await;
        }
        let url = json!({ "webhookUrl": "https://example.com/" });
        let url = world.json("PATCH", "/builder/agents/{component}", url);
        world.refuses_field("a component with an address", url, "/webhookUrl").await;
        for key in ["a%20b", "%C3%A4", "%00", "a%2Fb", "aiybiz.x", &"k".repeat(129)] {
            let path = format!("/builder/agents/{{agent}}/config/{key}");
            world
                .refuses_field(key, world.json("PUT", &path, json!({ "value": "v" })), "key")
                .await;
            world.refuses(key, world.request("GET", &path), 404, "not_found").await;
            world.refuses(key, world.request("DELETE", &path), 404, "not_found").await;
        }
        assert_eq!(world.templates().await, before);
    }
}
