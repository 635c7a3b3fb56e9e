//! Companies that rent seats.

use super::Shop;
use crate::{
    both_engines,
    harness::{Engine, Person, Value, json, moody::Mood, people::Id},
};
use futures::future::join_all;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

async fn plan(shop: &Shop, interval: &str, sessions: i64) -> String {
    let body = json!({ "name": "Team", "interval": interval, "pricePerSeatCents": 4_900, "maxActiveSessions": sessions });
    shop.olga.post("/admin/plans", body).await.created().id()
}

async fn subscribes(shop: &Shop, plan: &str, seats: i64) -> Value {
    let body = json!({ "planId": plan, "quantity": seats });
    shop.cleo.asks_once("/stripe/subscriptions/create", body).await.created()
}

async fn opens(shop: &Shop) -> crate::harness::people::Answer {
    shop.cleo.post("/sessions", json!({ "agentId": shop.agent })).await
}

async fn subscription(shop: &Shop) -> Value {
    shop.cleo.get("/subscription").await.ok()
}

/// As Stripe has it, with its line.
fn state(is: &str, status: &str, seats: i64) -> Value {
    json!({ "id": "sub_x", "status": status, "metadata": { "subscription": is },
        "items": { "data": [{ "id": "si_x", "quantity": seats }] } })
}

fn invoice(is: &str, seats: i64) -> Value {
    json!({ "id": "in_x", "parent": { "subscription_details": { "subscription": "sub_x", "metadata": { "subscription": is } } },
        "lines": { "data": [
            { "quantity": 1, "proration": true, "period": { "end": 1 } },
            { "quantity": seats, "period": { "end": 4_000_000_000i64 } },
        ] } })
}

both_engines! {
    async fn seats_are_good_for_sessions(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        let monthly = plan(&shop, "month", 2).await;
        let offered = shop.cleo.get("/plans").await.ok();
        assert_eq!(offered["data"][0], json!({ "id": monthly, "name": "Team", "interval": "month",
            "pricePerSeatCents": 4_900, "maxActiveSessions": 2 }));
        shop.cleo.patch("/company", json!({ "billingModel": "subscription" })).await.ok();
        opens(&shop).await.problem(402, "no_subscription");
        let is = subscribes(&shop, &monthly, 2).await;
        assert_eq!((&is["planId"], &is["seats"], &is["status"]), (&json!(monthly), &json!(2), &json!("active")));
        assert_eq!((&is["cancelAtPeriodEnd"], is["currentPeriodEnd"].is_string()), (&json!(false), true));
        // 200 race for two seats of two sessions.
        let opened = join_all((0..200).map(|_| opens(&shop))).await;
        let statuses: Vec<_> = opened.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 4, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 201 | 429)), "{statuses:?}");
        let told = opens(&shop).await.problem(429, "plan_limit");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("4 of the 4")), "{told}");
        let session = opened.iter().find(|answer| answer.status == 201).expect("one").body.clone();
        assert_eq!(session["billingModel"], "subscription");
        let ended = shop.cleo.ends(&session.id()).await;
        assert_eq!(ended["billedCents"], 0);
        opens(&shop).await.created();
        // More seats at once; fewer than are in use are refused.
        assert_eq!(shop.cleo.patch("/subscription", json!({ "quantity": 3 })).await.ok()["seats"], 3);
        opens(&shop).await.created();
        shop.cleo.patch("/subscription", json!({ "quantity": 2 })).await.problem(409, "seats_in_use");
        assert_eq!(subscription(&shop).await["seats"], 3);
        let annual = plan(&shop, "year", 5).await;
        let changed = shop.cleo.patch("/subscription", json!({ "planId": annual, "quantity": 1 })).await.ok();
        assert_eq!((&changed["planId"], &changed["seats"]), (&json!(annual), &json!(1)));
        shop.is_right().await;
    }

    async fn what_makes_no_sense_is_refused(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        let plan = plan(&shop, "month", 1).await;
        let create = async |body: Value| shop.cleo.asks_once("/stripe/subscriptions/create", body).await;
        for (body, pointer) in [
            (json!({ "planId": plan, "quantity": 0 }), "/quantity"), (json!({ "planId": plan, "quantity": -1 }), "/quantity"),
            (json!({ "planId": plan, "quantity": 10_001 }), "/quantity"), (json!({ "planId": plan, "quantity": 1.5 }), "/quantity"),
            (json!({ "planId": plan }), "/quantity"), (json!({ "planId": "x", "quantity": 1 }), "/planId"),
            (json!({ "quantity": 1 }), "/planId"),
        ] {
            let told = create(body.clone()).await.problem(400, "invalid_field");
            assert_eq!(told["errors"][0]["pointer"], pointer, "{body}");
        }
        let nowhere = json!({ "planId": "01a206f6-c7d0-7394-a736-27d42c21edb1", "quantity": 1 });
        create(nowhere).await.problem(404, "not_found");
        let body = json!({ "planId": plan, "quantity": 1 });
        shop.cleo.post("/stripe/subscriptions/create", body.clone()).await.problem(400, "idempotency_key_required");
        shop.cleo.get("/subscription").await.problem(404, "not_found");
        // The provider says no: nothing is left; and when it does not answer, asked again it is one.
        shop.moody.will([Mood::Refuses("card_declined")]);
        shop.cleo.asks_as("one", "/stripe/subscriptions/create", body.clone()).await.problem(422, "payment_refused");
        shop.cleo.get("/subscription").await.problem(404, "not_found");
        shop.moody.will([Mood::Sleeps]);
        shop.cleo.asks_as("one", "/stripe/subscriptions/create", body.clone()).await.problem(503, "provider_away");
        let is = shop.cleo.asks_as("one", "/stripe/subscriptions/create", body.clone()).await.created();
        let again = shop.cleo.asks_as("one", "/stripe/subscriptions/create", body.clone()).await.created();
        assert_eq!(is["id"], again["id"]);
        create(body).await.problem(409, "subscription_exists");
        let other = Person::penniless(&shop.platform.url, "Carl").await;
        other.get("/subscription").await.problem(404, "not_found");
        for body in [json!({ "name": "", "interval": "month", "pricePerSeatCents": 1, "maxActiveSessions": 1 }),
                     json!({ "name": "x", "interval": "week", "pricePerSeatCents": 1, "maxActiveSessions": 1 }),
                     json!({ "name": "x", "interval": "month", "pricePerSeatCents": -1, "maxActiveSessions": 1 }),
                     json!({ "name": "x", "interval": "month", "pricePerSeatCents": 1, "maxActiveSessions": 0 })] {
            shop.olga.post("/admin/plans", body).await.problem(400, "invalid_field");
        }
        shop.cleo.post("/admin/plans", json!({})).await.problem(403, "not_an_operator");
        shop.cleo.patch("/company", json!({ "billingModel": "barter" })).await.problem(400, "invalid_field");
        let gone = shop.olga.delete(&format!("/admin/plans/{plan}")).await;
        gone.having(204);
        assert_eq!(shop.cleo.get("/plans").await.ok()["data"], json!([]));
        assert_eq!(subscription(&shop).await["planId"], plan);
    }

    async fn what_is_cancelled_is_good_to_its_periods_end(engine: Engine) {
        let mut shop = Shop::open(engine, 0).await;
        let plan = plan(&shop, "month", 3).await;
        subscribes(&shop, &plan, 1).await;
        // Paid for another month when the first is over.
        shop.waits(31 * DAY).await;
        shop.cleo.signs_in().await;
        assert_eq!(subscription(&shop).await["status"], "active");
        let portal = shop.cleo.post("/stripe/portal", json!({ "returnUrl": "https://example.com/" })).await.ok();
        assert_eq!(portal["url"], "https://example.com/");
        let cancelled = shop.cleo.delete("/subscription").await.ok();
        assert_eq!((&cancelled["status"], &cancelled["cancelAtPeriodEnd"]), (&json!("active"), &json!(true)));
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        shop.waits(20 * DAY).await;
        opens(&shop).await.created();
        shop.waits(12 * DAY).await;
        shop.cleo.signs_in().await;
        assert_eq!(subscription(&shop).await["status"], "canceled");
        opens(&shop).await.problem(402, "no_subscription");
        shop.waits(2 * DAY).await;
        let ended = shop.cleo.get(&format!("/sessions/{session}")).await.ok();
        assert_eq!(ended["endReason"], "plan_lapsed");
        // And another may begin.
        subscribes(&shop, &plan, 1).await;
        opens(&shop).await.created();
    }

    async fn what_the_provider_tells_decides(engine: Engine) {
        let shop = Shop::open(engine, 0).await;
        let plan = plan(&shop, "month", 1).await;
        let is = subscribes(&shop, &plan, 1).await.id();
        let (session, _events) = shop.cleo.starts(&shop.agent).await;
        // The card fails: nothing new begins; what runs has a day.
        shop.platform.clock.advance(Duration::from_secs(5));
        shop.told("invoice.payment_failed", invoice(&is, 1)).await;
        assert_eq!(subscription(&shop).await["status"], "past_due");
        let told = shop.cleo.get("/notifications").await.ok();
        assert_eq!(told["data"][0]["type"], "payment_failed");
        opens(&shop).await.problem(402, "no_subscription");
        shop.waits(Duration::from_hours(23)).await;
        assert_ne!(shop.cleo.get(&format!("/sessions/{session}")).await.ok()["status"], "completed");
        shop.told("invoice.paid", invoice(&is, 4)).await;
        let now = subscription(&shop).await;
        assert_eq!((&now["status"], &now["seats"], &now["currentPeriodEnd"]),
            (&json!("active"), &json!(4), &json!("2096-10-02T07:06:40.000Z")));
        shop.waits(Duration::from_hours(2)).await;
        assert_ne!(shop.cleo.get(&format!("/sessions/{session}")).await.ok()["status"], "completed");
        shop.platform.clock.advance(Duration::from_secs(5));
        shop.told("customer.subscription.updated", state(&is, "unpaid", 2)).await;
        shop.waits(Duration::from_hours(25)).await;
        assert_eq!(shop.cleo.get(&format!("/sessions/{session}")).await.ok()["endReason"], "plan_lapsed");
        shop.told("customer.subscription.deleted", state(&is, "canceled", 2)).await;
        shop.told("invoice.paid", invoice(&is, 4)).await;
        assert_eq!(subscription(&shop).await["status"], "canceled", "what has ended stays so");
    }
}
