//! Accounts: signing up, in and out, what a user may become, and what he may see.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, Value, guests, json,
        people::{Answer, Id, PASSWORD},
        process,
    },
};
use aiybiz_host::seal;
use std::{process::Output, time::Duration};

both_engines! {
    async fn one_who_signs_up_is_the_admin_of_a_new_company(engine: Engine) {
        let platform = Platform::start(engine).await;
        let mut cleo = Person::nobody(&platform.url);
        let body = json!({
            "email": "  Cleo@Example.COM ", "password": PASSWORD, "name": " Cleo ",
            "companyName": "Cleo & Sons",
        });
        let signed = cleo.post("/auth/signup", body).await.created();
        assert_eq!(signed["user"]["email"], "cleo@example.com");
        assert_eq!(signed["user"]["name"], "Cleo");
        assert_eq!(signed["company"]["name"], "Cleo & Sons");

        cleo.token = signed["token"].as_str().expect("a token").to_owned();
        let me = cleo.get("/me").await.ok();
        assert_eq!(me["user"], signed["user"]);
        assert_eq!(me["company"], signed["company"]);
        assert_eq!(me["role"], "admin");
        assert_eq!(me["builder"], Value::Null);
        assert_eq!(me["user"]["operator"], false);

        let alone = platform.person("Solo").await.get("/me").await.ok();
        assert_eq!(alone["company"]["name"], "Solo", "a company of one has its user's name");
    }

    async fn a_mail_address_is_taken_once(engine: Engine) {
        let platform = Platform::start(engine).await;
        let nobody = Person::nobody(&platform.url);
        let as_typed = |email: &str| {
            nobody.post(
                "/auth/signup",
                json!({ "email": email, "password": PASSWORD, "name": "Cleo" }),
            )
        };
        let spellings =
            ["cleo@example.com", "Cleo@Example.com", " cleo@example.com", "CLEO@EXAMPLE.COM"];
        let answers = futures::future::join_all(spellings.map(as_typed)).await;
        let (made, taken): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
        assert_eq!(made.len(), 1, "one account for all spellings");
        for answer in taken {
            answer.problem(409, "email_taken");
        }
        let (users, companies) =
            (count(&platform, Rows::Users).await, count(&platform, Rows::Companies).await);
        assert_eq!((users, companies), (1, 1), "whoever came too late left nothing behind");
    }

    async fn a_wrong_password_and_an_unknown_address_look_alike(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let nobody = Person::nobody(&platform.url);
        let tries = [
            (cleo.email.as_str(), "wrong horse battery"),
            (cleo.email.as_str(), ""),
            ("stranger@example.com", PASSWORD),
            ("no address", PASSWORD),
            ("nul\0@example.com", PASSWORD),
        ];
        let mut seen = Vec::new();
        for (email, password) in tries {
            let answer = log_in(&nobody, email, password).await;
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            let mut body = answer.problem(401, "unauthenticated");
            body.as_object_mut().expect("an object").remove("requestId");
            seen.push(body);
        }
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
        log_in(&nobody, &format!(" {} ", cleo.email.to_uppercase()), PASSWORD).await.ok();
    }

    async fn one_who_signs_out_is_out_here_and_nowhere_else(engine: Engine) {
        let platform = Platform::start(engine).await;
        let here = platform.person("Cleo").await;
        let again = log_in(&here, &here.email, PASSWORD).await.ok();
        let there =
            Person { token: again["token"].as_str().expect("a token").into(), ..here.clone() };
        assert_ne!(here.token, there.token);

        here.post("/auth/logout", json!({})).await.with(204);
        here.get("/me").await.problem(401, "unauthenticated");
        here.post("/auth/logout", json!({})).await.problem(401, "unauthenticated");
        there.get("/me").await.ok();

        // A sign-in that nobody ends ends by itself.
        platform.clock.advance(Duration::from_hours(31 * 24));
        there.get("/me").await.problem(401, "unauthenticated");
    }

    async fn the_database_holds_nothing_that_signs_in(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = platform.person("Cleo").await;
        let mut tx = platform.host.db.read().await.expect("a snapshot");
        let tokens: Vec<(Vec<u8>,)> =
            tx.query("SELECT hash FROM sign_ins").all().await.expect("rows");
        assert_eq!(tokens, [(seal::digest(&cleo.token),)], "a digest, not the token");
        let hashes = tx.query("SELECT password_hash FROM users").all().await;
        let hashes: Vec<(String,)> = hashes.expect("rows");
        assert!(hashes[0].0.starts_with("$argon2id$"), "{hashes:?}");
        assert!(!hashes[0].0.contains(PASSWORD));
    }

    async fn a_user_becomes_a_builder_once(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.person("Bea").await;
        bea.get("/builder").await.problem(404, "not_found");
        let made = bea.post("/builder", json!({ "displayName": " Bea's Bots " })).await.created();
        assert_eq!(made["displayName"], "Bea's Bots");
        bea.post("/builder", json!({ "displayName": "Other" }))
            .await
            .problem(409, "already_builder");
        assert_eq!(bea.get("/builder").await.ok(), made, "the second try changed nothing");
        let renamed = bea.patch("/builder", json!({ "displayName": "Bots" })).await.ok();
        assert_eq!(renamed["displayName"], "Bots");
        assert_eq!(bea.get("/me").await.ok()["builder"], renamed);
    }

    async fn the_operators_command_works_beside_the_server(engine: Engine) {
        let platform = Platform::start(engine).await;
        let olga = platform.person("Olga").await;
        let other = platform.person("Other").await;
        let granted = grant(platform.place(), &[&olga.email.to_uppercase()]);
        assert_eq!(granted.status.code(), Some(0), "{granted:?}");
        assert_eq!(olga.get("/me").await.ok()["user"]["operator"], true);
        assert_eq!(other.get("/me").await.ok()["user"]["operator"], false);
        // Once more changes nothing. It is recorded, and so are no others.
        assert_eq!(grant(platform.place(), &[&olga.email]).status.code(), Some(0));
        let id = olga.get("/me").await.ok()["user"].id();
        let recorded = olga.get(&format!("/admin/audit?target=user/{id}")).await.ok();
        let recorded = recorded["data"].as_array().expect("a list");
        assert_eq!(recorded.len(), 1, "{recorded:?}");
        assert_eq!(recorded[0]["action"], "operator.granted");
        assert_eq!(recorded[0]["actorId"], Value::Null, "the command asks nobody's name");
        // The server has not lost its database to the command.
        platform.person("Later").await;

        for unknown in ["stranger@example.com", "no address"] {
            let refused = grant(platform.place(), &[unknown]);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            let said = String::from_utf8(refused.stderr).expect("text");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.starts_with("aiybiz: "), "{said}");
        }
        for usage in [&[][..], &["a@example.com", "b@example.com"], &["--nonsense"]] {
            assert_eq!(grant(platform.place(), usage).status.code(), Some(2), "{usage:?}");
        }
    }

    async fn what_belongs_to_another_does_not_exist(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let rival = platform.builder("Rival").await;
        let cleo = platform.person("Cleo").await;
        let stranger = platform.person("Stranger").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let (session, _) = cleo.starts(&agent).await;

        let session = format!("/sessions/{session}");
        for path in ["", "/messages", "/stream"] {
            stranger.get(&format!("{session}{path}")).await.problem(404, "not_found");
            // Having made the agent opens no session of its clients.
            bea.get(&format!("{session}{path}")).await.problem(404, "not_found");
        }
        let hello = json!({ "content": "hello" });
        stranger.post(&format!("{session}/messages"), hello).await.problem(404, "not_found");
        stranger.post(&format!("{session}/end"), json!({})).await.problem(404, "not_found");
        stranger
            .post(&format!("{session}/stream-ticket"), json!({}))
            .await
            .problem(404, "not_found");
        assert_eq!(stranger.get("/sessions").await.ok()["data"], json!([]));
        assert_eq!(cleo.get(&session).await.ok()["status"], "active", "nobody ended it");

        let agent = format!("/builder/agents/{agent}");
        let before = bea.get(&agent).await.ok();
        for path in ["", "/components", "/components/1", "/invocations", "/logs", "/config"] {
            rival.get(&format!("{agent}{path}")).await.problem(404, "not_found");
            cleo.get(&format!("{agent}{path}")).await.problem(403, "not_a_builder");
        }
        rival.patch(&agent, json!({ "name": "Mine" })).await.problem(404, "not_found");
        rival.delete(&agent).await.problem(404, "not_found");
        rival.post(&format!("{agent}/unpublish"), json!({})).await.problem(404, "not_found");
        rival
            .post(&format!("{agent}/components/1/activate"), json!({}))
            .await
            .problem(404, "not_found");
        cleo.post(&format!("{agent}/unpublish"), json!({})).await.problem(403, "not_a_builder");
        rival
            .put(&format!("{agent}/config/a"), json!({ "value": "b" }))
            .await
            .problem(404, "not_found");
        assert_eq!(bea.get(&agent).await.ok(), before);
        assert_eq!(rival.get("/builder/agents").await.ok()["data"], json!([]));
        assert_eq!(bea.get("/builder/agents").await.ok()["data"][0].id(), before.id());
    }
}

async fn log_in(person: &Person, email: &str, password: &str) -> Answer {
    let nobody = Person { token: String::new(), ..person.clone() };
    nobody.post("/auth/login", json!({ "email": email, "password": password })).await
}

/// `aiybiz operator grant …`
fn grant(place: &Place, rest: &[&str]) -> Output {
    let mut command = process::command(place);
    command.args(["operator", "grant"]).args(rest).output().expect("the program")
}

enum Rows {
    Users,
    Companies,
}

async fn count(platform: &Platform, rows: Rows) -> i64 {
    let sql = match rows {
        Rows::Users => "SELECT COUNT(*) FROM users",
        Rows::Companies => "SELECT COUNT(*) FROM companies",
    };
    let mut tx = platform.host.db.read().await.expect("a snapshot");
    let (count,): (i64,) = tx.query(sql).one().await.expect("a number");
    count
}
