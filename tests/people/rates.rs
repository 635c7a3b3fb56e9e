//! How often one caller may do something, with the contract's figures (§12.21).

use super::logs_in;
use crate::harness::{
    Engine, Person, Platform, guests, json,
    people::{Answer, PASSWORD},
    run,
};
use aiybiz_host::config::{Config, Flags};

/// A platform with the rates that one has by default.
async fn ordinary() -> Platform {
    Platform::configured(Engine::Sqlite, |config| {
        config.web = Config::load(Flags::default()).expect("the defaults").web;
    })
    .await
}

#[track_caller]
fn stands(answer: &Answer, policy: &str, left: u32) {
    assert_eq!(answer.headers["ratelimit-policy"], policy);
    let standing = answer.headers["ratelimit"].to_str().expect("text");
    assert!(standing.contains(&format!(";r={left};t=")), "{standing}");
}

#[test]
fn twenty_sign_ups_a_minute_from_one_address() {
    run(async {
        let platform = ordinary().await;
        let nobody = Person::nobody(&platform.url);
        // Also those that go wrong are counted.
        let wrong = json!({ "email": "x", "password": PASSWORD, "name": "Max" });
        for number in 0..20 {
            let answer = nobody.post("/auth/signup", wrong.clone()).await;
            stands(&answer, "\"sign-ups\";q=20;w=60", 19 - number);
            assert_eq!(answer.status, 400);
        }
        let refused = nobody.post("/auth/signup", wrong).await;
        stands(&refused, "\"sign-ups\";q=20;w=60", 0);
        let wait = refused.headers["retry-after"].to_str().expect("text").parse::<u32>();
        assert!((1..=3).contains(&wait.expect("seconds")), "one in three seconds is free again");
        refused.problem(429, "too_many_sign_ups");
    });
}

#[test]
fn ten_tries_a_minute_to_sign_in_to_one_account() {
    run(async {
        let platform = ordinary().await;
        let cleo = platform.person("Cleo").await;
        let wrong = |email: &str| json!({ "email": email, "password": "wrong" });
        for (email, _) in (0..10)
            .map(|n| (if n % 2 == 0 { cleo.email.to_uppercase() } else { cleo.email.clone() }, n))
        {
            logs_in(&platform.url, wrong(&email)).await.problem(401, "unauthenticated");
        }
        let right = json!({ "email": cleo.email, "password": PASSWORD });
        let refused = logs_in(&platform.url, right).await;
        refused.problem(429, "too_many_sign_ins");
        // Nobody learns from it who has an account.
        for _ in 0..10 {
            let answer = logs_in(&platform.url, wrong("stranger@example.com")).await;
            answer.problem(401, "unauthenticated");
        }
        logs_in(&platform.url, wrong("stranger@example.com"))
            .await
            .problem(429, "too_many_sign_ins");
        // Whoever is signed in stays so, and others sign in.
        cleo.get("/me").await.ok();
        let max = platform.person("Max").await;
        let own = json!({ "email": max.email, "password": PASSWORD });
        logs_in(&platform.url, own).await.ok();
        for number in 0..60 {
            let answer = logs_in(&platform.url, wrong(&format!("a{number}@example.com"))).await;
            if answer.status == 429 {
                assert!(number >= 30, "{number}: sixty from one address");
                return;
            }
        }
        panic!("the address is not counted");
    });
}

#[test]
fn messages_are_counted_by_session() {
    run(async {
        let platform = Platform::configured(Engine::Sqlite, |config| {
            config.web.messages_per_minute = 5.try_into().expect("not zero");
        })
        .await;
        let bea = platform.builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = platform.person("Cleo").await;
        let ((one, _), (other, _)) = (cleo.starts(&agent).await, cleo.starts(&agent).await);
        let say = async |session: &str| {
            cleo.post(&format!("/sessions/{session}/messages"), json!({ "content": "hi" })).await
        };
        for number in 0..5 {
            let answer = say(&one).await;
            stands(&answer, "\"messages\";q=5;w=60", 4 - number);
            answer.created();
        }
        say(&one).await.problem(429, "too_many_messages");
        say(&other).await.created();
        let log = cleo.get(&format!("/sessions/{one}/messages?limit=200")).await.ok();
        let own = log["data"].as_array().expect("a list").iter().filter(|m| m["role"] == "user");
        assert_eq!(own.count(), 5, "what was refused was not said");
    });
}

#[test]
fn an_address_is_mailed_three_links_a_minute() {
    run(async {
        let platform = ordinary().await;
        let nobody = Person::nobody(&platform.url);
        let forgot = json!({ "email": "anybody@example.com" });
        for _ in 0..3 {
            nobody.post("/auth/password/forgot", forgot.clone()).await.with(202);
        }
        nobody.post("/auth/password/forgot", forgot).await.problem(429, "too_many_links");
    });
}
