//! Requests that are wrong as a whole: nobody asks, or for what is not there, or in
//! a state in which it cannot be done.

use super::world::{LISTS, NAMED, World, bodies};
use crate::{
    both_engines,
    harness::{Engine, Person, json, people::send},
};

/// All routes that only someone signed in may use: method, path.
fn closed() -> Vec<(&'static str, &'static str)> {
    let bodies = bodies().into_iter().map(|(method, path, _)| (method, path));
    let all = bodies.chain(NAMED).chain(LISTS.map(|path| ("GET", path)));
    let more = [("GET", "/me"), ("POST", "/auth/logout"), ("GET", "/builder")];
    all.chain(more).filter(|(_, path)| !["/auth/signup", "/auth/login"].contains(path)).collect()
}

both_engines! {
    async fn nobody_comes_in_without_a_good_token(engine: Engine) {
        let world = World::new(engine).await;
        let before = world.templates().await;
        let nobody = Person::nobody(&world.platform.url);
        let signed_out = world.platform.person("Out").await;
        signed_out.post("/auth/logout", json!({})).await.with(204);
        let token = &world.user.token;
        for (method, path) in closed() {
            // The token of an agent is no user's, nor the other way round.
            let other = if path.starts_with("/agent/") { token } else { &world.active.token };
            for header in [
                "",
                "Bearer",
                "Bearer x",
                &format!("Basic {token}"),
                &format!("Bearer {other}"),
                &format!("Bearer {}", signed_out.token),
                &format!("Bearer {}", "x".repeat(10_000)),
            ] {
                let what: String = format!("{method} {path}: {header}").chars().take(100).collect();
                let request = nobody.request(method.parse().expect("a method"), &world.path(path));
                let request = request.header("authorization", header);
                let request = request.json(&json!({ "agentAuthToken": "x" }));
                world.refuses(&what, request, 401, "unauthenticated").await;
            }
        }
        assert_eq!(world.templates().await, before);
    }

    async fn a_client_is_no_builder(engine: Engine) {
        let world = World::new(engine).await;
        let client = world.platform.person("Cleo").await;
        for (method, path) in closed() {
            if path.starts_with("/builder/") || (method, path) == ("PATCH", "/builder") {
                let request = client.request(method.parse().expect("a method"), &world.path(path));
                let what = format!("{method} {path}");
                world.refuses(&what, request.json(&json!({})), 403, "not_a_builder").await;
            }
        }
    }

    async fn what_has_no_such_name_is_not_there(engine: Engine) {
        let world = World::new(engine).await;
        let before = world.templates().await;
        let unknown = "01890000-0000-7000-8000-000000000000";
        let of_agents = [unknown, &world.others_agent, &world.active.session];
        let of_sessions = [unknown, &world.others_session, &world.agent];
        // The other's session is with this builder's agent.
        let of_builders = [unknown, &world.component, &world.agent];
        let none = ["x", "0", "-1", "%00", "%20", "'", "null", &format!("{unknown}0")];
        let bodies = bodies();
        let named = NAMED.iter().map(|(method, path)| (*method, *path, json!({})));
        for (method, template, body) in bodies.into_iter().chain(named) {
            let agents = template.contains("{agent}");
            if !agents && !template.contains("{active}") {
                continue;
            }
            // An agent is not even told which sessions there are.
            let of_an_agent = template.starts_with("/agent/");
            let (status, code) =
                if of_an_agent { (401, "unauthenticated") } else { (404, "not_found") };
            let others = match template {
                _ if agents => of_agents,
                _ if template.starts_with("/builder/sessions/") => of_builders,
                _ => of_sessions,
            };
            for id in others.iter().chain(&none) {
                let path = template.replace("{agent}", id).replace("{active}", id);
                let what = format!("{method} {path}");
                world.refuses(&what, world.json(method, &path, &body), status, code).await;
            }
        }
        for id in of_agents {
            let open = world.json("POST", "/sessions", json!({ "agentId": id }));
            world.refuses("open", open, 404, "not_found").await;
        }
        for version in ["0", "1", "-1", "x", "1.0", "99999999999999999999", "%00"] {
            let path = format!("/builder/agents/{{component}}/components/{version}");
            world.refuses(version, world.request("GET", &path), 404, "not_found").await;
            let activate = world.request("POST", &format!("{path}/activate"));
            world.refuses(version, activate, 404, "not_found").await;
        }
        // Not even text.
        world.refuses("%FF", world.request("GET", "/sessions/%FF"), 400, "bad_request").await;
        assert_eq!(world.templates().await, before);
    }

    async fn routes_and_methods_that_are_none(engine: Engine) {
        let world = World::new(engine).await;
        let none = ["/", "/nothing", "/sessions/", "/Sessions", "/agent", "/sessions/x/y/z"];
        for path in none {
            for method in ["GET", "POST", "DELETE", "PATCH"] {
                world.refuses(path, world.request(method, path), 404, "not_found").await;
            }
        }
        for (_, path) in closed() {
            for method in ["TRACE", "OPTIONS", "PROPFIND"] {
                let what = format!("{method} {path}");
                let request = world.request(method, path);
                world.refuses(&what, request, 405, "method_not_allowed").await;
            }
        }
        let answer = send(world.request("DELETE", "/sessions")).await;
        let allowed = answer.headers["allow"].to_str().expect("text").to_owned();
        assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
        answer.problem(405, "method_not_allowed");
    }

    async fn pages_that_are_none(engine: Engine) {
        let world = World::new(engine).await;
        for list in LISTS {
            for (query, field) in [
                ("limit=0", "limit"),
                ("limit=201", "limit"),
                ("limit=-1", "limit"),
                ("limit=1.5", "limit"),
                ("limit=", "limit"),
                ("limit=99999999999999999999", "limit"),
                ("cursor=", "cursor"),
                ("cursor=x", "cursor"),
                ("cursor=99999999999999999999", "cursor"),
                ("limit=1&cursor=1.5", "cursor"),
            ] {
                let what = format!("{list}?{query}");
                world.refuses_field(&what, world.request("GET", &what), field).await;
            }
            for query in ["surprise=1", "limit=1&limit=2", "cursor=%00", "Limit=1"] {
                let what = format!("{list}?{query}");
                world.refuses(&what, world.request("GET", &what), 400, "invalid_query").await;
            }
        }
        for query in ["q=%00", "theme=a%00b", "tool=%00", "q=a&q=b"] {
            let what = format!("/agents?{query}");
            world.refuses(&what, world.request("GET", &what), 400, "invalid_query").await;
        }
        for (query, field) in [
            ("sessionId=x", "sessionId"),
            ("agentId={agent}", "agentId"),
            ("outcome=fine", "outcome"),
            ("outcome=", "outcome"),
            ("level=Info", "level"),
            ("level=fatal", "level"),
            ("from=yesterday", "from"),
            ("from=2026-08-20", "from"),
            ("to=2026-08-20T10:00:00", "to"),
            ("to=2026-08-20T10:00:00+02:00", "to"),
            ("to=1755680400", "to"),
            ("from=2026-08-21T00:00:00Z&to=2026-08-20T23:59:59%2B00:00", "to"),
        ] {
            for list in ["invocations", "logs"] {
                let what = format!("/builder/agents/{{agent}}/{list}?{query}");
                world.refuses_field(&what, world.request("GET", &what), field).await;
            }
        }
        for (query, field) in [("sessionId=x", "sessionId"), ("level=fatal", "level")] {
            let what = format!("/builder/agents/{{agent}}/logs/stream?{query}");
            world.refuses_field(&what, world.request("GET", &what), field).await;
        }
        let tail = world.request("GET", "/builder/agents/{agent}/logs/stream");
        let tail = tail.header("last-event-id", "7");
        world.refuses_field("Last-Event-ID", tail, "Last-Event-ID").await;
        let upload = world.request("POST", "/builder/agents/{component}/components?wait=2");
        let upload = upload.header("content-type", "application/wasm");
        world.refuses_field("wait", upload, "wait").await;
    }

    async fn messages_that_cannot_be_said(engine: Engine) {
        let world = World::new(engine).await;
        let path = "/sessions/{active}/messages";
        for content in ["", " ", "\n\t\r ", "\u{2003}\u{a0}", "\0", "a\0b"] {
            let say = world.json("POST", path, json!({ "content": content }));
            world.refuses_field(&format!("{content:?}"), say, "/content").await;
        }
        let most = 64 << 10;
        // Bytes are counted, not characters.
        for content in ["x".repeat(most + 1), "ü".repeat(most / 2 + 1), " ".repeat(most) + "x"] {
            let say = world.json("POST", path, json!({ "content": content }));
            let problem = world.refuses("too long", say, 413, "content_too_large").await;
            assert_eq!(problem["errors"][0]["pointer"], "/content");
        }
        let hello = json!({ "content": "hello" });
        let cannot = [(&world.ended, "session_ended"), (&world.provisioning, "session_not_active")];
        for (session, code) in cannot {
            let say = world.json("POST", &format!("/sessions/{session}/messages"), &hello);
            world.refuses(code, say, 409, code).await;
        }
        // The longest that may be said, and what looks odd but is text.
        let odd = "\u{1}\u{202e}\u{feff}'\"\\u0000</script>🦉\r\n\ndata: x";
        for content in ["x".repeat(most), odd.into()] {
            let said = world.user.says(&world.active.session, &content).await;
            assert_eq!(said["content"], content);
        }
        // Ending twice is no error.
        let again = world.user.ends(&world.ended).await;
        assert_eq!(again, world.user.get(&format!("/sessions/{}", world.ended)).await.ok());
    }

    async fn uploads_that_are_none(engine: Engine) {
        let world = World::new(engine).await;
        let path = "/builder/agents/{component}/components";
        for kind in ["", "application/json", "text/plain", "multipart/form-data; boundary=x"] {
            let upload = world.request("POST", path).header("content-type", kind).body("\0asm");
            world.refuses(kind, upload, 415, "not_wasm").await;
        }
        let webhook = world.request("POST", "/builder/agents/{agent}/components");
        let webhook = webhook.header("content-type", "application/wasm").body("\0asm");
        world.refuses("to a webhook", webhook, 409, "not_a_component_agent").await;
        let publish = world.request("POST", "/builder/agents/{component}/publish");
        world.refuses("publish", publish, 409, "no_active_component").await;
    }
}
