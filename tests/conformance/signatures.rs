//! The Standard Webhooks and Svix libraries, of npm and of PyPI, verify what the
//! platform signs, refuse it when a byte is another, and have the same idea of time.

use super::{node, python, start};
use crate::harness::{
    Engine, Person, Platform, Value, json, run,
    webhook::{Request, WebhookAgent},
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::io::AsyncWriteExt;

const LIBRARIES: [&str; 4] =
    ["PyPI standardwebhooks", "PyPI svix", "npm standardwebhooks", "npm svix"];

const ACCEPTED: &str = "accepted";
const NOT_SIGNED: &str = "No matching signature found";
const OLD: &str = "Message timestamp too old";
const NEW: &str = "Message timestamp too new";

/// Something a receiver may be shown, and what it should say.
struct Case {
    what: String,
    secret: String,
    /// The receiver's clock, in seconds.
    now: i64,
    headers: BTreeMap<&'static str, String>,
    body: String,
    verdict: &'static str,
}

impl Case {
    /// A delivery as it came, shown when it was sent.
    fn of(what: &str, delivery: &Request, secret: &str, verdict: &'static str) -> Self {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        Self {
            what: what.to_owned(),
            secret: secret.to_owned(),
            now: delivery.header("webhook-timestamp").parse().expect("seconds"),
            headers: names.map(|name| (name, delivery.header(name).to_owned())).into(),
            body: delivery.raw.clone(),
            verdict,
        }
    }

    fn later(mut self, seconds: i64) -> Self {
        self.now += seconds;
        self
    }
}

#[test]
fn others_verify_what_is_signed() {
    run(async {
        let platform = Platform::start(Engine::Sqlite).await;
        let (bea, cleo) = (platform.builder("Bea").await, platform.person("Cleo").await);
        let hook = WebhookAgent::echo(&platform.url).await;
        let (agent, first) = bea.publish_webhook("Echo", &hook.address, "standard").await;
        let (_, stranger) = bea.publish_webhook("Other", &hook.address, "standard").await;
        let (session, mut events) = cleo.starts(&agent).await;
        let mut says = async |what: &str| {
            cleo.says(&session, what).await;
            events.reply().await;
            hook.seen().pop().expect("it was delivered")
        };
        let message = says("Grüße, ☕ und 🦉\n\"zitiert\"").await;
        let second = rotate(&bea, &agent).await;
        let during = says("during the rotation").await;
        platform.clock.advance(Duration::from_hours(25));
        let after = says("after it").await;

        let mut cases = vec![
            Case::of("a start", &hook.seen()[0], &first, ACCEPTED),
            Case::of("a message", &message, &first, ACCEPTED),
            Case::of("with another's secret", &message, &stranger, NOT_SIGNED),
            Case::of("too early for the second", &message, &second, NOT_SIGNED),
            Case::of("the first in the rotation", &during, &first, ACCEPTED),
            Case::of("the second in the rotation", &during, &second, ACCEPTED),
            Case::of("another's in the rotation", &during, &stranger, NOT_SIGNED),
            Case::of("the first after it", &after, &first, NOT_SIGNED),
            Case::of("the second after it", &after, &second, ACCEPTED),
        ];
        for (delivery, secret) in [(&message, &first), (&during, &first), (&during, &second)] {
            for (late, verdict) in
                [(299, ACCEPTED), (-299, ACCEPTED), (301, OLD), (-301, NEW), (90_000, OLD)]
            {
                let what = format!("{late} s later");
                cases.push(Case::of(&what, delivery, secret, verdict).later(late));
            }
        }
        cases.extend(changed(&message, &first));
        judge(&cases).await;
    });
}

async fn rotate(bea: &Person, agent: &str) -> String {
    let path = format!("/builder/agents/{agent}/webhook-secret/rotate");
    let rotated = bea.post(&path, json!({})).await.ok();
    rotated["signingSecret"].as_str().expect("a secret").to_owned()
}

/// The delivery once for each of its bytes, with that one changed.
fn changed(delivery: &Request, secret: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for at in 0..delivery.raw.len() {
        let mut case = Case::of(&format!("byte {at}"), delivery, secret, NOT_SIGNED);
        case.body = flipped(&case.body, at);
        cases.push(case);
    }
    for name in ["webhook-id", "webhook-timestamp"] {
        for at in 0..delivery.header(name).len() {
            let mut case = Case::of(&format!("{name} {at}"), delivery, secret, NOT_SIGNED);
            let value = flipped(delivery.header(name), at);
            // So that it is not refused for its age.
            if name == "webhook-timestamp" {
                case.now = value.parse().expect("seconds");
            }
            case.headers.insert(name, value);
            cases.push(case);
        }
    }
    // The last character but the padding has bits that mean nothing.
    for at in "v1,".len().."v1,".len() + 42 {
        let mut case = Case::of(&format!("signature {at}"), delivery, secret, NOT_SIGNED);
        let signature = delivery.header("webhook-signature");
        let other = if &signature[at..=at] == "A" { "B" } else { "A" };
        let value = format!("{}{other}{}", &signature[..at], &signature[at + 1..]);
        case.headers.insert("webhook-signature", value);
        cases.push(case);
    }
    cases
}

/// With the lowest bit of a byte changed, which leaves UTF-8 what it is.
fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= 1;
    String::from_utf8(bytes).expect("UTF-8 still")
}

async fn judge(cases: &[Case]) {
    let shown: Vec<_> = cases.iter().map(shown).collect();
    let mut all = verdicts(node().into(), "verify.mjs", &shown).await;
    all.extend(verdicts(python(), "verify.py", &shown).await);
    assert!(all.keys().eq(LIBRARIES), "{:?}", all.keys());
    for (library, verdicts) in all {
        assert_eq!(verdicts.len(), cases.len());
        for (case, verdict) in cases.iter().zip(verdicts) {
            assert_eq!(verdict, case.verdict, "{library}: {}", case.what);
        }
    }
}

fn shown(case: &Case) -> Value {
    let Case { secret, now, headers, body, .. } = case;
    json!({ "secret": secret, "now": now, "headers": headers, "body": body })
}

async fn verdicts(
    program: PathBuf,
    script: &str,
    shown: &[Value],
) -> BTreeMap<String, Vec<String>> {
    let mut child = start(program, script, &[]);
    let mut input = child.stdin.take().expect("a pipe");
    let shown = serde_json::to_vec(shown).expect("JSON");
    input.write_all(&shown).await.expect("it reads");
    drop(input);
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "{script} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("verdicts")
}
