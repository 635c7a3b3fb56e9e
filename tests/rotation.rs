//! The operator changes the secret key: what was sealed and given out before goes on
//! to work, and after `aiybiz reseal` the key before is needed no more.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Place, Value, guests, json,
        process::{Process, command},
        webhook::WebhookAgent,
    },
};
use std::{os::unix::fs::MetadataExt, process::Output};

const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";
const VALUE: &str = "the value of a setting";

/// More than one transaction's worth.
const SETTINGS: usize = 60;

fn serve(place: &Place, keys: [&str; 2]) -> Process {
    Process::serve_in(place, keys_of(keys))
}

fn reseal(place: &Place, keys: [&str; 2]) -> Output {
    command(place).envs(keys_of(keys)).arg("reseal").output().expect("the program")
}

fn keys_of([current, previous]: [&str; 2]) -> Vec<(&'static str, String)> {
    let mut keys = vec![("AIYBIZ_SECRET_KEY", current.to_owned())];
    if !previous.is_empty() {
        keys.push(("AIYBIZ_PREVIOUS_SECRET_KEYS", previous.to_owned()));
    }
    keys
}

#[track_caller]
fn said(output: &Output, status: i32, what: &str) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(what), "{text}");
}

async fn fill(bea: &Person, agent: &str) {
    for n in 0..SETTINGS {
        let path = format!("/builder/agents/{agent}/config/key-{n}");
        bea.put(&path, json!({ "value": VALUE })).await.with(204);
    }
}

/// The settings that can be read; none when they cannot.
async fn settings(bea: &Person, agent: &str) -> Option<usize> {
    let answer = bea.get(&format!("/builder/agents/{agent}/config")).await;
    let data = answer.body["data"].as_array().filter(|_| answer.status == 200)?;
    assert!(data.iter().all(|setting| setting["value"] == VALUE), "{data:?}");
    Some(data.len())
}

both_engines! {
    async fn a_new_key_takes_over_and_the_old_one_can_go(engine: Engine) {
        let place = Place::new(engine).await;
        let first = serve(&place, [OLD, ""]);
        let bea = Person::sign_up(&first.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let hook = WebhookAgent::echo(&first.url).await;
        let (agent, secret) = bea.publish_webhook("Hook", &hook.address, "standard").await;
        let other = bea.component_agent("Other").await;
        fill(&bea, &agent).await;
        fill(&bea, &other).await;
        let cleo = Person::sign_up(&first.url, "cleo").await;
        let (session, _) = cleo.starts(&agent).await;
        let document = json!({ "type": "document", "name": "note", "content": VALUE });
        let shared = format!("/sessions/{session}/shared-items");
        cleo.post(&shared, document).await.created();
        let token = hook.seen()[0].body["agentAuthToken"].as_str().expect("a token").to_owned();
        first.kill();

        // With both: everything goes on, and the token of a running session holds.
        let second = serve(&place, [NEW, OLD]);
        let (bea, cleo) = (bea.at(&second.url), cleo.at(&second.url));
        hook.platform_is_at(&second.url);
        assert_eq!(settings(&bea, &agent).await, Some(SETTINGS));
        let mut events = cleo.listens(&session, Some(0)).await;
        cleo.says(&session, "hello").await;
        assert_eq!(events.reply().await, "echo: hello");
        assert!(hook.seen().iter().all(|request| request.is_signed_with(&secret)));
        let given = hook.seen().last().expect("a request").body["agentAuthToken"].clone();
        assert_ne!(given, Value::from(token.as_str()), "what is made, the new key makes");
        assert_eq!(status_with(&second.url, &session, &token).await, 201);

        // While it serves; what is written meanwhile needs nothing.
        bea.put(&format!("/builder/agents/{agent}/config/key-0"), json!({ "value": VALUE }))
            .await
            .with(204);
        said(&reseal(&place, [NEW, OLD]), 0, &format!("{} values", 2 * SETTINGS + 1));
        said(&reseal(&place, [NEW, OLD]), 0, "0 values");
        assert_eq!(settings(&bea, &agent).await, Some(SETTINGS));
        second.kill();

        let third = serve(&place, [NEW, ""]);
        let (bea, cleo) = (bea.at(&third.url), cleo.at(&third.url));
        hook.platform_is_at(&third.url);
        assert_eq!(settings(&bea, &agent).await, Some(SETTINGS));
        assert_eq!(settings(&bea, &other).await, Some(SETTINGS));
        assert_eq!(cleo.get(&shared).await.ok()["data"][0]["content"], VALUE);
        assert_eq!(status_with(&third.url, &session, &token).await, 401);
        let mut events = cleo.listens(&session, None).await;
        cleo.says(&session, "still there?").await;
        assert_eq!(events.reply().await, "echo: still there?");
        assert!(hook.seen().last().expect("a request").is_signed_with(&secret));
    }

    async fn what_no_given_key_opens_is_named_and_the_rest_is_done(engine: Engine) {
        let place = Place::new(engine).await;
        let first = serve(&place, [OLD, ""]);
        let bea = Person::sign_up(&first.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let (agent, other) = (bea.component_agent("A").await, bea.component_agent("B").await);
        fill(&bea, &agent).await;
        first.kill();
        let second = serve(&place, [NEW, ""]);
        let bea = bea.at(&second.url);
        // Nothing is shown wrongly; what is new works.
        assert_eq!(settings(&bea, &agent).await, None);
        fill(&bea, &other).await;
        assert_eq!(settings(&bea, &other).await, Some(SETTINGS));
        second.kill();
        let third = &"03".repeat(32);
        let half = reseal(&place, [third, NEW]);
        said(&half, 1, &format!("{SETTINGS} values"));
        said(&half, 1, &format!("{SETTINGS} cannot be opened"));
        said(&half, 1, &format!("setting/{agent}/key-0"));
        // The key turns up again.
        said(&reseal(&place, [third, OLD]), 0, &format!("{SETTINGS} values"));
        let fourth = serve(&place, [third, ""]);
        assert_eq!(settings(&bea.at(&fourth.url), &agent).await, Some(SETTINGS));
    }

    /// Two at once, and one that is killed, do no harm.
    async fn resealing_can_be_killed_and_repeated(engine: Engine) {
        let place = Place::new(engine).await;
        let server = serve(&place, [OLD, ""]);
        let bea = Person::sign_up(&server.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let mut agents = Vec::new();
        for n in 0..5 {
            let agent = bea.component_agent(&format!("A{n}")).await;
            fill(&bea, &agent).await;
            agents.push(agent);
        }
        server.kill();
        for millis in [5, 15, 30, 60] {
            let mut running =
                command(&place).envs(keys_of([NEW, OLD])).arg("reseal").spawn().expect("it runs");
            // A moment, whichever: wherever it is then, it is stopped there.
            std::thread::sleep(std::time::Duration::from_millis(millis));
            let _ = running.kill();
            running.wait().expect("it is dead");
        }
        let beside = command(&place).envs(keys_of([NEW, OLD])).arg("reseal").spawn();
        said(&reseal(&place, [NEW, OLD]), 0, "values");
        assert!(beside.and_then(|mut child| child.wait()).is_ok_and(|status| status.success()));
        said(&reseal(&place, [NEW, ""]), 0, "0 values");
        let server = serve(&place, [NEW, ""]);
        for agent in agents {
            assert_eq!(settings(&bea.at(&server.url), &agent).await, Some(SETTINGS));
        }
    }
}

async fn status_with(url: &str, session: &str, token: &str) -> u16 {
    let call = Person::nobody(url).http.post(format!("{url}/agent/{session}/message"));
    let call = call.bearer_auth(token).json(&json!({ "content": "of my own" }));
    call.send().await.expect("an answer").status().as_u16()
}

/// Compiled components are sealed with the key too: those of a key before are taken
/// and sealed anew, those of a key that is gone are compiled again.
#[test]
fn compiled_components_outlive_their_key() {
    crate::harness::run(async {
        let place = Place::new(Engine::Sqlite).await;
        let server = serve(&place, [OLD, ""]);
        let bea = Person::sign_up(&server.url, "bea").await;
        bea.becomes_builder("Bea").await;
        let agent = bea.publish("Echo", guests::ECHO).await;
        let cleo = Person::sign_up(&server.url, "cleo").await;
        let (code, seal) = compiled(&place);
        server.kill();
        let third = "03".repeat(32);
        let mut seals = vec![seal];
        for (keys, same) in [([NEW, OLD], true), ([NEW, ""], true), ([&third, ""], false)] {
            let server = serve(&place, keys);
            let cleo = cleo.at(&server.url);
            let (session, mut events) = cleo.starts(&agent).await;
            cleo.says(&session, "hello").await;
            assert_eq!(events.reply().await, "echo: hello");
            let (now, seal) = compiled(&place);
            assert_eq!(now == code, same, "{keys:?}");
            seals.push(seal);
            server.kill();
        }
        assert!(seals[0] != seals[1] && seals[1] == seals[2] && seals[2] != seals[3]);
    });
}

/// Which file the machine code is in, and its seal.
fn compiled(place: &Place) -> (u64, Vec<u8>) {
    let folder = place.folder.path().join("data/components");
    let mut files = std::fs::read_dir(folder).expect("a folder").flatten();
    let code = files.find(|file| file.path().extension().is_some_and(|kind| kind == "cwasm"));
    let code = code.expect("a compiled component");
    let seal = std::fs::read(code.path().with_extension("seal")).expect("a seal");
    (code.metadata().expect("a file").ino(), seal)
}
