//! The agent's routes with its token in the path, for those who can send no header; and
//! how every form of the token opens every route of its session, and nothing else.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Platform, Value, json,
        people::{Answer, send},
        process::Process,
        socket::{self, Socket},
        voice::{NOBODY, Voice},
        webhook::{Reply, WebhookAgent},
    },
};
use reqwest::{Method, RequestBuilder};

/// Every route of the agent beside the socket: its method, its path after the session's
/// prefix, a good body, and what it answers.
fn routes(session: &str) -> Vec<(Method, String, Option<Value>, u16)> {
    let (post, get, put) = (Method::POST, Method::GET, Method::PUT);
    let content = json!({ "content": "hello" });
    vec![
        (post.clone(), format!("/agent/{session}/auth"), None, 200),
        (post.clone(), format!("/agent/{session}/message"), Some(content), 201),
        (post.clone(), format!("/agent/{session}/typing"), None, 204),
        (get.clone(), format!("/agent/sessions/{session}/messages"), None, 200),
        (get, format!("/agent/sessions/{session}/shared-items"), None, 200),
        (
            post,
            format!("/agent/sessions/{session}/activate"),
            Some(json!({ "capabilities": ["llm"] })),
            200,
        ),
        (put, format!("/agent/sessions/{session}/cron-jobs"), Some(json!({ "jobs": [] })), 200),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Bearer,
    Header,
    Path,
}

const FORMS: [Form; 3] = [Form::Bearer, Form::Header, Form::Path];

async fn call(
    voice: &Voice,
    form: Form,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let call = match form {
        Form::Bearer => voice.bare(method, path).bearer_auth(token),
        Form::Header => voice.bare(method, path).header("x-agent-token", token),
        Form::Path => voice.bare(method, &format!("/t/{token}{path}")),
    };
    send(match body {
        Some(body) => call.json(&body),
        None => call,
    })
    .await
}

/// Asks for a socket with the token in this form; the status when it is refused.
async fn knock(voice: &Voice, platform: &Platform, form: Form, token: &str) -> Result<Socket, u16> {
    let session = &voice.session;
    let plain = format!("{}/agent/ws?sessionId={session}", platform.url.replacen("http", "ws", 1));
    let mut request = match form {
        Form::Path => socket::request(&socket::address(&platform.url, session, token)),
        Form::Bearer | Form::Header => socket::request(&plain),
    };
    let (name, value) = match form {
        Form::Path => ("x-other", String::new()),
        Form::Bearer => ("authorization", format!("Bearer {token}")),
        Form::Header => ("x-agent-token", token.to_owned()),
    };
    request.headers_mut().insert(name, value.parse().expect("a header"));
    Socket::try_open(request).await
}

both_engines! {
    async fn every_form_of_the_token_opens_every_route_of_its_session_alone(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
        let (mine, _mine) = cleo.opens(&agent).await;
        let (other, _other) = cleo.opens(&agent).await;
        let (voice, stranger) = (Voice::of(&platform, &mine), Voice::of(&platform, &other).token);
        for form in FORMS {
            for (method, path, body, status) in routes(&mine) {
                for wrong in [stranger.as_str(), "aat_", "x", &cleo.token] {
                    let refused = call(&voice, form, wrong, method.clone(), &path, body.clone()).await;
                    refused.problem(401, "unauthenticated");
                }
                let answer = call(&voice, form, &voice.token, method, &path, body).await;
                assert_eq!(answer.status, status, "{form:?} {path}: {}", answer.text);
            }
            for wrong in [stranger.as_str(), "aat_", "x"] {
                assert_eq!(knock(&voice, &platform, form, wrong).await.err(), Some(401), "{form:?}");
            }
            knock(&voice, &platform, form, &voice.token).await.expect("it is let in").settle().await;
        }
        // Without any, and with one that opens nothing beside one that would.
        for (method, path, body, _) in routes(&mine) {
            let with = |call: RequestBuilder| match &body {
                Some(body) => send(call.json(body)),
                None => send(call),
            };
            with(voice.bare(method.clone(), &path)).await.problem(401, "unauthenticated");
            let both = voice.bare(method, &format!("/t/{stranger}{path}"));
            let both = both.bearer_auth(&voice.token).header("x-agent-token", &voice.token);
            with(both).await.problem(401, "unauthenticated");
        }
        // Dead when the session is over.
        cleo.ends(&mine).await;
        for form in FORMS {
            for (method, path, body, _) in routes(&mine) {
                let late = call(&voice, form, &voice.token, method, &path, body).await;
                late.problem(401, "unauthenticated");
            }
            assert_eq!(knock(&voice, &platform, form, &voice.token).await.err(), Some(401));
        }
    }

    async fn a_token_in_the_path_leads_to_the_agents_routes_only(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let (agent, _) = bea.publish_webhook("Voice", NOBODY, "none").await;
        let (session, _events) = cleo.opens(&agent).await;
        let voice = Voice::of(&platform, &session);
        let t = &voice.token;
        for path in [
            "/t".into(), "/t/".into(), format!("/t/{t}"), format!("/t/{t}/"),
            format!("/t/{}/me", cleo.token), format!("/t/{}/sessions", cleo.token),
            format!("/t/{t}/t/{t}/agent/sessions/{session}/messages"),
            format!("/t/{t}//agent/sessions/{session}/messages"),
            format!("/t/{t}/agent/nothing"), format!("/t/{t}/healthz"),
        ] {
            let problem = send(voice.bare(Method::GET, &path)).await;
            assert!(!problem.text.contains(t), "{}", problem.text);
            problem.problem(404, "not_found");
        }
        let path = format!("/t/{t}/agent/{session}/message");
        send(voice.bare(Method::GET, &path)).await.problem(405, "method_not_allowed");
        // A page of the conversation, with its parameters.
        voice.says("one").await;
        voice.says("two").await;
        let path = format!("/t/{t}/agent/sessions/{session}/messages?limit=1");
        let page = send(voice.bare(Method::GET, &path)).await.ok();
        assert_eq!(page["data"][0]["content"], "two");
        assert!(page["nextCursor"].is_string());
        // No socket is asked for.
        let path = format!("/t/{t}/agent/ws?sessionId={session}");
        send(voice.bare(Method::GET, &path)).await.problem(400, "not_a_websocket");
    }

    /// Everything the real program writes at its most talkative, while it is called with
    /// tokens in paths in good ways and bad.
    async fn a_token_in_a_path_is_written_down_nowhere(engine: Engine) {
        let place = Place::new(engine).await;
        let log = place.folder.path().join("log");
        let process = Process::serve_telling(&place, "trace", &log);
        let bea = Person::sign_up(&process.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let hook = WebhookAgent::that(&process.url, |_| Reply::Status(200)).await;
        let (agent, _) = bea.publish_webhook("Hook", &hook.address, "none").await;
        let (session, mut events) = bea.starts(&agent).await;
        let token = hook.seen()[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
        let mut socket = Socket::open(&process.url, &session, &token).await;
        socket.says("hello").await;
        assert_eq!(events.reply().await, "hello");
        bea.says(&session, "hello?").await;
        assert_eq!(socket.told().await, "hello?");
        let nobody = Person::nobody(&process.url);
        for path in ["agent/ws", "agent/x/typing", "nothing", &format!("agent/{session}/auth")] {
            for method in [Method::GET, Method::POST] {
                send(nobody.request(method, &format!("/t/{token}/{path}?token={}", "x"))).await;
            }
        }
        assert_eq!(process.terminate().code(), Some(0));
        let written = std::fs::read(&log).expect("a log");
        let written = String::from_utf8_lossy(&written);
        assert!(written.contains(&session), "it did not tell much: {written}");
        // Neither whole nor cut short.
        for (n, line) in written.lines().enumerate() {
            assert!(!line.contains(&token[..20]), "line {n} of {}: {line}", log.display());
        }
    }
}
