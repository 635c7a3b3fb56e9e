//! Nobody overwrites what he has not seen: `ETag`, `If-Match` and `If-None-Match`.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, guests, json,
        people::{Answer, send},
    },
};
use reqwest::Method;

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().expect("text").to_owned()
}

async fn changes(by: &Person, method: Method, path: &str, body: Value, seen: &str) -> Answer {
    send(by.request(method, path).header("if-match", seen).json(&body)).await
}

both_engines! {
    async fn a_change_of_what_was_changed_since_is_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let olga = platform.operator("Olga").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let own = format!("/builder/agents/{agent}");
        let setting = format!("{own}/config/tone");
        bea.put(&setting, json!({ "value": "dry" })).await.with(204);
        let limits = format!("/admin/agents/{agent}/limits");
        let component = format!("{own}/components/1");
        for (by, method, path, body) in [
            (&bea, Method::PATCH, own.as_str(), json!({ "name": "Echo 2" })),
            (&bea, Method::PATCH, component.as_str(), json!({ "warm": true })),
            (&bea, Method::PUT, setting.as_str(), json!({ "value": "wry" })),
            (&olga, Method::PUT, limits.as_str(), json!({ "replies": 7 })),
            (&olga, Method::PUT, "/admin/limits", json!({ "replies": 8 })),
            (&bea, Method::PATCH, "/company", json!({ "name": "Bea & Co" })),
        ] {
            let first = tag(&by.get(path).await.having(200));
            assert_eq!(tag(&by.get(path).await.having(200)), first, "{path}");
            let known = by.request(Method::GET, path).header("if-none-match", &first);
            let known = send(known).await.having(304);
            assert_eq!((tag(&known), known.text.as_str()), (first.clone(), ""), "{path}");

            // A list of tags, with the right one among others.
            let seen = format!("\"other\", {first}");
            let changed = changes(by, method.clone(), path, body.clone(), &seen).await;
            assert!([200, 204].contains(&changed.status), "{path}: {}", changed.text);
            let second = tag(&by.get(path).await.having(200));
            assert_ne!(second, first, "{path}");
            if changed.status == 200 {
                assert_eq!(tag(&changed), second, "{path}: what was answered is what is");
            }
            let late = changes(by, method.clone(), path, body.clone(), &first).await;
            late.problem(412, "changed_since");
            assert_eq!(tag(&by.get(path).await), second, "{path}");
            let still = by.request(Method::GET, path).header("if-none-match", &first);
            send(still).await.having(200);
            // Without a word the last one wins, and a star is whatever there is.
            changes(by, method.clone(), path, body.clone(), "*").await;
            let plain = send(by.request(method, path).json(&body)).await;
            assert!([200, 204].contains(&plain.status), "{path}: {}", plain.text);
        }
        // What is not there was seen by nobody.
        let missing = format!("{own}/config/none");
        changes(&bea, Method::PUT, &missing, json!({ "value": "x" }), "*").await
            .problem(412, "changed_since");
        let first = tag(&bea.get(&own).await);
        bea.patch(&own, json!({ "name": "Echo 3" })).await.ok();
        send(bea.request(Method::DELETE, &own).header("if-match", &first)).await
            .problem(412, "changed_since");
        bea.get(&own).await.ok();
    }

    async fn of_many_who_have_seen_the_same_one_changes_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let path = format!("/builder/agents/{}", bea.component_agent("Echo").await);
        for round in 0..5 {
            let seen = tag(&bea.get(&path).await);
            let tries = (0..8).map(|n| {
                let body = json!({ "name": format!("Echo {round} {n}") });
                changes(&bea, Method::PATCH, &path, body, &seen)
            });
            let answers = futures::future::join_all(tries).await;
            let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
            assert_eq!(done.len(), 1);
            assert_eq!(done[0].body["name"], bea.get(&path).await.ok()["name"]);
        }
    }

    async fn two_who_change_different_fields_both_do(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let path = format!("/builder/agents/{}", bea.component_agent("Echo").await);
        for round in 0..20 {
            let name = format!("Echo {round}");
            let (one, other) = tokio::join!(
                bea.patch(&path, json!({ "name": name })),
                bea.patch(&path, json!({ "priceCentsPerHour": 100 + round })),
            );
            one.ok();
            other.ok();
            let now = bea.get(&path).await.ok();
            assert_eq!((now["name"].as_str(), now["priceCentsPerHour"].as_i64()),
                       (Some(name.as_str()), Some(100 + round)));
        }
    }
}
