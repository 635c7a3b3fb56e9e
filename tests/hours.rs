//! Sessions that are paid from a wallet: an hour is held before it begins, time is billed
//! once, and nobody pays for more than was held.

use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::Id,
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::{billing::check, work::hours};
use futures::future::join_all;
use std::time::Duration;

/// Cents per hour of every agent that the tests publish.
const PRICE: i64 = 1_000;

const MINUTE: Duration = Duration::from_mins(1);

struct Shop {
    platform: Platform,
    agent: String,
    cleo: Person,
}

impl Shop {
    async fn open(engine: Engine, cents: i64) -> Self {
        let platform = Platform::start(engine).await;
        let bea = platform.builder("Bea").await;
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (agent, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        if cents > 0 {
            cleo.pays_in(cents).await;
        }
        Self { platform, agent, cleo }
    }

    /// Lets time pass, as a platform does that looks every second.
    async fn wait(&self, minutes: u32) {
        for _ in 0..minutes {
            self.platform.clock.advance(MINUTE);
            hours::check(&self.platform.host).await.expect("it looks");
        }
    }

    async fn wallet(&self) -> (i64, i64) {
        let wallet = self.cleo.get("/wallet").await.ok();
        let cents = |name: &str| wallet[name].as_i64().expect("cents");
        assert_eq!(cents("balanceCents"), cents("heldCents") + cents("availableCents"));
        (cents("availableCents"), cents("heldCents"))
    }

    async fn session(&self, id: &str) -> Value {
        self.cleo.get(&format!("/sessions/{id}")).await.ok()
    }

    async fn is_right(&self) {
        let mut tx = self.platform.host.db.read().await.expect("a look");
        for check in check::check(&mut tx).await.expect("it looks") {
            assert!(check.ok, "{check:?}");
        }
    }
}

both_engines! {
    async fn time_is_billed_once_and_the_rest_comes_back(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        let (session, mut events) = shop.cleo.starts(&shop.agent).await;
        assert_eq!(shop.session(&session).await["billingModel"], "wallet");
        assert_eq!(shop.wallet().await, (4_000, 1_000));
        shop.wait(57).await;
        assert_eq!(shop.wallet().await, (4_000, 1_000));
        shop.wait(2).await;
        assert_eq!(shop.wallet().await, (3_000, 2_000), "the next hour, before it begins");
        shop.wait(31).await;
        let ended = shop.cleo.ends(&session).await;
        let billed = ended["billedCents"].as_i64().expect("cents");
        assert!((1_500..=1_505).contains(&billed), "{billed}");
        assert_eq!(events.until("session_ended").await["billedCents"], billed);
        assert_eq!(shop.cleo.ends(&session).await, ended, "once");
        assert_eq!(shop.wallet().await, (5_000 - billed, 0));
        let told = shop.cleo.get("/wallet/transactions").await.ok();
        assert_eq!((&told["data"][0]["type"], &told["data"][0]["amountCents"]), (&json!("session_charge"), &json!(-billed)));
        assert_eq!((&told["data"][0]["sessionId"], told["data"].as_array().map(Vec::len)), (&json!(session), Some(2)));
        let invoices = shop.cleo.get("/invoices").await.ok();
        let invoice = &invoices["data"][0];
        let cents = |name: &str| invoice[name].as_i64().expect("cents");
        assert_eq!((cents("number"), cents("totalCents"), cents("priceCentsPerHour")), (1, billed, PRICE));
        assert_eq!(cents("platformFeeCents") + cents("builderPayoutCents"), billed);
        assert_eq!(cents("platformFeeCents"), (billed + 5) / 10);
        assert_eq!(&shop.cleo.get(&format!("/invoices/{}", invoice.id())).await.ok(), invoice);
        let carl = Person::penniless(&shop.platform.url, "Carl").await;
        carl.get(&format!("/invoices/{}", invoice.id())).await.problem(404, "not_found");
        shop.is_right().await;
    }

    async fn without_an_hours_money_no_session_begins(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        let open = async || shop.cleo.post("/sessions", json!({ "agentId": shop.agent })).await;
        let told = open().await.problem(402, "insufficient_funds");
        let detail = told["detail"].as_str().expect("a text");
        assert!(detail.contains("1000") && detail.contains("0 are available"), "{detail}");
        shop.cleo.pays_in(999).await;
        open().await.problem(402, "insufficient_funds");
        assert_eq!(shop.cleo.get("/sessions").await.ok()["data"], json!([]));
        shop.cleo.pays_in(9_001).await;
        // 200 race for ten.
        let opened = join_all((0..200).map(|_| open())).await;
        let statuses: Vec<_> = opened.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| matches!(status, 201 | 402)), "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 10);
        assert_eq!(shop.wallet().await, (0, 10_000));
        shop.is_right().await;
        for session in opened.iter().filter(|answer| answer.status == 201) {
            shop.cleo.ends(&session.body.id()).await;
        }
        assert_eq!(shop.wallet().await.1, 0);
        shop.is_right().await;
    }

    async fn when_the_money_is_used_up_it_ends_with_the_hour_that_is_paid(engine: Engine) {
        let shop = Shop::open(engine, 1_500).await;
        let (session, mut events) = shop.cleo.starts(&shop.agent).await;
        shop.wait(57).await;
        assert_eq!(shop.cleo.get("/notifications").await.ok()["data"], json!([]));
        shop.wait(2).await;
        // Warned once, not at every look.
        shop.wait(0).await;
        let told = shop.cleo.get("/notifications").await.ok();
        assert_eq!((&told["data"][0]["type"], told["data"].as_array().map(Vec::len)), (&json!("low_balance"), Some(1)));
        // Paid in while it is warned, it goes on.
        shop.cleo.pays_in(500).await;
        shop.wait(1).await;
        assert_eq!(shop.wallet().await, (0, 2_000));
        shop.wait(58).await;
        assert_eq!(shop.session(&session).await["status"], "active");
        shop.wait(3).await;
        let ended = events.until("session_ended").await;
        assert_eq!((&ended["reason"], &ended["billedCents"]), (&json!("low_balance"), &json!(2_000)));
        assert_eq!(shop.wallet().await, (0, 0));
        assert_eq!(shop.session(&session).await["endReason"], "low_balance");
        shop.is_right().await;
    }

    async fn a_platform_that_was_away_charges_for_nothing_that_was_not_held(engine: Engine) {
        let shop = Shop::open(engine, 1_000_000).await;
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        // Nobody looks for three hours.
        shop.platform.clock.advance(Duration::from_hours(3));
        let ended = shop.cleo.ends(&session).await;
        let billed = ended["billedCents"].as_i64().expect("cents");
        assert!(billed <= 2 * PRICE, "{billed}: one hour, and what was held since");
        // Away, and back while the session goes on: what passed is free.
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        shop.platform.clock.advance(Duration::from_hours(5));
        hours::check(&shop.platform.host).await.expect("it looks");
        shop.wait(30).await;
        let billed = shop.cleo.ends(&session).await["billedCents"].as_i64().expect("cents");
        assert!((1_500..=1_520).contains(&billed), "{billed}");
        // Without money for more, it ended with its hour.
        let dora = Person::penniless(&shop.platform.url, "Dora").await;
        dora.pays_in(1_000).await;
        let (session, mut events) = dora.starts(&shop.agent).await;
        shop.platform.clock.advance(Duration::from_hours(3));
        hours::check(&shop.platform.host).await.expect("it looks");
        assert_eq!(events.until("session_ended").await["billedCents"], 1_000);
        let session = dora.get(&format!("/sessions/{session}")).await.ok();
        let hour = |name: &str| session[name].as_str().expect("a time")[11..13].parse::<i64>().expect("an hour");
        assert_eq!((hour("endedAt") - hour("startedAt")).rem_euclid(24), 1, "{session}");
        shop.is_right().await;
    }

    async fn what_costs_nothing_is_not_billed(engine: Engine) {
        let platform = Platform::start(engine).await;
        let bea = Person::penniless(&platform.url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let body = json!({ "name": "Draft", "description": "for tests", "delivery": "webhook",
            "webhookUrl": hook.address, "retryPolicy": "none", "priceCentsPerHour": 1000 });
        let draft = bea.post("/builder/agents", body).await.created().id();
        let (session, _events) = bea.starts(&draft).await;
        let told = bea.get(&format!("/sessions/{session}")).await.ok();
        assert_eq!(told["billingModel"], "free");
        platform.clock.advance(Duration::from_hours(2));
        assert_eq!(bea.ends(&session).await["billedCents"], 0);
        // One that never became active costs nothing, either.
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        cleo.pays_in(1_000).await;
        let slow = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (agent, _) = bea.publish_webhook("Slow", &slow.address, "none").await;
        let (session, _events) = cleo.opens(&agent).await;
        platform.clock.advance(MINUTE);
        assert_eq!(cleo.ends(&session).await["billedCents"], 0);
        let wallet = cleo.get("/wallet").await.ok();
        assert_eq!((&wallet["availableCents"], &wallet["heldCents"]), (&json!(1_000), &json!(0)));
        for who in [&bea, &cleo] {
            assert_eq!(who.get("/invoices").await.ok()["data"], json!([]));
        }
    }

    async fn a_session_may_cost_something_at_least(engine: Engine) {
        let platform = Platform::configured(engine, |config| config.money.session_least_cents = 1_200).await;
        let bea = platform.builder("Bea").await;
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (agent, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        cleo.pays_in(5_000).await;
        let (session, _events) = cleo.starts(&agent).await;
        assert_eq!(cleo.ends(&session).await["billedCents"], PRICE, "its first hour is the most of it");
        let slow = WebhookAgent::that(&platform.url, |_| Reply::Status(500)).await;
        let (agent, _) = bea.publish_webhook("Slow", &slow.address, "none").await;
        let (session, _events) = cleo.opens(&agent).await;
        assert_eq!(cleo.ends(&session).await["billedCents"], 0, "it was never there");
    }

    async fn an_invoice_is_printed(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        shop.cleo.patch("/company", json!({ "name": "<b>Cleo & Sons</b>" })).await.ok();
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        shop.platform.clock.advance(Duration::from_mins(90));
        shop.cleo.ends(&session).await;
        let invoice = shop.cleo.get("/invoices").await.ok()["data"][0].clone();
        let page = shop.cleo.get(&format!("/invoices/{}/html", invoice.id())).await.having(200);
        assert!(page.headers["content-type"].to_str().expect("text").starts_with("text/html"));
        assert!(page.headers["content-security-policy"].to_str().expect("text").contains("sandbox"));
        for part in ["Invoice 1", "&lt;b&gt;Cleo &amp; Sons&lt;/b&gt;", "Clerk", "$10.00"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        let carl = Person::penniless(&shop.platform.url, "Carl").await;
        carl.get(&format!("/invoices/{}/html", invoice.id())).await.problem(404, "not_found");
    }
}
