//! Charges that clients took back.

use super::Shop;
use crate::{
    both_engines,
    harness::{Engine, Value, json},
};
use std::time::Duration;

async fn frozen(shop: &Shop) -> bool {
    shop.cleo.get("/wallet").await.ok()["frozen"] == json!(true)
}

fn dispute(charge: &str, status: &str) -> Value {
    json!({ "id": "dp_1", "amount": 3_000, "charge": charge, "status": status })
}

both_engines! {
    async fn a_dispute_takes_what_is_there_and_freezes_the_wallet(engine: Engine) {
        let shop = Shop::open(engine, 3_000).await;
        let (_, charge) = shop.first_payment().await;
        let spent = shop.session(60).await;
        let (session, mut events) = shop.cleo.starts(&shop.agent).await;
        // In whatever order, and twice.
        shop.told("charge.dispute.funds_withdrawn", dispute(&charge, "needs_response")).await;
        shop.told("charge.dispute.created", dispute(&charge, "needs_response")).await;
        shop.told("charge.dispute.created", dispute(&charge, "needs_response")).await;
        assert_eq!(shop.wallet().await, (0, 1_000));
        assert!(frozen(&shop).await);
        shop.is_right().await;
        let told = shop.cleo.get("/wallet/transactions").await.ok();
        assert_eq!((&told["data"][0]["type"], &told["data"][0]["amountCents"]), (&json!("dispute"), &json!(spent - 2_000)));
        // It pays for nothing more, not even with new money.
        shop.cleo.pays_in(5_000).await;
        shop.cleo.post("/sessions", json!({ "agentId": shop.agent })).await.problem(402, "wallet_frozen");
        shop.waits(Duration::from_mins(61)).await;
        assert_eq!(events.until("session_ended").await["reason"], "low_balance");
        assert_eq!(shop.cleo.get(&format!("/sessions/{session}")).await.ok()["billedCents"], 1_000);
        shop.is_right().await;
        // Won: it is the client's again, once.
        shop.told("charge.dispute.closed", dispute(&charge, "won")).await;
        shop.told("charge.dispute.funds_reinstated", dispute(&charge, "won")).await;
        assert_eq!(shop.wallet().await, (5_000 + 2_000 - spent, 0));
        assert!(!frozen(&shop).await);
        shop.is_right().await;
        shop.session(5).await;
        shop.works().await;
        shop.is_right().await;
    }

    async fn after_one_that_was_lost_an_operator_decides(engine: Engine) {
        let shop = Shop::open(engine, 3_000).await;
        let (_, charge) = shop.first_payment().await;
        shop.told("charge.dispute.closed", dispute(&charge, "lost")).await;
        assert_eq!((shop.wallet().await, frozen(&shop).await), ((0, 0), true));
        shop.told("charge.dispute.created", dispute(&charge, "needs_response")).await;
        assert!(frozen(&shop).await);
        let path = format!("/admin/companies/{}/unfreeze", shop.company().await);
        shop.cleo.post(&path, json!({})).await.problem(403, "not_an_operator");
        shop.olga.post(&path, json!({})).await.having(204);
        assert!(!frozen(&shop).await);
        shop.is_right().await;
        // An inquiry takes nothing, and freezes nothing when it is over.
        shop.cleo.pays_in(2_000).await;
        let inquiry = json!({ "id": "dp_2", "amount": 100, "charge": charge, "status": "warning_needs_response" });
        shop.told("charge.dispute.created", inquiry).await;
        assert_eq!(shop.wallet().await, (2_000, 0));
        shop.is_right().await;
    }

    async fn what_somebody_refunds_at_the_provider_leaves_the_wallet(engine: Engine) {
        let shop = Shop::open(engine, 3_000).await;
        let (_, charge) = shop.first_payment().await;
        let refunded = |cents| json!({ "id": charge, "amount_refunded": cents });
        shop.told("charge.refunded", refunded(400)).await;
        shop.told("charge.refunded", refunded(400)).await;
        assert_eq!(shop.wallet().await.0, 2_600);
        shop.told("charge.refunded", refunded(1_000)).await;
        assert_eq!(shop.wallet().await.0, 2_000);
        shop.is_right().await;
        let spent = shop.session(60).await;
        shop.told("charge.refunded", refunded(3_000)).await;
        assert_eq!(shop.wallet().await.0, 0, "and {spent} are owed");
        shop.is_right().await;
    }
}
