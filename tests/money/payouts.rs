//! Builders are paid once, whatever the provider says or does not say.

use super::{PRICE, Shop};
use crate::{
    both_engines,
    harness::{Engine, Person, Value, json, moody::Mood, people::Id},
};
use aiybiz_host::work;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn states(earnings: &Value) -> Vec<&str> {
    let rows = earnings["transfers"].as_array().expect("a list");
    rows.iter().map(|row| row["state"].as_str().expect("a state")).collect()
}

async fn builders(shop: &Shop) -> (i64, i64, i64, i64, i64) {
    let all = shop.earnings().await;
    let cents = |name: &str| all[name].as_i64().expect("cents");
    (
        cents("grossCents"),
        cents("feeCents"),
        cents("netCents"),
        cents("paidCents"),
        cents("pendingCents"),
    )
}

both_engines! {
    async fn what_a_session_earns_is_sent_once(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        let billed = shop.session(10).await;
        assert!((167..=168).contains(&billed), "{billed}");
        shop.works().await;
        let fee = (billed + 5) / 10;
        assert_eq!(builders(&shop).await, (billed, fee, billed - fee, billed - fee, 0));
        let sent = shop.moody.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].cents, sent[0].charge.is_some()), (billed - fee, true));
        assert!(sent[0].account.starts_with("acct_"), "{sent:?}");
        let earnings = shop.earnings().await;
        assert_eq!(states(&earnings), ["paid"]);
        assert_eq!(earnings["transfers"][0]["amountCents"], billed - fee);
        assert_eq!(earnings["account"], json!({ "connected": true, "submitted": true, "active": true }));
        shop.waits(DAY).await;
        assert_eq!(shop.moody.sent().len(), 1);
        let lines = shop.bea.get("/builder/earnings/statement").await.ok();
        assert_eq!(lines["data"][0]["balanceAfterCents"], 0, "{lines}");
        assert_eq!(lines["data"].as_array().map(Vec::len), Some(2));
        shop.cleo.get("/builder/earnings").await.problem(403, "not_a_builder");
        shop.is_right().await;
    }

    async fn each_charge_pays_for_its_own(engine: Engine) {
        let shop = Shop::open(engine, 1_100).await;
        shop.cleo.pays_in(1_000).await;
        let first = shop.session(60).await;
        let second = shop.session(20).await;
        shop.works().await;
        // The first session and the beginning of the second were paid by the first charge.
        let sent = shop.moody.sent();
        assert_eq!(sent.len(), 3, "{sent:?}");
        let charge = |cents| sent.iter().find(|sent| sent.cents == cents).expect("one").charge.clone();
        let share = |cents: i64| cents - (cents + 5) / 10;
        let left = 1_100 - first;
        assert_eq!(charge(share(first)), charge(left));
        assert_ne!(charge(left), charge(share(second) - left));
        shop.is_right().await;
    }

    async fn a_lost_answer_pays_nobody_twice(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        for mood in [Mood::Swallows, Mood::Sleeps] {
            shop.moody.will([mood.clone()]);
            shop.session(6).await;
            shop.works().await;
            let earnings = shop.earnings().await;
            assert_eq!(states(&earnings)[0], "pending", "{mood:?}");
            shop.is_right().await;
            shop.waits(Duration::from_secs(20)).await;
            assert_eq!(states(&shop.earnings().await)[0], "paid", "{mood:?}");
            shop.is_right().await;
        }
        assert_eq!(shop.moody.sent().len(), 2);
        // Not heard for more than a day: the key is not trusted, nothing is found, it begins anew.
        shop.moody.will((0..40).map(|_| Mood::Sleeps));
        shop.session(6).await;
        for _ in 0..20 {
            shop.waits(Duration::from_hours(3)).await;
            shop.is_right().await;
        }
        assert_eq!(shop.moody.sent().len(), 2);
        shop.moody.is_calm();
        for _ in 0..30 {
            shop.waits(Duration::from_hours(6)).await;
        }
        assert_eq!(shop.moody.sent().len(), 3);
        // Done, not said, and the key forgotten: it is found.
        shop.moody.will([Mood::Swallows]);
        shop.session(6).await;
        shop.works().await;
        shop.moody.forgets_keys();
        shop.waits(Duration::from_hours(30)).await;
        assert_eq!(shop.moody.sent().len(), 4);
        assert!(states(&shop.earnings().await).iter().all(|state| *state == "paid"));
        shop.is_right().await;
    }

    async fn what_is_refused_waits_and_begins_anew(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        shop.moody.will([Mood::Refuses("balance_insufficient"), Mood::Refuses("balance_insufficient")]);
        shop.session(6).await;
        shop.works().await;
        let earnings = shop.earnings().await;
        assert_eq!(states(&earnings), ["pending"]);
        assert!(earnings["transfers"][0]["reason"].as_str().is_some_and(|why| why.contains("balance_insufficient")));
        shop.is_right().await;
        shop.waits(Duration::from_mins(11)).await;
        shop.waits(Duration::from_mins(10)).await;
        assert_eq!(shop.moody.sent().len(), 0);
        shop.waits(Duration::from_mins(11)).await;
        assert_eq!((shop.moody.sent().len(), states(&shop.earnings().await)), (1, vec!["paid"]));
        shop.is_right().await;
    }

    async fn a_builder_who_cannot_be_paid_is_paid_later(engine: Engine) {
        let shop = Shop::open(engine, 5_000).await;
        let name = format!("acct_test_account_{}", shop.bea.get("/builder").await.ok().id());
        let account = |enabled: bool, transfers: &str| json!({
            "id": name, "payouts_enabled": enabled,
            "details_submitted": true, "capabilities": { "transfers": transfers },
        });
        shop.told("account.updated", account(true, "inactive")).await;
        shop.session(6).await;
        shop.works().await;
        let earnings = shop.earnings().await;
        assert_eq!((states(&earnings), &earnings["account"]["active"]), (vec!["parked"], &json!(false)));
        shop.is_right().await;
        shop.waits(DAY).await;
        assert_eq!(shop.moody.sent().len(), 0);
        shop.told("account.updated", account(true, "active")).await;
        shop.works().await;
        assert_eq!((shop.moody.sent().len(), states(&shop.earnings().await)), (1, vec!["paid"]));
        // The account is closed between.
        shop.moody.will([Mood::Refuses("account_invalid")]);
        shop.session(6).await;
        shop.works().await;
        assert_eq!(states(&shop.earnings().await)[0], "parked");
        shop.is_right().await;
        shop.waits(Duration::from_mins(11)).await;
        assert_eq!(states(&shop.earnings().await)[0], "paid", "tried again by itself");
        // What the provider took back is owed again.
        let sent = shop.moody.sent()[0].clone();
        let taken = |cents| json!({ "id": sent.id, "amount": sent.cents, "amount_reversed": cents });
        shop.told("transfer.reversed", taken(10)).await;
        shop.told("transfer.reversed", taken(10)).await;
        shop.told("transfer.reversed", taken(25)).await;
        assert_eq!(builders(&shop).await.4, 25);
        assert_eq!(states(&shop.earnings().await)[1], "reversed");
        shop.is_right().await;
    }

    async fn who_cannot_be_paid_does_not_publish(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        let bob = Person::penniless(&shop.platform.url, "Bob").await;
        bob.post("/stripe/connect/onboard", json!({})).await.problem(403, "not_a_builder");
        bob.post("/builder", json!({ "displayName": "Bob" })).await.created();
        let agent = json!({ "name": "Draft", "description": "for tests", "delivery": "webhook",
            "webhookUrl": "http://127.0.0.1:9/hook", "priceCentsPerHour": PRICE });
        let agent = bob.post("/builder/agents", agent).await.created();
        assert_eq!(agent["publishBlockers"], json!(["no_connect_account"]));
        let publish = format!("/builder/agents/{}/publish", agent.id());
        bob.post(&publish, json!({})).await.problem(409, "no_connect_account");
        let bad = json!({ "returnUrl": "javascript:alert(1)" });
        let told = bob.post("/stripe/connect/onboard", bad).await.problem(400, "invalid_field");
        assert_eq!(told["errors"][0]["pointer"], "/returnUrl");
        let body = json!({ "returnUrl": "https://example.com/done" });
        let link = bob.post("/stripe/connect/onboard", body).await.ok();
        assert_eq!(link["url"], "https://example.com/done", "the test gateway asks nothing");
        bob.post("/stripe/connect/onboard", json!({})).await.ok();
        bob.post(&publish, json!({})).await.ok();
    }

    async fn two_processes_that_work_at_once_do_everything_once(engine: Engine) {
        if engine == Engine::Sqlite {
            // A file has one process.
            return;
        }
        let shop = Shop::open(engine, 1_000_000).await;
        let beside = shop.platform.beside().await;
        let mut running = Vec::new();
        for _ in 0..20 {
            running.push(shop.cleo.starts(&shop.agent).await);
        }
        // Both hold the second hour of all.
        shop.platform.clock.advance(Duration::from_mins(59));
        let (one, two) = tokio::join!(work::check(&shop.platform.host), work::check(&beside.host));
        one.and(two).expect("they work");
        assert_eq!(shop.wallet().await.1, 20 * 2 * PRICE);
        for (session, _) in &running {
            shop.cleo.ends(session).await;
        }
        for _ in 0..3 {
            let (one, two) = tokio::join!(work::check(&shop.platform.host), work::check(&beside.host));
            one.and(two).expect("they work");
        }
        shop.works().await;
        let mut tx = beside.host.db.look().await.expect("a look");
        let sql = "SELECT COUNT(*), COUNT(DISTINCT provider_id) FROM transfers WHERE state = 'done'";
        let done: (i64, i64) = tx.query(sql).one().await.expect("a number");
        assert_eq!(done, (20, 20));
        let sql = "SELECT COUNT(*) FROM transfers WHERE provider_id LIKE 'tr_test%'";
        let (theirs,): (i64,) = tx.query(sql).one().await.expect("a number");
        assert_eq!(shop.moody.sent().len() as i64 + theirs, 20);
        shop.is_right().await;
    }
}
