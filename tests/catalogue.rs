//! The catalogue: what is listed, who finds it how, and how many may use it.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, guests, json, people::Id, voice::NOBODY},
};
use futures::future::join_all;

/// A template with these fields beside the necessary ones.
async fn draft(builder: &Person, name: &str, more: Value) -> String {
    let mut body = json!({
        "name": name, "description": "for tests", "delivery": "webhook",
        "webhookUrl": NOBODY, "priceCentsPerHour": 1000,
    });
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    builder.post("/builder/agents", body).await.created().id()
}

async fn published(builder: &Person, name: &str, more: Value) -> String {
    let agent = draft(builder, name, more).await;
    builder.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
    agent
}

fn names(page: &Value) -> Vec<String> {
    let data = page["data"].as_array().expect("a list");
    data.iter().map(|agent| agent["name"].as_str().expect("a name").to_owned()).collect()
}

/// The names of what a client finds.
async fn finds(client: &Person, filter: &str, value: &str) -> Vec<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.append_pair(filter, value).finish();
    names(&client.get(&format!("/agents?{query}")).await.ok())
}

both_engines! {
    async fn a_draft_is_its_owners_who_may_try_it(engine: Engine) {
        let platform = Platform::start(engine).await;
        let owner = platform.builder("Bea").await;
        let rival = platform.builder("Rival").await;
        let client = platform.person("Cleo").await;
        let agent = owner.component_agent("Echo").await;
        let open = json!({ "agentId": agent });
        owner.post("/sessions", open.clone()).await.problem(409, "no_active_component");
        owner.install(&agent, guests::ECHO).await;

        for person in [&client, &rival] {
            person.get(&format!("/agents/{agent}")).await.problem(404, "not_found");
            person.post("/sessions", open.clone()).await.problem(404, "not_found");
            assert_eq!(finds(person, "q", "Echo").await, [""; 0]);
        }
        let (session, mut events) = owner.starts(&agent).await;
        owner.says(&session, "try").await;
        assert_eq!(events.reply().await, "echo: try");

        owner.post(&format!("/builder/agents/{agent}/publish"), json!({})).await.ok();
        let listed = client.get(&format!("/agents/{agent}")).await.ok();
        assert_eq!(listed["status"], "active");
        assert_eq!(listed["builder"]["name"], "Bea");
        for own in
            ["webhookUrl", "retryPolicy", "activeVersion", "publishBlockers", "signingSecret"]
        {
            assert!(listed.get(own).is_none(), "{own} is its owner's business");
        }
        client.starts(&agent).await;
    }

    async fn what_cannot_run_cannot_be_published(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let component = builder.component_agent("Component").await;
        let webhook = draft(&builder, "Webhook", json!({ "webhookUrl": null })).await;
        for (agent, blocker) in [(&component, "no_active_component"), (&webhook, "no_webhook_url")]
        {
            let path = format!("/builder/agents/{agent}");
            builder.post(&format!("{path}/publish"), json!({})).await.problem(409, blocker);
            let shown = builder.get(&path).await.ok();
            assert_eq!(shown["publishBlockers"], json!([blocker]));
            assert_eq!(shown["status"], "draft");
        }
        builder.install(&component, guests::ECHO).await;
        builder
            .patch(&format!("/builder/agents/{webhook}"), json!({ "webhookUrl": NOBODY }))
            .await
            .ok();
        for agent in [&component, &webhook] {
            let path = format!("/builder/agents/{agent}");
            for _ in 0..2 {
                let shown = builder.post(&format!("{path}/publish"), json!({})).await.ok();
                assert_eq!(shown["status"], "active");
                assert_eq!(shown["publishBlockers"], json!([]));
            }
        }
    }

    async fn filters_find_the_text_as_it_stands(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let tag = |theme: &str, tool: &str| json!({ "themes": ["any", theme], "tools": [tool] });
        let described =
            json!({ "description": "Sorts a 100% of A_B and C:\\D", "themes": ["Law"] });
        published(&builder, "Plain", described).await;
        published(&builder, "Ärztin O'Hara", tag("Law and order", "say \"hi\"")).await;
        published(&builder, "Other", tag("50%", "a_b")).await;
        published(&builder, "Percent", tag("500", "axb")).await;
        published(&builder, "Slash", tag("a\\b", "ab")).await;
        draft(&builder, "Plain draft", json!({})).await;

        let nothing = [""; 0];
        for (filter, value, found) in [
            ("q", "plain", &["Plain"][..]),
            ("q", "PLAIN", &["Plain"]),
            ("q", "100%", &["Plain"]),
            ("q", "1%0", &nothing),
            ("q", "a_b", &["Plain"]),
            ("q", "c:\\d", &["Plain"]),
            ("q", "\\", &["Plain"]),
            ("q", "'", &["Ärztin O'Hara"]),
            ("q", "Ärztin", &["Ärztin O'Hara"]),
            ("q", "'; DROP TABLE agents; --", &nothing),
            ("q", "for tests", &["Slash", "Percent", "Other", "Ärztin O'Hara"]),
            ("theme", "law", &["Plain"]),
            ("theme", "LAW AND ORDER", &["Ärztin O'Hara"]),
            ("theme", "50%", &["Other"]),
            ("theme", "500", &["Percent"]),
            ("theme", "a\\b", &["Slash"]),
            ("theme", "an", &nothing),
            ("theme", "any\", \"50%", &nothing),
            ("theme", "any\",\"50%", &nothing),
            ("theme", "", &nothing),
            ("tool", "a_b", &["Other"]),
            ("tool", "say \"hi\"", &["Ärztin O'Hara"]),
            ("tool", "\"", &nothing),
            ("tool", "%", &nothing),
        ] {
            assert_eq!(finds(&client, filter, value).await, found, "{filter}={value}");
        }
        let both = client.get("/agents?q=for&theme=any&tool=ab").await.ok();
        assert_eq!(names(&both), ["Slash"], "filters narrow each other");
    }

    async fn pages_show_everything_once_newest_first(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let mut expected = Vec::new();
        for n in 0..6 {
            expected.push(published(&builder, &format!("Agent {n}"), json!({})).await);
        }
        draft(&builder, "Draft", json!({})).await;
        expected.reverse();
        for limit in [1, 2, 3, 4, 6, 7, 200] {
            let (mut walked, mut pages) = (Vec::new(), 0);
            let mut path = format!("/agents?limit={limit}");
            loop {
                let page = client.get(&path).await.ok();
                let data = page["data"].as_array().expect("a list");
                assert!(data.len() <= limit);
                walked.extend(data.iter().map(Id::id));
                pages += 1;
                let Some(cursor) = page["nextCursor"].as_str() else { break };
                path = format!("/agents?limit={limit}&cursor={cursor}");
            }
            assert_eq!(walked, expected, "limit {limit}");
            assert_eq!(pages, expected.len().div_ceil(limit), "no empty page at the end");
        }
    }

    async fn a_change_touches_what_it_names(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let all = json!({
            "logoEmoji": "🦉", "themes": ["a"], "tools": ["b"], "capabilities": ["c"],
            "maxSessions": 3, "retryPolicy": "standard",
        });
        let agent = published(&builder, "Owl", all).await;
        let path = format!("/builder/agents/{agent}");
        let mut expected = builder.get(&path).await.ok();
        for (change, field, value) in [
            (json!({}), "name", json!("Owl")),
            (json!({ "name": " Eagle " }), "name", json!("Eagle")),
            (json!({ "maxSessions": null }), "maxSessions", Value::Null),
            (json!({ "logoEmoji": null }), "logoEmoji", Value::Null),
            (json!({ "themes": [] }), "themes", json!([])),
            (json!({ "priceCentsPerHour": 0 }), "priceCentsPerHour", json!(0)),
            (json!({ "retryPolicy": "none" }), "retryPolicy", json!("none")),
        ] {
            let changed = builder.patch(&path, change).await.ok();
            expected[field] = value;
            assert_eq!(changed, expected);
            assert_eq!(builder.get(&path).await.ok(), expected);
        }
        // What must be there cannot be taken away, and how it is delivered stays.
        for field in
            ["name", "description", "priceCentsPerHour", "themes", "retryPolicy", "delivery"]
        {
            let mut change = json!({});
            change[field] = Value::Null;
            let problem = builder.patch(&path, change).await.problem(400, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
        }
        let no_address = json!({ "webhookUrl": null });
        builder.patch(&path, no_address.clone()).await.problem(409, "agent_published");
        assert_eq!(builder.get(&path).await.ok(), expected);
        assert_eq!(client.get(&format!("/agents/{agent}")).await.ok()["name"], "Eagle");
        builder.post(&format!("{path}/unpublish"), json!({})).await.ok();
        let changed = builder.patch(&path, no_address).await.ok();
        assert_eq!(changed["publishBlockers"], json!(["no_webhook_url"]));
    }

    async fn an_agent_has_as_many_sessions_as_it_has_places(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let agent = published(&builder, "Three", json!({ "maxSessions": 3 })).await;
        let open = json!({ "agentId": agent });
        let answers = join_all((0..20).map(|_| client.post("/sessions", open.clone()))).await;
        let (opened, full): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
        assert_eq!(opened.len(), 3);
        for answer in full {
            answer.problem(409, "agent_full");
        }
        assert_eq!(client.get("/sessions").await.ok()["data"].as_array().map(Vec::len), Some(3));

        // A place is free again when a session ends; more places help at once.
        client.ends(&opened[0].body.id()).await;
        client.post("/sessions", open.clone()).await.created();
        client.post("/sessions", open.clone()).await.problem(409, "agent_full");
        builder
            .patch(&format!("/builder/agents/{agent}"), json!({ "maxSessions": null }))
            .await
            .ok();
        client.post("/sessions", open).await.created();
    }

    async fn an_agent_is_deleted_or_rented_but_never_both(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        for n in 0..15 {
            let agent = published(&builder, &format!("Agent {n}"), json!({})).await;
            let path = format!("/builder/agents/{agent}");
            let config = format!("{path}/config/a");
            let (opened, set, deleted) = tokio::join!(
                client.post("/sessions", json!({ "agentId": agent })),
                builder.put(&config, json!({ "value": "b" })),
                builder.delete(&path),
            );
            assert!([204, 404].contains(&set.status), "{}", set.text);
            match opened.status {
                201 => deleted.problem(409, "sessions_running"),
                _ => {
                    deleted.with(204);
                    opened.problem(404, "not_found")
                }
            };
        }
    }

    async fn taking_an_agent_off_the_list_ends_no_session(engine: Engine) {
        let platform = Platform::start(engine).await;
        let builder = platform.builder("Bea").await;
        let client = platform.person("Cleo").await;
        let agent = builder.publish("Echo", guests::ECHO).await;
        let (session, mut events) = client.starts(&agent).await;
        let path = format!("/builder/agents/{agent}");
        for _ in 0..2 {
            let shown = builder.post(&format!("{path}/unpublish"), json!({})).await.ok();
            assert_eq!(shown["status"], "draft");
        }
        client.post("/sessions", json!({ "agentId": agent })).await.problem(404, "not_found");
        client.get(&format!("/agents/{agent}")).await.problem(404, "not_found");
        client.says(&session, "still there?").await;
        assert_eq!(events.reply().await, "echo: still there?");
    }
}
