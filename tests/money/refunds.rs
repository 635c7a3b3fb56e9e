//! What is not spent is paid back, once, and comes back when it cannot be.

use super::{PRICE, Shop};
use crate::{
    both_engines,
    harness::{Engine, Value, json, moody::Mood, people::Id},
};
use std::time::Duration;

async fn refunds(shop: &Shop, cents: i64) -> Value {
    let path = format!("/admin/companies/{}/refunds", shop.company().await);
    shop.olga.post(&path, json!({ "amountCents": cents })).await.created()
}

async fn states(shop: &Shop) -> Vec<String> {
    let path = format!("/admin/companies/{}/refunds", shop.company().await);
    let all = shop.olga.get(&path).await.ok();
    let rows = all["data"].as_array().expect("a list");
    rows.iter().map(|row| row["status"].as_str().expect("a status").to_owned()).collect()
}

both_engines! {
    async fn what_is_not_spent_is_paid_back(engine: Engine) {
        let shop = Shop::open(engine, 3_000).await;
        shop.cleo.pays_in(500).await;
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        assert_eq!(shop.wallet().await, (2_500, PRICE));
        let path = format!("/admin/companies/{}/refunds", shop.company().await);
        for (cents, status, code) in [
            (json!(2_501), 409, "not_that_much"), (json!(0), 400, "invalid_field"),
            (json!(-1), 400, "invalid_field"), (json!(1.5), 400, "invalid_field"),
            (json!(i64::MAX), 409, "not_that_much"),
        ] {
            shop.olga.post(&path, json!({ "amountCents": cents })).await.problem(status, code);
        }
        shop.cleo.post(&path, json!({ "amountCents": 1 })).await.problem(403, "not_an_operator");
        let nobody = "/admin/companies/01a206f6-c7d0-7394-a736-27d42c21edb1/refunds";
        shop.olga.post(nobody, json!({ "amountCents": 1 })).await.problem(404, "not_found");
        // The newest payment first.
        let begun = refunds(&shop, 800).await;
        assert_eq!((&begun["data"][0]["amountCents"], &begun["data"][1]["amountCents"]), (&json!(500), &json!(300)));
        assert_eq!(shop.wallet().await, (1_700, PRICE));
        shop.works().await;
        assert_eq!(states(&shop).await, ["done", "done"]);
        assert_eq!(shop.moody.refunded().iter().sum::<i64>(), 800);
        let told = shop.cleo.get("/wallet/transactions").await.ok();
        assert_eq!((&told["data"][0]["type"], &told["data"][0]["amountCents"]), (&json!("refund"), &json!(-800)));
        shop.is_right().await;
        shop.cleo.ends(&session).await;
        shop.is_right().await;
        // What it was told of again changes nothing.
        let (_, charge) = shop.first_payment().await;
        shop.told("charge.refunded", json!({ "id": charge, "amount_refunded": 300 })).await;
        shop.is_right().await;
    }

    async fn whatever_the_provider_says_it_is_paid_back_once(engine: Engine) {
        let shop = Shop::open(engine, 3_000).await;
        shop.moody.will([Mood::Swallows]);
        refunds(&shop, 100).await;
        shop.works().await;
        shop.waits(Duration::from_secs(20)).await;
        assert_eq!((states(&shop).await, shop.moody.refunded()), (vec!["done".to_owned()], vec![100]));
        // Refused: it is the client's again.
        shop.moody.will([Mood::Refuses("charge_already_refunded")]);
        refunds(&shop, 200).await;
        assert_eq!(shop.wallet().await.0, 2_700);
        shop.works().await;
        assert_eq!((states(&shop).await[0].as_str(), shop.wallet().await.0), ("failed", 2_900));
        shop.is_right().await;
        // The provider is at it, and then fails.
        shop.moody.refunds_are("pending");
        let begun = refunds(&shop, 300).await;
        let id = begun["data"][0].id();
        shop.works().await;
        assert_eq!((states(&shop).await[0].as_str(), shop.wallet().await.0), ("pending", 2_600));
        shop.is_right().await;
        let failed = json!({ "id": "re_9", "amount": 300, "status": "failed", "metadata": { "refund": id } });
        shop.told("refund.failed", failed.clone()).await;
        shop.told("refund.failed", failed).await;
        assert_eq!((states(&shop).await[0].as_str(), shop.wallet().await.0), ("failed", 2_900));
        shop.is_right().await;
        // All of it, again.
        shop.moody.refunds_are("succeeded");
        refunds(&shop, 2_900).await;
        shop.works().await;
        assert_eq!((states(&shop).await[0].as_str(), shop.wallet().await.0), ("done", 0));
        shop.is_right().await;
    }
}
