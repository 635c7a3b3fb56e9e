//! Stripe's objects, as far as they are needed here. Stripe tells far more, and adds to it;
//! what has moved between its versions is looked for in both places.

use crate::{
    id::{BuilderId, CompanyId, RefundId, SubscriptionId, TopupId, TransferId},
    timestamp::Timestamp,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::str::FromStr;

/// What this platform writes on what it makes. What is written there and is no id was
/// written by somebody else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    #[serde(deserialize_with = "id")]
    pub company: Option<CompanyId>,
    #[serde(deserialize_with = "id")]
    pub topup: Option<TopupId>,
    #[serde(deserialize_with = "id")]
    pub builder: Option<BuilderId>,
    #[serde(deserialize_with = "id")]
    pub transfer: Option<TransferId>,
    #[serde(deserialize_with = "id")]
    pub refund: Option<RefundId>,
    #[serde(deserialize_with = "id")]
    pub subscription: Option<SubscriptionId>,
}

fn id<'de, D: Deserializer<'de>, T: FromStr>(given: D) -> Result<Option<T>, D::Error> {
    Ok(Value::deserialize(given)?.as_str().and_then(|text| text.parse().ok()))
}

/// <https://docs.stripe.com/api/payment_intents/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Intent {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_received: i64,
    pub currency: String,
    pub client_secret: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub latest_charge: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// <https://docs.stripe.com/api/charges/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    pub id: String,
    #[serde(default, deserialize_with = "name")]
    pub payment_intent: Option<String>,
    #[serde(default)]
    pub amount_refunded: i64,
}

/// <https://docs.stripe.com/api/accounts/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub id: String,
    #[serde(default)]
    pub payouts_enabled: bool,
    #[serde(default)]
    pub details_submitted: bool,
    #[serde(default)]
    pub capabilities: Capabilities,
    #[serde(default)]
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Capabilities {
    pub transfers: Option<String>,
}

impl Account {
    /// Can it be sent money, and pay it out? An answer that names no capability is judged
    /// by the rest of it.
    pub fn payable(&self) -> bool {
        self.payouts_enabled
            && self.capabilities.transfers.as_deref().is_none_or(|state| state == "active")
    }
}

/// <https://docs.stripe.com/api/transfers/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Transfer {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub amount_reversed: i64,
    #[serde(default)]
    pub metadata: Metadata,
}

/// <https://docs.stripe.com/api/refunds/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    pub id: String,
    pub amount: i64,
    /// `pending`, `requires_action`, `succeeded`, `failed`, `canceled`.
    pub status: Option<String>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// <https://docs.stripe.com/api/disputes/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Dispute {
    pub id: String,
    pub amount: i64,
    #[serde(deserialize_with = "name")]
    pub charge: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub payment_intent: Option<String>,
    pub status: String,
}

/// <https://docs.stripe.com/api/subscriptions/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub cancel_at_period_end: bool,
    /// Until 2025; now it is its line's.
    current_period_end: Option<i64>,
    #[serde(default)]
    items: List<Item>,
    #[serde(default)]
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Deserialize)]
struct Item {
    id: Option<String>,
    quantity: Option<i64>,
    current_period_end: Option<i64>,
    #[serde(default, deserialize_with = "name")]
    price: Option<String>,
}

impl Subscription {
    pub fn seats(&self) -> Option<i64> {
        self.items.data.first().and_then(|item| item.quantity)
    }

    pub fn item(&self) -> Option<&str> {
        self.items.data.first().and_then(|item| item.id.as_deref())
    }

    pub fn price(&self) -> Option<&str> {
        self.items.data.first().and_then(|item| item.price.as_deref())
    }

    pub fn period_end(&self) -> Option<Timestamp> {
        let item = self.items.data.first().and_then(|item| item.current_period_end);
        time(item.or(self.current_period_end)?)
    }
}

/// <https://docs.stripe.com/api/invoices/object>
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    pub id: String,
    #[serde(default, deserialize_with = "name")]
    subscription: Option<String>,
    parent: Option<Parent>,
    #[serde(default)]
    lines: List<InvoiceLine>,
    /// Until 2025.
    subscription_details: Option<Details>,
}

#[derive(Clone, Debug, Deserialize)]
struct Parent {
    subscription_details: Option<Details>,
}

#[derive(Clone, Debug, Deserialize)]
struct Details {
    #[serde(default, deserialize_with = "name")]
    subscription: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Clone, Debug, Deserialize)]
struct InvoiceLine {
    quantity: Option<i64>,
    #[serde(default)]
    proration: bool,
    parent: Option<LineParent>,
    period: Option<Period>,
}

#[derive(Clone, Debug, Deserialize)]
struct LineParent {
    subscription_item_details: Option<ItemDetails>,
}

#[derive(Clone, Debug, Deserialize)]
struct ItemDetails {
    #[serde(default)]
    proration: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Period {
    end: i64,
}

impl Invoice {
    /// The subscription that it is for; other invoices are not for one.
    pub fn subscription(&self) -> Option<&str> {
        let details = self.parent.as_ref().and_then(|parent| parent.subscription_details.as_ref());
        let here = details.and_then(|details| details.subscription.as_deref());
        here.or(self.subscription.as_deref())
    }

    /// What this platform wrote on the subscription.
    pub fn metadata(&self) -> Metadata {
        let details = self.parent.as_ref().and_then(|parent| parent.subscription_details.as_ref());
        let details = details.or(self.subscription_details.as_ref());
        details.and_then(|details| details.metadata.clone()).unwrap_or_default()
    }

    /// Seats, and until when: of the line that is for the whole period. What is for a part
    /// of one, or for something else, says no item of the subscription, or that it is so.
    pub fn seats(&self) -> Option<(i64, Option<Timestamp>)> {
        let whole = |line: &&InvoiceLine| match &line.parent {
            Some(LineParent { subscription_item_details: Some(item) }) => !item.proration,
            Some(_) => false,
            // Until 2025.
            None => !line.proration,
        };
        let line = self.lines.data.iter().find(whole)?;
        let end = line.period.as_ref().and_then(|period| time(period.end));
        Some((line.quantity.filter(|seats| *seats > 0)?, end))
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { data: Vec::new(), has_more: false }
    }
}

/// What Stripe sends, around what it is about.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    created: i64,
    pub data: Data,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Data {
    pub object: Value,
}

impl Envelope {
    pub fn created(&self) -> Option<Timestamp> {
        time(self.created)
    }
}

/// Seconds since 1970.
fn time(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_micros(seconds.checked_mul(1_000_000)?).ok()
}

/// A thing's name, whether Stripe gives the name alone or the whole thing.
fn name<'de, D: Deserializer<'de>>(given: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(given)? {
        Value::String(id) => Some(id),
        Value::Object(thing) => thing.get("id").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    })
}
