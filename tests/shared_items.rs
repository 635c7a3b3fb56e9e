//! What a client hands to a session: who sees it, and that it is gone in the end.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, guests, json,
        people::{Answer, Id, send},
        voice::{NOBODY, Voice},
    },
};
use futures::future::join_all;
use reqwest::Method;

fn items(session: &str) -> String {
    format!("/sessions/{session}/shared-items")
}

fn secret(name: &str, value: &str) -> Value {
    json!({ "type": "secret", "name": name, "value": value })
}

fn document(name: &str, content: &str) -> Value {
    json!({ "type": "document", "name": name, "content": content })
}

/// A client's session with an agent that speaks by itself.
async fn talk(platform: &Platform) -> (Person, Voice) {
    let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
    let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
    let session = cleo.post("/sessions", json!({ "agentId": agent })).await.created().id();
    (cleo, Voice::of(platform, &session))
}

/// What the session's agent reads.
async fn read(voice: &Voice, query: &str) -> Answer {
    let path = format!("/agent/sessions/{}/shared-items{query}", voice.session);
    send(voice.bare(Method::GET, &path).bearer_auth(&voice.token)).await
}

/// What the table holds of a session: name and content, oldest first.
async fn stored(platform: &Platform, session: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let session: aiybiz_host::id::SessionId = session.parse().expect("an id");
    let mut tx = platform.host.db.look().await.expect("a connection");
    let sql = "SELECT name, content FROM shared_items WHERE session_id = $1 ORDER BY id";
    tx.query(sql).bind(session).all().await.expect("rows")
}

both_engines! {
    async fn the_agent_reads_what_the_client_shares(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, voice) = talk(&platform).await;
        let path = items(&voice.session);
        let mut events = cleo.listens(&voice.session, Some(0)).await;
        let brief = cleo.post(&path, document("brief.md", "Be brief.")).await.created();
        let key = cleo.post(&path, secret("API_KEY", "hush-hush")).await.created();
        assert_eq!((&brief["type"], &brief["content"]), (&json!("document"), &json!("Be brief.")));
        let fields: Vec<_> = key.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["id", "type", "name", "createdAt"]);

        // Newest first, in pages; a secret is never listed.
        let listed = cleo.get(&path).await;
        assert!(!listed.text.contains("hush"), "{}", listed.text);
        assert_eq!(listed.ok(), json!({ "data": [key, brief], "nextCursor": null }));
        let page = cleo.get(&format!("{path}?limit=1")).await.ok();
        let next = format!("{path}?limit=1&cursor={}", page["nextCursor"].as_str().expect("a cursor"));
        assert_eq!(cleo.get(&next).await.ok(), json!({ "data": [brief], "nextCursor": null }));

        let seen = read(&voice, "").await.ok();
        assert_eq!((&seen["data"][0]["id"], &seen["data"][0]["content"]), (&key["id"], &json!("hush-hush")));
        assert_eq!(seen["data"][1], brief);
        assert_eq!(read(&voice, "?limit=1").await.ok()["nextCursor"], key["id"]);
        // At rest it is neither.
        for (name, content) in stored(&platform, &voice.session).await {
            let content = content.expect("it is kept");
            let plain = [b"hush".as_slice(), b"brief"];
            let bare = plain.iter().any(|plain| content.windows(plain.len()).any(|part| part == *plain));
            assert!(!bare, "{name} lies open");
        }

        // The stream tells that, and not what.
        let told = events.until("shared_item").await;
        let item = json!({ "id": brief["id"], "type": "document", "name": "brief.md", "createdAt": brief["createdAt"] });
        assert_eq!((&told["type"], &told["change"], &told["item"]), (&json!("shared_item"), &json!("added"), &item));
        assert_eq!(events.until("shared_item").await["item"], key);
        cleo.delete(&format!("{path}/{}", key.id())).await.with(204);
        let told = events.until("shared_item").await;
        assert_eq!((&told["change"], &told["item"]), (&json!("removed"), &key));
        events.without_gap();
        assert_eq!(read(&voice, "").await.ok()["data"], json!([brief]));
        cleo.delete(&format!("{path}/{}", key.id())).await.problem(404, "not_found");
        // The name is free again.
        cleo.post(&path, secret("API_KEY", "hush")).await.created();
    }

    async fn nobody_else_sees_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, voice) = talk(&platform).await;
        let path = items(&voice.session);
        let item = cleo.post(&path, secret("API_KEY", "hush")).await.created().id();
        let (dora, other) = talk(&platform).await;
        for person in [&dora, &platform.builder("Ben").await, &platform.operator("Opal").await] {
            person.get(&path).await.problem(404, "not_found");
            person.post(&path, secret("MINE", "x")).await.problem(404, "not_found");
            person.delete(&format!("{path}/{item}")).await.problem(404, "not_found");
        }
        // Nor is it in another session of one's own.
        dora.delete(&format!("{}/{item}", items(&other.session))).await.problem(404, "not_found");
        let mut stranger = voice.clone();
        stranger.token.clone_from(&other.token);
        read(&stranger, "").await.problem(401, "unauthenticated");
        assert_eq!(read(&other, "").await.ok()["data"], json!([]));
        Person::nobody(&platform.url).get(&path).await.problem(401, "unauthenticated");
        assert_eq!(cleo.get(&path).await.ok()["data"].as_array().map(Vec::len), Some(1));
    }

    async fn what_cannot_be_shared_is_refused(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, voice) = talk(&platform).await;
        let path = items(&voice.session);
        let long = "x".repeat(64 << 10);
        let (large, larger) = (document("a", &long), document("a", &format!("{long}x")));
        let both = json!({ "type": "secret", "name": "a", "value": "x", "content": "x" });
        for (body, pointer) in [
            (json!({}), "/type"),
            (json!({ "type": "secret", "name": "a" }), "/content"),
            (json!({ "type": "file", "name": "a", "content": "x" }), "/type"),
            (json!({ "type": "document", "name": "a", "value": "x" }), "/value"),
            (json!({ "type": "document", "name": "a", "content": 1 }), "/content"),
            (json!({ "type": "document", "name": "a", "content": "x", "more": 1 }), "/more"),
            (both, "/value"),
            (document("", "x"), "/name"),
            (document("a/b", "x"), "/name"),
            (document("a\u{202e}b", "x"), "/name"),
            (document(&"a".repeat(256), "x"), "/name"),
            (document("a", ""), "/content"),
            (document("a", "x\0y"), "/content"),
            (secret("aiybiz.agent-auth-token", "x"), "/name"),
            (secret("a", ""), "/value"),
        ] {
            let refused = cleo.post(&path, body.clone()).await.problem(400, "invalid_field");
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
        }
        cleo.post(&path, larger).await.problem(413, "content_too_large");
        cleo.post(&path, secret("a", &long)).await.problem(413, "content_too_large");
        assert_eq!(stored(&platform, &voice.session).await, []);
        cleo.post(&path, large).await.created();

        // A secret is asked for by its name, so there is one of it.
        let twice = join_all((0..4).map(|_| cleo.post(&path, secret("once", "x")))).await;
        let (made, refused): (Vec<_>, Vec<_>) = twice.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), 1);
        for answer in refused {
            answer.problem(409, "shared_item_exists");
        }
        // Also many at once do not get past the bound; two are there.
        let many = join_all((0..60).map(|_| cleo.post(&path, document("again", "x")))).await;
        let (made, refused): (Vec<_>, Vec<_>) = many.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), 48);
        for answer in refused {
            answer.problem(409, "too_many_shared_items");
        }
        // Nothing was told of what was refused.
        let mut events = cleo.listens(&voice.session, Some(0)).await;
        cleo.ends(&voice.session).await;
        let told = events.rest().await.iter().filter(|heard| heard.kind == "shared_item");
        assert_eq!(told.count(), 50);
        events.without_gap();
    }

    async fn secrets_are_gone_when_the_session_ends(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, voice) = talk(&platform).await;
        let path = items(&voice.session);
        let brief = cleo.post(&path, document("brief.md", "Be brief.")).await.created();
        let key = cleo.post(&path, secret("API_KEY", "hush")).await.created();
        cleo.ends(&voice.session).await;
        let kept = stored(&platform, &voice.session).await;
        assert!(kept[0].1.is_some() && kept[1] == ("API_KEY".into(), None), "{kept:?}");
        // What was shared is still to be seen by who shared it, and no longer changed.
        assert_eq!(cleo.get(&path).await.ok()["data"], json!([key, brief]));
        read(&voice, "").await.problem(401, "unauthenticated");
        cleo.post(&path, secret("LATE", "x")).await.problem(409, "session_ended");
        cleo.delete(&format!("{path}/{}", brief.id())).await.problem(409, "session_ended");

        // Whoever shares while the session ends leaves nothing behind either.
        let agent = cleo.get(&format!("/sessions/{}", voice.session)).await.ok()["agentId"].clone();
        for _ in 0..10 {
            let open = json!({ "agentId": agent });
            let session = cleo.post("/sessions", open).await.created().id();
            let path = items(&session);
            let shares = join_all((0..4).map(|n| cleo.post(&path, secret(&n.to_string(), "x"))));
            let (answers, _) = tokio::join!(shares, cleo.ends(&session));
            for answer in answers.into_iter().filter(|answer| answer.status != 201) {
                answer.problem(409, "session_ended");
            }
            let kept = stored(&platform, &session).await;
            assert!(kept.iter().all(|(_, content)| content.is_none()), "{kept:?}");
        }
    }

    async fn a_component_finds_the_builders_secret_first_and_then_the_clients(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let setting = format!("/builder/agents/{agent}/config/signature");
        let (session, mut events) = cleo.starts(&agent).await;
        let mut signature = async || {
            cleo.says(&session, "Hi").await;
            let answer = events.reply().await;
            answer.lines().find_map(|line| line.strip_prefix("signature: ").map(str::to_owned))
        };
        assert_eq!(signature().await, None);
        cleo.post(&items(&session), document("signature", "no secret")).await.created();
        assert_eq!(signature().await, None);
        let path = items(&session);
        let shared = cleo.post(&path, secret("signature", "Cleo")).await.created().id();
        assert_eq!(signature().await.as_deref(), Some("4 bytes"));
        bea.put(&setting, json!({ "value": "Bea's own", "secret": true })).await.with(204);
        assert_eq!(signature().await.as_deref(), Some("9 bytes"));
        bea.delete(&setting).await.with(204);
        assert_eq!(signature().await.as_deref(), Some("4 bytes"));
        cleo.delete(&format!("{path}/{shared}")).await.with(204);
        assert_eq!(signature().await, None);

        // Another session of the same client has no part in it.
        cleo.post(&path, secret("signature", "Cleo")).await.created();
        let (other, mut events) = cleo.starts(&agent).await;
        cleo.says(&other, "Hi").await;
        assert!(!events.reply().await.contains("signature"));
    }

    async fn a_component_finds_documents_among_its_files(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let (session, mut events) = cleo.starts(&agent).await;
        let path = items(&session);
        let letter = cleo.post(&path, document("letter.txt", "Dear Sir,\nno.\n")).await.created();
        cleo.post(&path, document("letter.txt", "Dear Madam,\n")).await.created();
        cleo.post(&path, secret("hidden", "line\n")).await.created();
        let file = platform.file(&cleo, None, "letter.txt", "Dear all,\n").await;
        platform.share(&session, file).await;
        let mut counted = async || {
            cleo.says(&session, "What is there?").await;
            events.reply().await.lines().nth(1).map(str::to_owned)
        };
        assert_eq!(counted().await.as_deref(), Some("3 files, 36 bytes, 4 lines"));
        // Each under a path of its own, all where shared things lie.
        let log = bea.receipts(&agent, &session, 2).await[1]["log"].clone();
        let read = log.as_array().expect("a list").iter().filter(|entry| entry["message"] == "file read");
        let paths: std::collections::BTreeSet<_> = read.map(|entry| entry["fields"]["path"].to_string()).collect();
        assert!(paths.len() == 3 && paths.iter().all(|path| path.starts_with("\"shared/letter")), "{paths:?}");
        cleo.delete(&format!("{path}/{}", letter.id())).await.with(204);
        assert_eq!(counted().await.as_deref(), Some("2 files, 22 bytes, 2 lines"));
    }

    async fn what_a_component_remembers_is_gone_after_its_last_event(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let opal = platform.operator("Opal").await;
        let agent = bea.publish("Librarian", guests::LIBRARIAN).await;
        let (stays, mut events) = cleo.starts(&agent).await;
        cleo.says(&stays, "Hi").await;
        events.reply().await;
        for (calls, outcome) in [(json!(null), "ok"), (json!(0), "budget")] {
            let (session, mut events) = cleo.starts(&agent).await;
            cleo.says(&session, "Hi").await;
            events.reply().await;
            bea.receipts(&agent, &session, 2).await;
            assert_eq!(remembered(&platform, &session).await, 2);
            // The last event may fail; it is the last all the same.
            let limits = format!("/admin/agents/{agent}/limits");
            opal.put(&limits, json!({ "hostCalls": calls })).await.ok();
            cleo.ends(&session).await;
            let last = bea.receipts(&agent, &session, 3).await.remove(2);
            assert_eq!(last["outcome"], outcome, "{last}");
            if outcome == "ok" {
                // It still had it then.
                assert_eq!(last["log"][0]["fields"]["messages"], "1");
            }
            assert_eq!(remembered(&platform, &session).await, 0);
        }
        assert_eq!(remembered(&platform, &stays).await, 2);
    }
}

/// How many values the session's component has stored.
async fn remembered(platform: &Platform, session: &str) -> i64 {
    let session: aiybiz_host::id::SessionId = session.parse().expect("an id");
    let mut tx = platform.host.db.look().await.expect("a connection");
    let sql = "SELECT COUNT(*) FROM agent_state WHERE session_id = $1";
    let (count,): (i64,) = tx.query(sql).bind(session).one().await.expect("a number");
    count
}
