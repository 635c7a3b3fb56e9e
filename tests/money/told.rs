//! What Stripe tells, over HTTP and signed.

use super::Shop;
use crate::{
    both_engines,
    harness::{
        Engine, Value, json,
        moody::Mood,
        people::{Answer, send},
    },
};
use aiybiz_host::payments::{Line, Told};
use futures::future::join_all;
use reqwest::Method;
use std::time::{Duration, Instant};
use stripe_webhook::Webhook;

const SECRET: &str = "whsec_test";

async fn shop(engine: Engine) -> Shop {
    Shop::with(engine, 0, |config| {
        config.money.stripe_webhook_secret = vec!["whsec_other".into(), SECRET.into()];
    })
    .await
}

async fn posts(shop: &Shop, body: String, header: &str) -> Answer {
    let request =
        shop.cleo.request(Method::POST, "/stripe/webhook").header("stripe-signature", header);
    send(request.body(body)).await
}

fn now(shop: &Shop) -> i64 {
    shop.platform.clock.now().as_secs()
}

async fn paid(shop: &Shop, event: &str, intent: &str) -> String {
    json!({
        "id": event, "object": "event", "type": "payment_intent.succeeded", "created": now(shop), "livemode": false,
        "data": { "object": { "id": intent, "object": "payment_intent", "amount": 500, "amount_received": 500,
            "currency": "usd", "latest_charge": format!("ch_{intent}"), "metadata": { "company": shop.company().await } } },
    }).to_string()
}

async fn has(shop: &Shop, cents: i64) {
    let begun = Instant::now();
    while shop.wallet().await.0 != cents {
        assert!(begun.elapsed() < Duration::from_secs(10), "it has {:?}", shop.wallet().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn kept(shop: &Shop) -> i64 {
    let mut tx = shop.platform.host.db.look().await.expect("a look");
    let sql = "SELECT COUNT(*) FROM provider_events WHERE id LIKE 'evt_a%'";
    let (kept,): (i64,) = tx.query(sql).one().await.expect("a number");
    kept
}

both_engines! {
    async fn only_what_is_signed_is_heard(engine: Engine) {
        let shop = shop(engine).await;
        let body = paid(&shop, "evt_a1", "pi_a1").await;
        let sign = |secret: &str, at: i64| Webhook::generate_test_header(&body, secret, Some(at));
        let good = sign(SECRET, now(&shop));
        let (time, signature) = good.split_once(',').expect("two parts");
        for bad in ["", "x", "t=1", "v1=00", "t=x,v1=00", &format!("{time},v1=00"), &format!("v0{}", &signature[2..]),
                    &sign("whsec_wrong", now(&shop)), &format!("t=1,{signature}")] {
            posts(&shop, body.clone(), bad).await.problem(400, "bad_signature");
        }
        let altered = body.replace("\"amount\":500", "\"amount\":501");
        posts(&shop, altered, &good).await.problem(400, "bad_signature");
        posts(&shop, format!("{body} "), &good).await.problem(400, "bad_signature");
        for old in [-302, 302] {
            posts(&shop, body.clone(), &sign(SECRET, now(&shop) + old)).await.problem(400, "stale_signature");
        }
        assert_eq!(kept(&shop).await, 0);
        // Old enough, one of two signatures, one of two secrets.
        let aged = posts(&shop, body.clone(), &sign(SECRET, now(&shop) - 295)).await.ok();
        assert_eq!(aged, json!({ "received": true }));
        let body2 = paid(&shop, "evt_a2", "pi_a2").await;
        let second = Webhook::generate_test_header(&body2, "whsec_other", Some(now(&shop)));
        let (time, signature) = second.split_once(',').expect("two parts");
        posts(&shop, body2.clone(), &format!("{time},v1=00,{signature}")).await.ok();
        has(&shop, 1_000).await;
        // Authentic, and nobody can read it: kept, for an operator.
        let odd = "{\"odd\":1}".to_owned();
        let header = Webhook::generate_test_header(&odd, SECRET, Some(now(&shop)));
        posts(&shop, odd, &header).await.ok();
        shop.works().await;
        let mut tx = shop.platform.host.db.look().await.expect("a look");
        let sql = "SELECT state FROM provider_events WHERE type = 'unreadable'";
        let (state,): (String,) = tx.query(sql).one().await.expect("it is kept");
        assert_eq!(state, "odd");
        drop(tx);
        shop.is_right().await;
    }

    async fn a_thing_happens_once_however_often_it_is_told(engine: Engine) {
        let shop = shop(engine).await;
        let body = paid(&shop, "evt_a1", "pi_a1").await;
        let header = Webhook::generate_test_header(&body, SECRET, Some(now(&shop)));
        let answers = join_all((0..64).map(|_| posts(&shop, body.clone(), &header))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(kept(&shop).await, 1);
        // Another name of the same payment.
        let body = paid(&shop, "evt_a2", "pi_a1").await;
        let header = Webhook::generate_test_header(&body, SECRET, Some(now(&shop)));
        posts(&shop, body, &header).await.ok();
        has(&shop, 500).await;
        shop.works().await;
        assert_eq!(shop.wallet().await.0, 500);
        assert_eq!(shop.cleo.get("/wallet/transactions").await.ok()["data"].as_array().map(Vec::len), Some(1));
        shop.is_right().await;
    }

    async fn told_before_the_answer_came_it_is_one_payment(engine: Engine) {
        let shop = shop(engine).await;
        // The provider does it, and its answer is lost; asked again under the same name it is the same.
        shop.moody.will([Mood::Swallows]);
        let top_up = async |cents: i64| shop.cleo.asks_as("mine", "/stripe/wallet/topup", json!({ "amountCents": cents })).await;
        top_up(700).await.problem(503, "provider_away");
        // Its event comes by the sweep.
        aiybiz_host::work::missed::all(&shop.platform.host, shop.platform.clock.now()).await.expect("it asks");
        has(&shop, 700).await;
        let first = top_up(700).await.ok();
        assert_eq!(first, top_up(700).await.ok());
        top_up(800).await.problem(422, "idempotency_key_reused");
        shop.works().await;
        assert_eq!(shop.wallet().await.0, 700);
        // Refused, nothing is left, and the name is good again.
        shop.moody.will([Mood::Refuses("amount_too_small")]);
        let other = async || shop.cleo.asks_as("other", "/stripe/wallet/topup", json!({ "amountCents": 100 })).await;
        let told = other().await.problem(422, "payment_refused");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("amount_too_small")), "{told}");
        other().await.ok();
        has(&shop, 800).await;
        shop.cleo.post("/stripe/wallet/topup", json!({ "amountCents": 100 })).await.problem(400, "idempotency_key_required");
        shop.is_right().await;
    }

    async fn what_was_never_told_is_asked_for(engine: Engine) {
        let shop = shop(engine).await;
        let at = shop.platform.clock.now();
        for n in 1..=3 {
            let (id, intent) = (format!("evt_a{n}"), format!("pi_a{n}"));
            let payload = paid(&shop, &id, &intent).await;
            shop.moody.has_told(Told { id, kind: "payment_intent.succeeded".into(), payload, at });
        }
        shop.waits(Duration::from_hours(25)).await;
        has(&shop, 1_500).await;
        // The ledger beside the provider's books.
        let line = |id: &str, kind: &str, source: &str, cents, fee| Line {
            id: id.into(), kind: kind.into(), source: Some(source.into()), cents, fee,
        };
        shop.moody.has_in_its_books(line("txn_1", "charge", "ch_pi_a1", 500, 45));
        shop.moody.has_in_its_books(line("txn_2", "charge", "ch_pi_a2", 400, 45));
        shop.moody.has_in_its_books(line("txn_3", "charge", "ch_foreign", 900, 56));
        shop.platform.clock.advance(Duration::from_hours(2));
        let report = shop.olga.get("/admin/ledger/reconcile").await.ok();
        assert_eq!((&report["same"], &report["feeCents"]), (&json!(1), &json!(146)), "{report}");
        let ids = |name: &str| -> Vec<Value> {
            report[name].as_array().expect("a list").iter().map(|row| row["id"].clone()).collect()
        };
        assert_eq!((ids("differs"), ids("onlyAtProvider")), (vec![json!("ch_pi_a2")], vec![json!("ch_foreign")]));
        assert!(ids("onlyHere").contains(&json!("ch_pi_a3")), "{report}");
        shop.cleo.get("/admin/ledger/reconcile").await.problem(403, "not_an_operator");
        shop.olga.get("/admin/ledger/reconcile?days=0").await.problem(400, "invalid_query");
        // What the provider took is noted once.
        for _ in 0..2 {
            shop.waits(Duration::from_hours(25)).await;
        }
        shop.is_right().await;
        let mut tx = shop.platform.host.db.look().await.expect("a look");
        let sql = "SELECT balance FROM ledger_accounts WHERE kind = 'provider_fees'";
        let (fees,): (i64,) = tx.query(sql).one().await.expect("an account");
        assert_eq!(fees, -146);
    }

    async fn without_a_secret_nobody_is_believed(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        posts(&shop, "{}".into(), "t=1,v1=00").await.problem(503, "webhook_not_configured");
        shop.cleo.post("/internal/check-sessions", json!({})).await.problem(401, "unauthenticated");
        let host = &shop.platform.host;
        let request = shop.cleo.http.post(format!("{}/internal/check-sessions", shop.platform.url));
        let told = send(request.bearer_auth(&host.internal)).await.ok();
        assert_eq!(told["ok"], true);
        let shown = shop.cleo.get("/wallet").await;
        assert_eq!(shown.headers["aiybiz-gateway"], "moody");
    }

    async fn what_nobody_expects_is_kept_and_moves_nothing(engine: Engine) {
        let shop = Shop::open(engine, 2_000).await;
        let (intent, charge) = shop.first_payment().await;
        let much = i64::MAX;
        let objects = [
            json!({}), json!([]), json!(null), json!("x"), json!(5), json!({ "id": 5 }), json!({ "id": "" }),
            json!({ "id": "x", "amount": "5", "status": {} }), json!({ "id": "x", "amount": -5, "amount_reversed": -5, "amount_refunded": -5, "charge": charge, "status": "?" }),
            json!({ "id": intent, "amount": much, "amount_received": much, "currency": "usd", "metadata": { "company": shop.company().await } }),
            json!({ "id": "x", "amount": much, "amount_reversed": much, "amount_refunded": much, "metadata": [], "items": {}, "lines": [] }),
            json!({ "id": "x", "items": { "data": [{ "quantity": -1, "current_period_end": much }] }, "status": "active" }),
            json!({ "id": "x", "parent": { "subscription_details": { "subscription": "y" } }, "lines": { "data": [{ "quantity": much, "period": { "end": much } }] } }),
        ];
        for kind in ["payment_intent.payment_failed", "payment_intent.succeeded", "account.updated", "transfer.reversed",
                     "refund.updated", "charge.refunded", "charge.dispute.created", "charge.dispute.closed",
                     "customer.subscription.updated", "customer.subscription.deleted", "invoice.paid", "invoice.payment_failed", "x"] {
            for object in &objects {
                shop.told(kind, object.clone()).await;
            }
        }
        shop.waits(Duration::from_hours(2)).await;
        let mut tx = shop.platform.host.db.look().await.expect("a look");
        let sql = "SELECT COUNT(*) FROM provider_events WHERE state = 'waiting'";
        let (waiting,): (i64,) = tx.query(sql).one().await.expect("a number");
        assert_eq!(waiting, 0);
        drop(tx);
        assert_eq!(shop.wallet().await, (2_000, 0));
        shop.is_right().await;
    }
}
