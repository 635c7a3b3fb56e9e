//! The built-in test gateway, for a platform without a provider's key: payments confirm
//! themselves, and no money is anywhere. It tells of what happens in the shape in which
//! Stripe would, and what it tells goes the way of everything that a provider tells.
//!
//! It remembers nothing: what is asked under the same key has the same name.

use super::{
    Answer, Begun, CURRENCY, Done, Failure, Gateway, Line, NewPayment, NewPrice, NewRefund,
    NewSubscription, NewTransfer, Page, Payment, Subscribed, Told, wire,
};
use crate::{
    clock::Clock,
    id::{BuilderId, CompanyId, RefundId, TransferId},
    timestamp::Timestamp,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Payments whose cents end so are declined, to see what that is like.
const DECLINED: i64 = 2;

pub struct TestGateway {
    clock: Clock,
}

impl TestGateway {
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    fn tell(&self, kind: &str, object: Value) -> Told {
        let (at, id) = (self.clock.now(), self.clock.id::<Uuid>().simple());
        let id = format!("evt_test_{id}");
        let payload = json!({
            "id": id, "object": "event", "type": kind, "created": at.as_secs(), "livemode": false,
            "data": { "object": object },
        });
        Told { id, kind: kind.to_owned(), payload: payload.to_string(), at }
    }

    /// A subscription that is paid until `end`, and what would be told of that.
    fn subscribed(is: &Subscribed<'_>, status: &str, end: Timestamp) -> Value {
        json!({
            "id": is.id, "object": "subscription", "status": status,
            "cancel_at_period_end": is.cancel_at_period_end,
            "items": { "data": [{
                "id": format!("si_{}", is.id), "quantity": is.seats, "price": { "id": is.price },
                "current_period_end": end.as_secs(),
            }] },
            "metadata": { "company": is.company, "subscription": is.subscription },
        })
    }

    fn paid(&self, is: &Subscribed<'_>, end: Timestamp) -> Told {
        let invoice = json!({
            "id": format!("in_test_{}", self.clock.id::<Uuid>().simple()), "object": "invoice",
            "parent": { "subscription_details": {
                "subscription": is.id,
                "metadata": { "company": is.company, "subscription": is.subscription },
            } },
            "lines": { "data": [{ "quantity": is.seats, "period": { "end": end.as_secs() } }] },
        });
        self.tell("invoice.paid", invoice)
    }

    fn answer<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, Failure> {
        serde_json::from_value(object).map_err(|error| Failure::Unknown(error.to_string()))
    }
}

/// Months and years as a calendar has them would need one; this is a test's.
fn period(interval: &str) -> Duration {
    Duration::from_hours(24) * if interval == "year" { 365 } else { 30 }
}

#[async_trait]
impl Gateway for TestGateway {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn customer(&self, key: &str, _: CompanyId, _: &str, _: &str) -> Answer<String> {
        Ok(format!("cus_test_{key}").into())
    }

    async fn pay(&self, key: &str, new: NewPayment) -> Answer<Payment> {
        let id = format!("pi_test_{key}");
        let (kind, status, received) = if new.cents % 100 == DECLINED {
            ("payment_intent.payment_failed", "requires_payment_method", 0)
        } else {
            ("payment_intent.succeeded", "succeeded", new.cents)
        };
        let told = self.tell(
            kind,
            json!({
                "id": id, "object": "payment_intent", "amount": new.cents,
                "amount_received": received, "currency": CURRENCY, "status": status,
                "latest_charge": format!("ch_test_{key}"),
                "metadata": { "company": new.company, "topup": new.topup },
            }),
        );
        let client_secret = format!("{id}_secret_test");
        Ok(Done { value: Payment { id, client_secret }, told: vec![told] })
    }

    async fn account(&self, key: &str, _: BuilderId, _: &str) -> Answer<String> {
        Ok(format!("acct_test_{key}").into())
    }

    async fn onboarding(&self, account: &str, builder: BuilderId, back: &str) -> Answer<String> {
        let told = self.tell(
            "account.updated",
            json!({
                "id": account, "object": "account", "payouts_enabled": true,
                "details_submitted": true, "capabilities": { "transfers": "active" },
                "metadata": { "builder": builder },
            }),
        );
        Ok(Done { value: back.to_owned(), told: vec![told] })
    }

    async fn transfer(&self, key: &str, _: NewTransfer<'_>) -> Answer<String> {
        Ok(format!("tr_test_{key}").into())
    }

    async fn find_transfer(&self, _: &str, _: TransferId) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    async fn refund(&self, key: &str, new: NewRefund<'_>) -> Answer<wire::Refund> {
        let made = json!({
            "id": format!("re_test_{key}"), "amount": new.cents, "status": "succeeded",
            "metadata": { "refund": new.refund },
        });
        Ok(Self::answer::<wire::Refund>(made)?.into())
    }

    async fn find_refund(&self, _: &str, _: RefundId) -> Result<Option<wire::Refund>, Failure> {
        Ok(None)
    }

    async fn price(&self, key: &str, _: NewPrice<'_>) -> Answer<String> {
        Ok(format!("price_test_{key}").into())
    }

    async fn subscribe(&self, key: &str, new: NewSubscription<'_>) -> Answer<Begun> {
        let id = format!("sub_test_{key}");
        let is = Subscribed {
            subscription: new.subscription,
            company: new.company,
            id: &id,
            item: None,
            price: new.price,
            interval: new.interval,
            seats: new.seats,
            period_end: None,
            cancel_at_period_end: false,
        };
        let end = self.clock.now() + period(new.interval);
        let state = Self::subscribed(&is, "active", end);
        let told = vec![self.tell("customer.subscription.created", state), self.paid(&is, end)];
        let state = Self::answer(Self::subscribed(&is, "incomplete", end))?;
        Ok(Done { value: Begun { state, client_secret: None }, told })
    }

    async fn change(&self, _: &str, to: Subscribed<'_>) -> Answer<wire::Subscription> {
        let end = to.period_end.unwrap_or(self.clock.now() + period(to.interval));
        let state = Self::subscribed(&to, "active", end);
        let told = vec![self.tell("customer.subscription.updated", state.clone())];
        Ok(Done { value: Self::answer(state)?, told })
    }

    async fn cancel(&self, _: &str, which: Subscribed<'_>) -> Answer<wire::Subscription> {
        let state = Self::subscribed(&which, "canceled", self.clock.now());
        let told = vec![self.tell("customer.subscription.deleted", state.clone())];
        Ok(Done { value: Self::answer(state)?, told })
    }

    /// One whose period is over has been paid for the next, or has ended with it.
    async fn subscription(&self, known: Subscribed<'_>) -> Answer<wire::Subscription> {
        let now = self.clock.now();
        let mut end = known.period_end.unwrap_or(now + period(known.interval));
        if end > now {
            return Ok(Self::answer::<wire::Subscription>(Self::subscribed(
                &known, "active", end,
            ))?
            .into());
        }
        if known.cancel_at_period_end {
            return self.cancel("", known).await;
        }
        while end <= now {
            end = end + period(known.interval);
        }
        let state = Self::subscribed(&known, "active", end);
        Ok(Done { value: Self::answer(state)?, told: vec![self.paid(&known, end)] })
    }

    async fn portal(&self, _: &str, back: &str) -> Answer<String> {
        Ok(back.to_owned().into())
    }

    async fn events(&self, _: Timestamp, _: Option<&str>) -> Result<Page<Told>, Failure> {
        Ok(Page { rows: Vec::new(), next: None })
    }

    async fn books(&self, _: Timestamp, _: Option<&str>) -> Result<Page<Line>, Failure> {
        Ok(Page { rows: Vec::new(), next: None })
    }
}
