//! kill -9 before each thing that the platform says to its database or to Stripe while a
//! session ends and its builder is paid: it is settled once, and each lot is sent once.

use crate::harness::{
    Engine, Person, Place, Value, json, postgres,
    process::{Process, command},
    run,
    stripe::{SECRET, Stripe},
    tripwire::Steps,
    webhook::{Reply, WebhookAgent},
};
use rand::Rng;
use std::{
    process::Stdio,
    time::{Duration, Instant},
};
use url::Url;

/// More than ending a session and paying for it takes, with what the platform looks at
/// meanwhile; the last ones see it done.
const MOST: u64 = 80;

/// Kills at random moments, where steps cannot be counted.
const KILLS: u64 = 15;

const PATIENCE: Duration = Duration::from_secs(30);

struct Ground {
    place: Place,
    stripe: Stripe,
    steps: Steps,
    environment: Vec<(&'static str, String)>,
    process: Option<Process>,
    url: String,
    cleo: Person,
    bea: Person,
    agent: String,
    _hook: WebhookAgent,
}

impl Ground {
    async fn new(engine: Engine) -> Self {
        let (steps, stripe) = (Steps::default(), Stripe::start().await);
        let mut place = Place::new(engine).await;
        if engine == Engine::Postgres {
            let mut through = Url::parse(&place.database_url).expect("an URL");
            let port = through.port().expect("a port");
            let wire = steps.wire(([127, 0, 0, 1], port).into(), true).await;
            through.set_port(Some(wire.port())).expect("a port");
            place.database_url = through.to_string();
        }
        let server = stripe.url.trim_start_matches("http://").parse().expect("an address");
        let wire = steps.wire(server, false).await;
        let environment = vec![
            ("STRIPE_SECRET_KEY", "sk_test_platform".to_owned()),
            ("STRIPE_WEBHOOK_SECRET", SECRET.to_owned()),
            ("STRIPE_API_BASE", format!("http://{wire}")),
        ];
        let process = Process::serve_in(&place, environment.clone());
        let url = process.url.clone();
        stripe.tells(&url).await;
        let (cleo, bea) =
            (Person::penniless(&url, "Cleo").await, Person::penniless(&url, "Bea").await);
        bea.post("/builder", json!({ "displayName": "Bea" })).await.created();
        bea.post("/stripe/connect/onboard", json!({})).await.ok();
        let asked = stripe.requests().await;
        let link = asked.iter().find(|asked| asked["path"] == "/v1/account_links");
        let account = &link.expect("it was asked for")["params"]["account"];
        let object = json!({ "id": account, "object": "account", "payouts_enabled": true,
            "details_submitted": true, "capabilities": { "transfers": "active" } });
        stripe.emits("account.updated", object).await;
        for n in 0..3 {
            let body = json!({ "amountCents": 400_000 });
            let name = format!("pay-{n}");
            let begun = cleo.asks_as(&name, "/stripe/wallet/topup", body).await.ok();
            stripe.pays(begun["clientSecret"].as_str().expect("a secret"), "pm_card_visa").await;
        }
        let hook = WebhookAgent::that(&url, |_| Reply::Status(200)).await;
        until(async || bea.get("/builder/earnings").await.ok()["account"]["active"] == true).await;
        until(async || cleo.get("/wallet").await.ok()["balanceCents"] == 1_200_000).await;
        let (agent, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let process = Some(process);
        Self { place, stripe, steps, environment, process, url, cleo, bea, agent, _hook: hook }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it lives")
    }

    /// Dies, if it has not, and is there again.
    fn rises(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let again = Process::serve_again(&self.place, &self.url, self.environment.clone());
        self.process = Some(again);
    }

    async fn ends(&self, session: &str) -> Option<()> {
        let path = format!("/sessions/{session}/end");
        let request = self.cleo.request(reqwest::Method::POST, &path).json(&json!({}));
        request.send().await.ok()?.error_for_status().ok().map(drop)
    }

    /// What Stripe has sent for a session.
    async fn sent(&self, session: &str) -> Vec<i64> {
        let path = format!("/v1/transfers?limit=100&transfer_group=session_{session}");
        let found = self.stripe.get(&path).await;
        let rows = found["data"].as_array().expect("a list").iter();
        rows.map(|row| row["amount"].as_i64().expect("cents")).collect()
    }

    async fn paid(&self, session: &str) -> bool {
        let earnings = self.bea.get("/builder/earnings?limit=5").await.ok();
        let rows = earnings["transfers"].as_array().expect("a list");
        let of: Vec<&Value> = rows.iter().filter(|row| row["sessionId"] == session).collect();
        !of.is_empty() && of.iter().all(|row| row["state"] == "paid")
    }

    /// Everything about the session is as if nothing had happened.
    async fn is_right(&self, session: &str) {
        until(async || self.ends(session).await.is_some()).await;
        until(async || self.paid(session).await).await;
        let invoices = self.cleo.get("/invoices?limit=5").await.ok();
        let invoices = invoices["data"].as_array().expect("a list");
        let of: Vec<&Value> = invoices.iter().filter(|row| row["sessionId"] == session).collect();
        assert_eq!(of.len(), 1);
        let sent = self.sent(session).await;
        assert_eq!(sent.iter().sum::<i64>(), of[0]["builderPayoutCents"], "{sent:?}");
        let mut command = command(&self.place);
        let checked = command.args(["ledger", "check"]).stderr(Stdio::piped()).output();
        let checked = checked.expect("the program");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}

async fn until(mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "it does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn dying_at_any_step_it_settles_once_and_pays_once() {
    if !postgres::available() {
        return;
    }
    run(async {
        let mut ground = Ground::new(Engine::Postgres).await;
        let mut killed = 0;
        for step in 1..MOST {
            let (session, _events) = ground.cleo.starts(&ground.agent).await;
            ground.steps.until(step, ground.process().id());
            let ended = ground.ends(&session).await;
            // Looked for where it takes no step of the platform's.
            let begun = Instant::now();
            while ended.is_some() && ground.sent(&session).await.is_empty() {
                if ground.steps.taken() >= step || begun.elapsed() > PATIENCE {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            let dead = ground.steps.rest();
            killed += u64::from(dead);
            if dead {
                ground.rises();
            }
            ground.is_right(&session).await;
            if !dead {
                break;
            }
        }
        eprintln!("{killed} kills");
        assert!(killed > 20, "only {killed} kills");
    });
}

#[test]
fn dying_at_any_moment_it_settles_once_and_pays_once() {
    run(async {
        let mut ground = Ground::new(Engine::Sqlite).await;
        for _ in 0..KILLS {
            let (session, _events) = ground.cleo.starts(&ground.agent).await;
            let moment = Duration::from_millis(rand::rng().random_range(0..60));
            let ending = ground.ends(&session);
            tokio::select! {
                _ = ending => tokio::time::sleep(moment).await,
                () = tokio::time::sleep(moment) => {}
            }
            ground.rises();
            ground.is_right(&session).await;
        }
    });
}
