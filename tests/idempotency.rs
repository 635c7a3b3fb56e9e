//! `Idempotency-Key`: one effect and one answer, however often, at once, and whoever dies.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, Value, guests, json,
        people::{Answer, Id, PASSWORD, send},
        postgres,
        process::Process,
        run,
        smtp::Smtp,
        tripwire::Steps,
    },
};
use reqwest::Method;
use std::time::Duration;
use url::Url;

/// More than making an agent says to the database; the last ones see it done.
const MOST: u64 = 40;

both_engines! {
    async fn fifty_at_once_do_it_once_and_hear_the_same(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let (session, _) = cleo.starts(&agent).await;
        let path = format!("/sessions/{session}/messages");
        let body = json!({ "content": "once" });
        let all = (0..50).map(|_| cleo.asks_as("one", &path, body.clone()));
        let answers = futures::future::join_all(all).await;
        let mut heard: Vec<String> = Vec::new();
        for answer in answers {
            if answer.status == 409 {
                answer.problem(409, "idempotency_key_in_use");
            } else {
                heard.push(answer.having(201).text);
            }
        }
        let again = cleo.asks_as("one", &path, body).await.having(201);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.headers["content-type"], "application/json");
        assert!(heard.iter().all(|text| *text == again.text), "{heard:?}");
        assert!(!heard.is_empty());
        let said = cleo.get(&format!("{path}?limit=200")).await.ok();
        let own = said["data"].as_array().expect("a list").iter().filter(|m| m["role"] == "user");
        assert_eq!(own.count(), 1);
    }

    async fn a_name_is_one_request_of_one_caller(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, max) = (platform.person("Cleo").await, platform.person("Max").await);
        let folder = |name: &str| json!({ "name": name });
        let made = cleo.asks_as("k", "/files/folders", folder("a")).await.having(201);
        assert!(!made.headers.contains_key("idempotent-replayed"));
        let other = cleo.asks_as("k", "/files/folders", folder("b")).await;
        other.problem(422, "idempotency_key_reused");
        let elsewhere = cleo.asks_as("k", "/files/upload-url", folder("a")).await;
        elsewhere.problem(422, "idempotency_key_reused");
        let query = cleo.asks_as("k", "/files/folders?x=1", folder("a")).await;
        query.problem(422, "idempotency_key_reused");
        let of_max = max.asks_as("k", "/files/folders", folder("a")).await.created();
        assert_ne!(of_max.id(), made.body.id());
        // It is the user's, wherever he is signed in.
        let mut again = cleo.clone();
        again.signs_in().await;
        let replayed = again.asks_as("k", "/files/folders", folder("a")).await.having(201);
        assert_eq!(replayed.text, made.text);

        // What failed did nothing: the name is free.
        cleo.asks_as("l", "/files/folders", folder("a")).await.problem(409, "name_taken");
        cleo.asks_as("l", "/files/folders", json!({})).await.problem(400, "invalid_field");
        cleo.asks_as("l", "/files/folders", folder("c")).await.created();
        // After a day it is forgotten.
        platform.clock.advance(Duration::from_hours(24));
        cleo.asks_as("k", "/files/folders", folder("a")).await.problem(409, "name_taken");
    }

    async fn secrets_that_are_told_once_are_told_again_and_kept_sealed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let body = json!({ "name": "Hook", "description": "d", "delivery": "webhook",
            "webhookUrl": "http://127.0.0.1:1/", "priceCentsPerHour": 100 });
        let made = bea.asks_as("a", "/builder/agents", body.clone()).await.created();
        let secret = made["signingSecret"].as_str().expect("a secret");
        let again = bea.asks_as("a", "/builder/agents", body).await.created();
        assert_eq!(again, made);
        let rotate = format!("/builder/agents/{}/webhook-secret/rotate", made.id());
        let one = bea.asks_as("r", &rotate, json!({})).await.ok();
        assert_eq!(bea.asks_as("r", &rotate, json!({})).await.ok(), one, "rotated once");
        let nobody = Person::nobody(&platform.url);
        let new = json!({ "email": "n@example.com", "password": PASSWORD, "name": "N" });
        let signed = nobody.asks_as("s", "/auth/signup", new.clone()).await.created();
        assert_eq!(nobody.asks_as("s", "/auth/signup", new).await.created(), signed);
        // Somebody else who takes the same name is nobody's twin.
        let other = json!({ "email": "o@example.com", "password": PASSWORD, "name": "O" });
        nobody.asks_as("s", "/auth/signup", other).await.created();

        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let rows = tx.query("SELECT answer FROM idempotency_keys WHERE answer IS NOT NULL").all();
        let rows: Vec<(Vec<u8>,)> = rows.await.expect("rows");
        assert!(rows.len() >= 4);
        for (sealed,) in rows {
            let text = String::from_utf8_lossy(&sealed).into_owned();
            assert!(!text.contains(&secret[6..]) && !text.contains("token"), "{text}");
        }
    }

    async fn names_that_are_none_are_refused_and_other_methods_have_none(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        for name in ["", "\u{e9}", "tab\there", &"x".repeat(256)] {
            let request = cleo.request(Method::POST, "/files/folders");
            let value = reqwest::header::HeaderValue::from_bytes(name.as_bytes()).expect("a value");
            let request = request.header("idempotency-key", value);
            let refused = send(request.json(&json!({ "name": "a" }))).await;
            refused.problem(400, "invalid_idempotency_key");
        }
        let long = "x".repeat(255);
        cleo.asks_as(&long, "/files/folders", json!({ "name": "a" })).await.created();
        let patch = |name: &str| {
            let request = cleo.request(Method::PATCH, "/me").header("idempotency-key", "p");
            send(request.json(&json!({ "name": name })))
        };
        patch("One").await.ok();
        assert_eq!(patch("Two").await.ok()["user"]["name"], "Two");
        // Nobody claims anything in another's name.
        let nobody = Person::nobody(&platform.url);
        let refused = nobody.asks_as("z", "/files/folders", json!({ "name": "a" })).await;
        refused.problem(401, "unauthenticated");
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let (claims,): (i64,) =
            tx.query("SELECT COUNT(*) FROM idempotency_keys WHERE status IS NULL").one().await
                .expect("a number");
        assert_eq!(claims, 0, "nothing stays claimed");
    }

    async fn a_browser_is_given_its_cookie_again(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        let body = json!({ "email": cleo.email, "password": PASSWORD, "cookie": true });
        let one = nobody.asks_as("c", "/auth/login", body.clone()).await.having(200);
        let two = nobody.asks_as("c", "/auth/login", body).await.having(200);
        assert_eq!(one.headers["set-cookie"], two.headers["set-cookie"]);
    }

    async fn two_processes_do_it_once(engine: Engine) {
        if engine == Engine::Sqlite {
            return; // One process has the file.
        }
        let smtp = Smtp::start().await;
        let platform = Platform::configured(engine, |config| smtp.serves(config)).await;
        let beside = platform.beside().await;
        let here = platform.person("Cleo").await;
        let there = here.at(&beside.url);
        for round in 0..10 {
            let (name, body) = (format!("r{round}"), json!({ "name": format!("f{round}") }));
            let (one, other) = tokio::join!(
                here.asks_as(&name, "/files/folders", body.clone()),
                there.asks_as(&name, "/files/folders", body.clone()),
            );
            let made = |answer: &Answer| (answer.status == 201).then(|| answer.text.clone());
            let made: Vec<String> = [&one, &other].into_iter().filter_map(made).collect();
            assert!(!made.is_empty(), "{one:?} {other:?}");
            assert!(made.windows(2).all(|two| two[0] == two[1]), "{made:?}");
        }
    }
}

/// kill -9 before each thing that the process says to its database while it makes an
/// agent: asked again after its rise, it has been made once, and its secret is told.
#[test]
fn killed_between_work_and_answer_the_answer_is_kept() {
    if !postgres::available() {
        return;
    }
    run(async {
        let steps = Steps::default();
        let mut place = Place::new(Engine::Postgres).await;
        let mut through = Url::parse(&place.database_url).expect("an URL");
        let port = through.port().expect("a port");
        let wire = steps.wire(([127, 0, 0, 1], port).into(), true).await;
        through.set_port(Some(wire.port())).expect("a port");
        place.database_url = through.to_string();
        let mut process = Process::serve(&place);
        let url = process.url.clone();
        let bea = Person::penniless(&url, "Bea").await;
        bea.post("/builder", json!({ "displayName": "Bea" })).await.created();
        let (mut killed, mut before, mut after) = (0, 0, 0);
        for step in 1..=MOST {
            let name = format!("agent-{step}");
            let body = json!({ "name": name, "description": "d", "delivery": "webhook",
                "webhookUrl": "http://127.0.0.1:1/", "priceCentsPerHour": 100 });
            steps.until(step, process.id());
            let request = bea.request(Method::POST, "/builder/agents");
            let request = request.header("idempotency-key", &name).json(&body);
            let heard = match request.send().await {
                Ok(answer) if answer.status() == 201 => answer.json::<Value>().await.ok(),
                _ => None,
            };
            if steps.rest() {
                killed += 1;
                process.kill();
                process = Process::serve_at(&place, &url);
            }
            let answer = until_done(&bea, &name, &body).await;
            match (&heard, answer.headers.contains_key("idempotent-replayed")) {
                (None, true) => after += 1,
                (None, false) => before += 1,
                (Some(_), replayed) => assert!(replayed, "it was answered already"),
            }
            let answer = answer.created();
            assert!(heard.is_none_or(|heard| heard == answer), "told otherwise");
            assert!(answer["signingSecret"].as_str().is_some_and(|text| text.len() > 20));
        }
        let agents = bea.get("/builder/agents?limit=200").await.ok();
        assert_eq!(agents["data"].as_array().expect("a list").len() as u64, MOST, "one each");
        assert!(killed > 5 && before > 0, "{killed} kills, {before} before, {after} after");
    });
}

/// Asks until nobody is at it any more.
async fn until_done(bea: &Person, name: &str, body: &Value) -> Answer {
    loop {
        let answer = bea.asks_as(name, "/builder/agents", body.clone()).await;
        if answer.status != 409 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
