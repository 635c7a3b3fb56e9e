//! A company's wallet, as its admins see it; with the built-in test gateway.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value, json, process::command},
};
use aiybiz_host::{billing::events, payments::Told};
use serde_json::json as payload;
use std::time::{Duration, Instant};

async fn poor(platform: &Platform, name: &str) -> Person {
    Person::penniless(&platform.url, name).await
}

async fn tops_up(who: &Person, cents: i64) -> Value {
    who.asks_once("/stripe/wallet/topup", json!({ "amountCents": cents })).await.ok()
}

async fn balance(who: &Person) -> i64 {
    who.get("/wallet").await.ok()["balanceCents"].as_i64().expect("cents")
}

/// Waits until the wallet has so much.
async fn has(who: &Person, cents: i64) {
    let begun = Instant::now();
    while balance(who).await != cents {
        assert!(begun.elapsed() < Duration::from_secs(10), "it has {}", balance(who).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn told(platform: &Platform, id: &str, kind: &str, object: Value) -> bool {
    let payload = payload!({ "id": id, "type": kind, "data": { "object": object } }).to_string();
    let (host, at) = (&platform.host, platform.host.clock.now());
    let told = Told { id: id.into(), kind: kind.into(), payload, at };
    let mut tx = host.db.write().await.expect("a transaction");
    let new = events::keep(&mut tx, &host.clock, &told).await.expect("it is kept");
    tx.commit().await.expect("it is kept");
    host.told.notify_one();
    new
}

async fn state(platform: &Platform, id: &'static str) -> String {
    let begun = Instant::now();
    loop {
        let mut tx = platform.host.db.look().await.expect("a look");
        let sql = "SELECT state FROM provider_events WHERE id = $1";
        let (state,): (String,) = tx.query(sql).bind(id).one().await.expect("it is there");
        if state != "waiting" {
            return state;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{id} waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn company(who: &Person) -> Value {
    who.get("/me").await.ok()["company"]["id"].take()
}

both_engines! {
    async fn money_comes_in(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (cleo, carl) = (poor(&platform, "Cleo").await, poor(&platform, "Carl").await);
        let empty = json!({ "balanceCents": 0, "heldCents": 0, "availableCents": 0, "currency": "usd",
            "frozen": false, "gateway": "test" });
        assert_eq!(cleo.get("/wallet").await.ok(), empty);
        let begun = tops_up(&cleo, 2_500).await;
        assert!(begun["clientSecret"].as_str().is_some_and(|secret| secret.starts_with("pi_")), "{begun}");
        has(&cleo, 2_500).await;
        tops_up(&cleo, 1_000_000).await;
        has(&cleo, 1_002_500).await;
        // One that ends in 02 is declined, and she is told.
        tops_up(&cleo, 10_002).await;
        let told = async || cleo.get("/notifications").await.ok()["data"][0].clone();
        let begun = Instant::now();
        while told().await["type"] != "payment_failed" {
            assert!(begun.elapsed() < Duration::from_secs(10), "she is not told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(told().await["text"].as_str().is_some_and(|text| text.contains("$100.02")));
        tops_up(&cleo, 100).await;
        has(&cleo, 1_002_600).await;
        let all = cleo.get("/wallet/transactions?limit=2").await.ok();
        let row = |row: &Value| (row["type"].clone(), row["amountCents"].clone(), row["balanceAfterCents"].clone());
        assert_eq!(row(&all["data"][0]), (json!("topup"), json!(100), json!(1_002_600)));
        let next = all["nextCursor"].as_str().expect("there is more");
        let rest = cleo.get(&format!("/wallet/transactions?cursor={next}")).await.ok();
        assert_eq!(rest["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(row(&rest["data"][0]), (json!("topup"), json!(2_500), json!(2_500)));
        assert_eq!(carl.get("/wallet").await.ok(), empty);
        assert_eq!(carl.get("/wallet/transactions").await.ok()["data"], json!([]));
    }

    async fn senseless_amounts_write_nothing(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = poor(&platform, "Cleo").await;
        for amount in [json!(99), json!(0), json!(-100), json!(1_000_001), json!(i64::MAX), json!(u64::MAX),
                       json!(100.5), json!(1e3), json!("100"), json!(null)] {
            let body = json!({ "amountCents": amount });
            let told = cleo.asks_once("/stripe/wallet/topup", body.clone()).await.problem(400, "invalid_field");
            assert_eq!(told["errors"][0]["pointer"], "/amountCents", "{body}");
        }
        for body in [json!({}), json!({ "amountCents": 100, "currency": "eur" })] {
            assert_eq!(cleo.asks_once("/stripe/wallet/topup", body).await.status, 400);
        }
        Person::nobody(&platform.url).get("/wallet").await.problem(401, "unauthenticated");
        let mut tx = platform.host.db.look().await.expect("a look");
        let kept: (i64,) = tx.query("SELECT COUNT(*) FROM topups").one().await.expect("a number");
        assert_eq!(kept, (0,));
    }

    async fn whatever_the_provider_tells_is_applied_once(engine: Engine) {
        let platform = Platform::start(engine).await;
        let cleo = poor(&platform, "Cleo").await;
        let company = company(&cleo).await;
        let intent = |received: i64, currency: &str| payload!({
            "id": "pi_1", "amount": 500, "amount_received": received, "currency": currency,
            "metadata": { "company": company }, "something_new": [1, 2],
        });
        // Declined, and tried again; told twice, under one name and under two.
        told(&platform, "evt_0", "payment_intent.payment_failed", intent(0, "usd")).await;
        assert!(told(&platform, "evt_1", "payment_intent.succeeded", intent(500, "usd")).await);
        assert!(!told(&platform, "evt_1", "payment_intent.succeeded", intent(500, "usd")).await);
        told(&platform, "evt_2", "payment_intent.succeeded", intent(500, "usd")).await;
        assert_eq!(state(&platform, "evt_2").await, "applied");
        told(&platform, "evt_3", "payment_intent.payment_failed", intent(0, "usd")).await;
        assert_eq!(state(&platform, "evt_3").await, "applied");
        assert_eq!(balance(&cleo).await, 500);
        let mut tx = platform.host.db.look().await.expect("a look");
        let kept: (String,) = tx.query("SELECT state FROM topups").one().await.expect("one");
        assert_eq!(kept.0, "succeeded");
        drop(tx);
        // What means nothing here, and what is odd, is kept and moves nothing.
        told(&platform, "evt_4", "customer.created", payload!({})).await;
        told(&platform, "evt_5", "payment_intent.succeeded", intent(500, "eur")).await;
        told(&platform, "evt_6", "payment_intent.succeeded", intent(0, "usd")).await;
        told(&platform, "evt_7", "payment_intent.succeeded", payload!({ "id": 5 })).await;
        let foreign = payload!({ "id": "pi_2", "amount": 5, "amount_received": 5, "currency": "usd" });
        told(&platform, "evt_8", "payment_intent.succeeded", foreign).await;
        let stranger = payload!({
            "id": "pi_3", "amount": 5, "amount_received": 5, "currency": "usd",
            "metadata": { "company": "01a206f6-c7d0-7394-a736-27d42c21edb1" },
        });
        told(&platform, "evt_9", "payment_intent.succeeded", stranger).await;
        for (id, expected) in [
            ("evt_4", "ignored"), ("evt_5", "odd"), ("evt_6", "odd"), ("evt_7", "odd"),
            ("evt_8", "ignored"), ("evt_9", "odd"),
        ] {
            assert_eq!(state(&platform, id).await, expected, "{id}");
        }
        assert_eq!(balance(&cleo).await, 500);
    }

    async fn operators_ask_whether_every_cent_is_where_it_should_be(engine: Engine) {
        let platform = Platform::start(engine).await;
        let (olga, cleo) = (platform.operator("Olga").await, poor(&platform, "Cleo").await);
        tops_up(&cleo, 2_500).await;
        has(&cleo, 2_500).await;
        cleo.get("/admin/ledger/check").await.problem(403, "not_an_operator");
        has(&olga, 1_000_000).await;
        let checked = olga.get("/admin/ledger/check").await.ok();
        assert_eq!(checked["ok"], true, "{checked}");
        let whose = company(&cleo).await.as_str().expect("an id").to_owned();
        let lines = olga.get(&format!("/admin/ledger/statement?account=wallet&owner={whose}")).await.ok();
        assert_eq!((&lines["data"][0]["amountCents"], &lines["data"][0]["balanceAfterCents"]), (&json!(2_500), &json!(2_500)));
        assert_eq!(lines["data"][0]["type"], "topup");
        let all = olga.get("/admin/ledger/statement?account=provider&limit=1").await.ok();
        assert_eq!((&all["data"][0]["number"], all["nextCursor"].is_string()), (&json!(2), true));
        olga.get("/admin/ledger/statement?account=mattress").await.problem(400, "invalid_query");
        olga.get("/admin/ledger/statement?account=wallet&owner=x").await.problem(400, "invalid_query");
        cleo.get("/admin/ledger/statement?account=provider").await.problem(403, "not_an_operator");
        let mut command = command(platform.place());
        let told = command.args(["ledger", "check"]).output().expect("the program");
        assert!(told.status.success(), "{told:?}");
        let mut tx = platform.host.db.write().await.expect("a transaction");
        tx.query("UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'wallet'").run().await.expect("damage");
        tx.commit().await.expect("damage");
        let checked = olga.get("/admin/ledger/check").await.ok();
        assert_eq!((&checked["ok"], &checked["checks"][0]["ok"]), (&json!(false), &json!(false)), "{checked}");
        assert!(checked["checks"][0]["detail"].as_str().is_some_and(|told| told.contains('2')), "{checked}");
        let told = command.output().expect("the program");
        assert_eq!(told.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&told.stdout).contains("WRONG all accounts together are nothing"));
    }
}
