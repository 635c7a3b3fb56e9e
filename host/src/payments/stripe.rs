//! Stripe, or what speaks like it. Requests are async-stripe's; of the answers only what
//! is needed is read, so that what Stripe adds or moves breaks nothing.
//!
//! A request is tried once: who asked has written down its key and asks again.

use super::{
    Answer, Begun, Failure, Gateway, Line, NewPayment, NewPrice, NewRefund, NewSubscription,
    NewTransfer, Page, Payment, Subscribed, Told,
    wire::{self, List},
};
use crate::{
    id::{BuilderId, CompanyId, RefundId, TransferId},
    timestamp::Timestamp,
};
use anyhow::Context;
use async_trait::async_trait;
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::HashMap, time::Duration};
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError};
use stripe_billing::{billing_portal_session as portal, subscription};
use stripe_client_core::StripeRequest;
use stripe_connect::{account, account_link, transfer};
use stripe_core::{balance_transaction, customer, event, payment_intent, refund};
use stripe_product::price;
use stripe_types::{Currency, RangeQueryTs};

/// Stripe's own libraries wait for 80 s; a client of ours does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stripe's largest page.
const PAGE: i64 = 100;

pub struct Stripe(Client);

impl Stripe {
    /// `base` is for servers that speak like Stripe's.
    pub fn open(secret: &str, base: Option<&str>) -> anyhow::Result<Self> {
        let builder = ClientBuilder::new(secret).timeout(PATIENCE);
        let builder = match base {
            Some(base) => builder.url(base),
            None => builder,
        };
        Ok(Self(builder.build().context("the payment provider's key")?))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        key: Option<&str>,
        request: &impl StripeRequest,
    ) -> Result<T, Failure> {
        let mut request = request.build().customize::<miniserde::json::Value>();
        if let Some(key) = key {
            let key = IdempotencyKey::new(key).map_err(|error| odd(error.to_string()))?;
            request = request.request_strategy(RequestStrategy::Idempotent(key));
        }
        let answer = request.send(&self.0).await.map_err(failure)?;
        // It has answered that it is done, whatever that looks like.
        serde_json::from_str(&miniserde::json::to_string(&answer))
            .map_err(|error| Failure::Unknown(format!("its answer is odd: {error}")))
    }
}

/// What Stripe said, and whether it has done anything.
///
/// Refusals are those that it will repeat: 400, 401, 402, 403, 404. 409 is "another request
/// with this key runs", 429 "too many", and what is above may have been done.
fn failure(error: StripeError) -> Failure {
    match error {
        StripeError::Stripe(error, 400..=404) => Failure::Refused {
            code: error.code.map_or_else(|| "refused".into(), |code| code.to_string()),
            message: error.message.unwrap_or_default(),
        },
        StripeError::ConfigError(why) => odd(why),
        other => Failure::Unknown(other.to_string()),
    }
}

fn odd(message: String) -> Failure {
    Failure::Refused { code: "not_sent".into(), message }
}

fn metadata(given: &[(&str, String)]) -> HashMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

/// A subscription that was just made, with its first invoice.
#[derive(Deserialize)]
struct Fresh {
    #[serde(flatten)]
    state: wire::Subscription,
    latest_invoice: Option<FirstInvoice>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FirstInvoice {
    Whole {
        confirmation_secret: Option<Secret>,
        /// Until 2025.
        payment_intent: Option<Secret>,
    },
    #[expect(dead_code, reason = "it is the other shape that it may have")]
    Name(String),
}

#[derive(Deserialize)]
struct Secret {
    client_secret: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
}

#[derive(Deserialize)]
struct BookLine {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    amount: i64,
    #[serde(default)]
    fee: i64,
    source: Option<String>,
}

#[async_trait]
impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn customer(
        &self,
        key: &str,
        company: CompanyId,
        name: &str,
        email: &str,
    ) -> Answer<String> {
        let asked = customer::CreateCustomer::new().name(name).email(email);
        let asked = asked.metadata(metadata(&[("company", company.to_string())]));
        let made: Named = self.send(Some(key), &asked).await?;
        Ok(made.id.into())
    }

    async fn pay(&self, key: &str, new: NewPayment) -> Answer<Payment> {
        let asked = payment_intent::CreatePaymentIntent::new(new.cents, Currency::USD);
        let asked = asked.metadata(metadata(&[
            ("company", new.company.to_string()),
            ("topup", new.topup.to_string()),
        ]));
        let begun: wire::Intent = self.send(Some(key), &asked).await?;
        let client_secret = begun.client_secret.unwrap_or_default();
        Ok(Payment { id: begun.id, client_secret }.into())
    }

    async fn account(&self, key: &str, builder: BuilderId, email: &str) -> Answer<String> {
        use account::{
            CreateAccount, CreateAccountCapabilities, CreateAccountCapabilitiesTransfers,
            CreateAccountType,
        };
        let mut capabilities = CreateAccountCapabilities::new();
        let mut transfers = CreateAccountCapabilitiesTransfers::new();
        transfers.requested = Some(true);
        capabilities.transfers = Some(transfers);
        let asked = CreateAccount::new().type_(CreateAccountType::Express).email(email);
        let asked = asked.capabilities(capabilities);
        let asked = asked.metadata(metadata(&[("builder", builder.to_string())]));
        let made: Named = self.send(Some(key), &asked).await?;
        Ok(made.id.into())
    }

    async fn onboarding(&self, account: &str, _: BuilderId, back: &str) -> Answer<String> {
        use account_link::{CreateAccountLink, CreateAccountLinkType};
        let asked = CreateAccountLink::new(account, CreateAccountLinkType::AccountOnboarding);
        let link: Link = self.send(None, &asked.refresh_url(back).return_url(back)).await?;
        Ok(link.url.into())
    }

    async fn transfer(&self, key: &str, new: NewTransfer<'_>) -> Answer<String> {
        let asked = transfer::CreateTransfer::new(Currency::USD, new.account).amount(new.cents);
        let asked = asked.transfer_group(new.group);
        let mut asked = asked.metadata(metadata(&[("transfer", new.transfer.to_string())]));
        if let Some(charge) = new.charge {
            asked = asked.source_transaction(charge);
        }
        let made: Named = self.send(Some(key), &asked).await?;
        Ok(made.id.into())
    }

    async fn find_transfer(&self, group: &str, id: TransferId) -> Result<Option<String>, Failure> {
        let asked = transfer::ListTransfer::new().transfer_group(group).limit(PAGE);
        let found: List<wire::Transfer> = self.send(None, &asked).await?;
        let mut found = found.data.into_iter();
        Ok(found.find(|made| made.metadata.transfer == Some(id)).map(|made| made.id))
    }

    async fn refund(&self, key: &str, new: NewRefund<'_>) -> Answer<wire::Refund> {
        let asked = refund::CreateRefund::new().payment_intent(new.intent).amount(new.cents);
        let asked = asked.metadata(metadata(&[("refund", new.refund.to_string())]));
        let made: wire::Refund = self.send(Some(key), &asked).await?;
        Ok(made.into())
    }

    async fn find_refund(
        &self,
        intent: &str,
        id: RefundId,
    ) -> Result<Option<wire::Refund>, Failure> {
        let asked = refund::ListRefund::new().payment_intent(intent).limit(PAGE);
        let found: List<wire::Refund> = self.send(None, &asked).await?;
        Ok(found.data.into_iter().find(|made| made.metadata.refund == Some(id)))
    }

    async fn price(&self, key: &str, new: NewPrice<'_>) -> Answer<String> {
        use price::{
            CreatePrice, CreatePriceProductData, CreatePriceRecurring,
            CreatePriceRecurringInterval as Interval,
        };
        let interval = if new.interval == "year" { Interval::Year } else { Interval::Month };
        let asked = CreatePrice::new(Currency::USD).unit_amount(new.cents);
        let asked = asked.product_data(CreatePriceProductData::new(new.name));
        let asked = asked.recurring(CreatePriceRecurring::new(interval));
        let made: Named = self.send(Some(key), &asked).await?;
        Ok(made.id.into())
    }

    async fn subscribe(&self, key: &str, new: NewSubscription<'_>) -> Answer<Begun> {
        use subscription::{
            CreateSubscription, CreateSubscriptionItems, CreateSubscriptionPaymentBehavior,
        };
        let mut line = CreateSubscriptionItems::new();
        line.price = Some(new.price.to_owned());
        line.quantity = u64::try_from(new.seats).ok();
        let asked = CreateSubscription::new().customer(new.customer).items(vec![line]);
        let asked = asked
            .payment_behavior(CreateSubscriptionPaymentBehavior::DefaultIncomplete)
            .expand(vec!["latest_invoice.confirmation_secret".to_owned()]);
        let asked = asked.metadata(metadata(&[
            ("company", new.company.to_string()),
            ("subscription", new.subscription.to_string()),
        ]));
        let made: Fresh = self.send(Some(key), &asked).await?;
        let client_secret = match made.latest_invoice {
            Some(FirstInvoice::Whole { confirmation_secret, payment_intent }) => {
                confirmation_secret.or(payment_intent).and_then(|secret| secret.client_secret)
            }
            _ => None,
        };
        Ok(Begun { state: made.state, client_secret }.into())
    }

    async fn change(&self, key: &str, to: Subscribed<'_>) -> Answer<wire::Subscription> {
        use subscription::{
            UpdateSubscription, UpdateSubscriptionItems,
            UpdateSubscriptionProrationBehavior as Proration,
        };
        let mut line = UpdateSubscriptionItems::new();
        line.id = to.item.map(str::to_owned);
        line.price = Some(to.price.to_owned());
        line.quantity = u64::try_from(to.seats).ok();
        let asked = UpdateSubscription::new(to.id).items(vec![line]);
        let asked = asked.proration_behavior(Proration::CreateProrations);
        let asked = asked.cancel_at_period_end(to.cancel_at_period_end);
        let state: wire::Subscription = self.send(Some(key), &asked).await?;
        Ok(state.into())
    }

    async fn cancel(&self, key: &str, which: Subscribed<'_>) -> Answer<wire::Subscription> {
        let asked = subscription::CancelSubscription::new(which.id);
        let state: wire::Subscription = self.send(Some(key), &asked).await?;
        Ok(state.into())
    }

    async fn subscription(&self, known: Subscribed<'_>) -> Answer<wire::Subscription> {
        let asked = subscription::RetrieveSubscription::new(known.id);
        let state: wire::Subscription = self.send(None, &asked).await?;
        Ok(state.into())
    }

    async fn portal(&self, customer: &str, back: &str) -> Answer<String> {
        let asked = portal::CreateBillingPortalSession::new().customer(customer).return_url(back);
        let link: Link = self.send(None, &asked).await?;
        Ok(link.url.into())
    }

    async fn events(&self, since: Timestamp, after: Option<&str>) -> Result<Page<Told>, Failure> {
        let mut asked =
            event::ListEvent::new().created(RangeQueryTs::gte(since.as_secs())).limit(PAGE);
        if let Some(after) = after {
            asked = asked.starting_after(after);
        }
        let found: List<serde_json::Value> = self.send(None, &asked).await?;
        page(found, |payload| {
            let event = Event::deserialize(&payload).map_err(|error| odd(error.to_string()))?;
            let at = event.created.saturating_mul(1_000_000);
            let at = Timestamp::from_micros(at).map_err(|error| odd(error.to_string()))?;
            let Event { id, kind, .. } = event;
            Ok((id.clone(), Told { id, kind, payload: payload.to_string(), at }))
        })
    }

    async fn books(&self, since: Timestamp, after: Option<&str>) -> Result<Page<Line>, Failure> {
        let asked = balance_transaction::ListBalanceTransaction::new();
        let mut asked =
            asked.created(RangeQueryTs::gte(since.as_secs())).currency(Currency::USD).limit(PAGE);
        if let Some(after) = after {
            asked = asked.starting_after(after);
        }
        let found: List<BookLine> = self.send(None, &asked).await?;
        page(found, |line| {
            let BookLine { id, kind, amount, fee, source } = line;
            Ok((id.clone(), Line { id, kind, source, cents: amount, fee }))
        })
    }
}

fn page<W, T>(
    found: List<W>,
    read: impl Fn(W) -> Result<(String, T), Failure>,
) -> Result<Page<T>, Failure> {
    let more = found.has_more;
    let rows: Vec<(String, T)> = found.data.into_iter().map(read).collect::<Result<_, _>>()?;
    let next = rows.last().filter(|_| more).map(|(id, _)| id.clone());
    Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
}
