//! The same, with Stripe's own words: a server that is not ours refuses what Stripe would
//! refuse, pays, and tells of it.

use super::works;
use crate::{
    both_engines,
    harness::{
        Engine, Person, Platform, Value, json,
        people::Id,
        stripe::{SECRET, Stripe},
        webhook::{Reply, WebhookAgent},
    },
};
use aiybiz_host::billing::check;
use std::time::{Duration, Instant};

struct Bank {
    stripe: Stripe,
    platform: Platform,
    cleo: Person,
    bea: Person,
}

impl Bank {
    async fn open(engine: Engine) -> Self {
        let stripe = Stripe::start().await;
        let platform = Platform::configured(engine, |config| {
            config.money.stripe_secret_key = Some("sk_test_platform".into());
            config.money.stripe_api_base = Some(stripe.url.clone());
            config.money.stripe_webhook_secret = vec![SECRET.into()];
        })
        .await;
        stripe.tells(&platform.url).await;
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        let bea = Person::penniless(&platform.url, "Bea").await;
        bea.post("/builder", json!({ "displayName": "Bea" })).await.created();
        Self { stripe, platform, cleo, bea }
    }

    async fn works(&self) {
        works(&self.platform).await;
    }

    async fn waits(&self, span: Duration) {
        self.platform.clock.advance(span);
        self.works().await;
    }

    async fn has(&self, cents: i64) {
        let begun = Instant::now();
        loop {
            let has = self.cleo.get("/wallet").await.ok()["availableCents"].clone();
            if has == cents {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "has {has}, not {cents}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn pays_in(&self, name: &str, cents: i64, card: &str) -> Value {
        let body = json!({ "amountCents": cents });
        let begun = self.cleo.asks_as(name, "/stripe/wallet/topup", body).await.ok();
        self.stripe.pays(begun["clientSecret"].as_str().expect("a secret"), card).await;
        begun
    }

    /// The builder has told Stripe who she is.
    async fn onboards(&self) -> String {
        let link = self.bea.post("/stripe/connect/onboard", json!({})).await.ok();
        assert!(link["url"].as_str().is_some_and(|url| url.contains("stripe.com")), "{link}");
        let asked = self.asked("POST", "/v1/account_links").await;
        let account = asked[0]["params"]["account"].as_str().expect("an account").to_owned();
        let object = json!({
            "id": account, "object": "account", "payouts_enabled": true, "charges_enabled": true,
            "details_submitted": true, "capabilities": { "transfers": "active" },
        });
        self.stripe.emits("account.updated", object).await;
        self.works().await;
        account
    }

    async fn asked(&self, method: &str, path: &str) -> Vec<Value> {
        let all = self.stripe.requests().await;
        all.into_iter().filter(|asked| asked["method"] == method && asked["path"] == path).collect()
    }

    /// A session of an hour; says what was billed.
    async fn session(&self, agent: &str) -> i64 {
        let (session, _events) = self.cleo.starts(agent).await;
        self.platform.clock.advance(Duration::from_hours(1));
        self.cleo.ends(&session).await["billedCents"].as_i64().expect("cents")
    }

    async fn states(&self) -> Vec<String> {
        let earnings = self.bea.get("/builder/earnings").await.ok();
        let rows = earnings["transfers"].as_array().expect("a list").iter();
        rows.map(|row| row["state"].as_str().expect("a state").to_owned()).collect()
    }

    /// Every cent is where it should be, and nothing was asked that Stripe does not know.
    async fn is_right(&self) {
        let mut tx = self.platform.host.db.read().await.expect("a look");
        for check in check::check(&mut tx).await.expect("it looks") {
            assert!(check.ok, "{check:?}");
        }
        for asked in self.stripe.requests().await {
            let fine = asked["status"] != 400 || asked["path"] == "/v1/transfers";
            assert!(fine && asked["status"] != 404, "{asked}");
        }
    }
}

both_engines! {
    async fn clients_pay_and_builders_are_paid(engine: Engine) {
        let bank = Bank::open(engine).await;
        assert_eq!(bank.cleo.get("/wallet").await.ok()["gateway"], "stripe");
        // Declined, then paid with another card; asked again, it is the same payment.
        let begun = bank.pays_in("first", 5_000, "pm_card_chargeCustomerFail").await;
        bank.stripe.pays(begun["clientSecret"].as_str().expect("a secret"), "pm_card_visa").await;
        bank.has(5_000).await;
        let again = bank.cleo.asks_as("first", "/stripe/wallet/topup", json!({ "amountCents": 5_000 })).await.ok();
        assert_eq!(again["clientSecret"], begun["clientSecret"]);
        bank.stripe.tells_again().await;
        bank.works().await;
        bank.has(5_000).await;
        let account = bank.onboards().await;
        let hook = WebhookAgent::that(&bank.platform.url, |_| Reply::Status(200)).await;
        let (agent, _) = bank.bea.publish_webhook("Clerk", &hook.address, "none").await;
        // Sent; lost on the way back; refused for now; not heard: each is paid once.
        for (mode, later) in [("", 0), ("drop-after", 60), ("insufficient", 1_300), ("500", 60)] {
            if !mode.is_empty() {
                bank.stripe.fails("/v1/transfers", mode, 1).await;
            }
            bank.session(&agent).await;
            bank.works().await;
            for _ in 0..3 {
                bank.waits(Duration::from_secs(later)).await;
            }
            assert!(bank.states().await.iter().all(|state| state == "paid"), "{mode}: {:?}", bank.states().await);
            bank.is_right().await;
        }
        let transfers = bank.stripe.get("/v1/transfers?limit=100").await;
        let transfers = transfers["data"].as_array().expect("a list").clone();
        assert_eq!(transfers.len(), 4);
        for transfer in &transfers {
            assert_eq!((&transfer["destination"], &transfer["currency"]), (&json!(account), &json!("usd")));
            assert!(transfer["source_transaction"].as_str().is_some_and(|charge| charge.starts_with("ch_")));
        }
        bank.is_right().await;
    }

    async fn what_is_paid_comes_back_and_the_books_agree(engine: Engine) {
        let bank = Bank::open(engine).await;
        let olga = bank.platform.host.clone();
        bank.pays_in("one", 5_000, "pm_card_visa").await;
        bank.has(5_000).await;
        let company = bank.cleo.get("/me").await.ok()["company"].id();
        let mut tx = olga.db.write().await.expect("a transaction");
        let granted = aiybiz_host::accounts::grant_operator(&mut tx, &olga.clock, &bank.cleo.email).await;
        assert!(granted.expect("an answer"));
        tx.commit().await.expect("it is kept");
        let path = format!("/admin/companies/{company}/refunds");
        bank.stripe.fails("/v1/refunds", "drop-after", 1).await;
        bank.cleo.post(&path, json!({ "amountCents": 1_500 })).await.created();
        for _ in 0..3 {
            bank.waits(Duration::from_secs(30)).await;
        }
        bank.has(3_500).await;
        let refunds = bank.cleo.get(&path).await.ok();
        assert_eq!(refunds["data"][0]["status"], "done", "{refunds}");
        let report = bank.cleo.get("/admin/ledger/reconcile").await.ok();
        assert_eq!((&report["same"], &report["differs"], &report["onlyHere"]), (&json!(2), &json!([]), &json!([])), "{report}");
        bank.is_right().await;
        // What was told while nobody listened is found a day later.
        bank.stripe.tells("http://127.0.0.1:9").await;
        bank.pays_in("two", 700, "pm_card_visa").await;
        // It notes that only a second later.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        bank.waits(Duration::from_hours(1)).await;
        bank.has(3_500).await;
        bank.waits(Duration::from_hours(24)).await;
        bank.has(4_200).await;
        bank.is_right().await;
    }

    async fn seats_are_rented(engine: Engine) {
        let bank = Bank::open(engine).await;
        let host = &bank.platform.host;
        let mut tx = host.db.write().await.expect("a transaction");
        aiybiz_host::accounts::grant_operator(&mut tx, &host.clock, &bank.bea.email).await.expect("an answer");
        tx.commit().await.expect("it is kept");
        let plan = json!({ "name": "Team", "interval": "month", "pricePerSeatCents": 4_900, "maxActiveSessions": 2 });
        let plan = bank.bea.post("/admin/plans", plan).await.created().id();
        let body = json!({ "planId": plan, "quantity": 2 });
        let made = bank.cleo.asks_as("seats", "/stripe/subscriptions/create", body).await.created();
        assert_eq!(made["gateway"], "stripe");
        let portal = bank.cleo.post("/stripe/portal", json!({})).await.ok();
        assert!(portal["url"].as_str().is_some_and(|url| url.contains("stripe.com")), "{portal}");
        if let Some(secret) = made["clientSecret"].as_str() {
            bank.stripe.pays(secret, "pm_card_visa").await;
        }
        let begun = Instant::now();
        while bank.cleo.get("/subscription").await.ok()["status"] != "active" {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", bank.cleo.get("/subscription").await.ok());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let changed = bank.cleo.patch("/subscription", json!({ "quantity": 5 })).await.ok();
        assert_eq!(changed["seats"], 5);
        let cancelled = bank.cleo.delete("/subscription").await.ok();
        assert_eq!((&cancelled["status"], &cancelled["cancelAtPeriodEnd"]), (&json!("active"), &json!(true)));
        bank.is_right().await;
    }
}
