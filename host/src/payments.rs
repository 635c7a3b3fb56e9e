//! Payment providers: what is asked of one, and what it answers. There are two: Stripe,
//! and the built-in test gateway of a platform that has no key.
//!
//! Whatever moves money has a key that its caller has written down before: asked again
//! under it, a provider does it once.

pub mod signature;
pub mod stripe;
pub mod test;
pub mod wire;

use crate::{
    clock::Clock,
    id::{BuilderId, CompanyId, PlanId, RefundId, SubscriptionId, TopupId, TransferId},
    timestamp::Timestamp,
};
use async_trait::async_trait;
use std::{fmt, sync::Arc};

pub use stripe::Stripe;
pub use test::TestGateway;

/// The only currency so far.
pub const CURRENCY: &str = "usd";

/// Something that happened at the provider, as it tells of it: JSON in Stripe's shape.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub payload: String,
    pub at: Timestamp,
}

/// What was asked is done. What the test gateway has to tell of it comes with the
/// answer; Stripe tells by itself, later or sooner.
#[derive(Clone, Debug)]
pub struct Done<T> {
    pub value: T,
    pub told: Vec<Told>,
}

impl<T> From<T> for Done<T> {
    fn from(value: T) -> Self {
        Self { value, told: Vec::new() }
    }
}

/// Why something is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The provider says no, and did nothing: its code, and its words.
    Refused { code: String, message: String },
    /// It is not known whether it was done. Ask again under the same key.
    Unknown(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "{code}: {message}"),
            Self::Unknown(why) => write!(f, "nobody knows whether it was done: {why}"),
        }
    }
}

pub type Answer<T> = Result<Done<T>, Failure>;

/// A payment into a wallet.
#[derive(Clone, Copy, Debug)]
pub struct NewPayment {
    pub topup: TopupId,
    pub company: CompanyId,
    pub cents: i64,
}

/// A payment that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The provider's name for it.
    pub id: String,
    /// With which a browser confirms it.
    pub client_secret: String,
}

/// Money to a builder's account.
#[derive(Clone, Debug)]
pub struct NewTransfer<'a> {
    pub transfer: TransferId,
    pub account: &'a str,
    pub cents: i64,
    /// The charge that it comes from: it may be sent before that is settled.
    pub charge: Option<&'a str>,
    /// What it is paid for; several may be for one session.
    pub group: &'a str,
}

/// Money back to a client.
#[derive(Clone, Debug)]
pub struct NewRefund<'a> {
    pub refund: RefundId,
    /// The payment that it comes from.
    pub intent: &'a str,
    pub cents: i64,
}

/// What a seat costs, and how often.
#[derive(Clone, Copy, Debug)]
pub struct NewPrice<'a> {
    pub plan: PlanId,
    pub name: &'a str,
    pub interval: &'a str,
    pub cents: i64,
}

#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    pub subscription: SubscriptionId,
    pub company: CompanyId,
    pub customer: &'a str,
    pub price: &'a str,
    /// Of the plan: `month` or `year`.
    pub interval: &'a str,
    pub seats: i64,
}

/// A subscription as the platform knows it, of which something is to be changed.
#[derive(Clone, Debug)]
pub struct Subscribed<'a> {
    pub subscription: SubscriptionId,
    pub company: CompanyId,
    pub id: &'a str,
    /// The provider's name for its one line.
    pub item: Option<&'a str>,
    pub price: &'a str,
    pub interval: &'a str,
    pub seats: i64,
    pub period_end: Option<Timestamp>,
    pub cancel_at_period_end: bool,
}

/// Where a browser confirms a subscription's first payment; none when there is nothing
/// to confirm.
#[derive(Clone, Debug)]
pub struct Begun {
    pub state: wire::Subscription,
    pub client_secret: Option<String>,
}

/// A movement of the platform's money, as the provider has it in its books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    /// `charge`, `transfer`, `refund`, …
    pub kind: String,
    /// The provider's name for what it was.
    pub source: Option<String>,
    pub cents: i64,
    pub fee: i64,
}

/// A page of a list, and where the next begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
}

#[async_trait]
pub trait Gateway: Send + Sync {
    /// `stripe`, or `test`.
    fn name(&self) -> &'static str;

    /// A client, as whoever pays is known there.
    async fn customer(
        &self,
        key: &str,
        company: CompanyId,
        name: &str,
        email: &str,
    ) -> Answer<String>;

    async fn pay(&self, key: &str, new: NewPayment) -> Answer<Payment>;

    /// An account to which a builder is paid.
    async fn account(&self, key: &str, builder: BuilderId, email: &str) -> Answer<String>;

    /// Where the builder tells who he is: good once, and for minutes.
    async fn onboarding(&self, account: &str, builder: BuilderId, back: &str) -> Answer<String>;

    /// The provider's name for the transfer.
    async fn transfer(&self, key: &str, new: NewTransfer<'_>) -> Answer<String>;

    /// A transfer of that group that was done for this one.
    async fn find_transfer(&self, group: &str, id: TransferId) -> Result<Option<String>, Failure>;

    async fn refund(&self, key: &str, new: NewRefund<'_>) -> Answer<wire::Refund>;

    async fn find_refund(
        &self,
        intent: &str,
        id: RefundId,
    ) -> Result<Option<wire::Refund>, Failure>;

    async fn price(&self, key: &str, new: NewPrice<'_>) -> Answer<String>;

    async fn subscribe(&self, key: &str, new: NewSubscription<'_>) -> Answer<Begun>;

    /// Makes it what is given: price, seats, and whether it ends with its period.
    async fn change(&self, key: &str, to: Subscribed<'_>) -> Answer<wire::Subscription>;

    /// Ends it now.
    async fn cancel(&self, key: &str, which: Subscribed<'_>) -> Answer<wire::Subscription>;

    /// How it stands there.
    async fn subscription(&self, known: Subscribed<'_>) -> Answer<wire::Subscription>;

    /// Where a client sees his payments and changes his card.
    async fn portal(&self, customer: &str, back: &str) -> Answer<String>;

    /// What it has told since, newest first.
    async fn events(&self, since: Timestamp, after: Option<&str>) -> Result<Page<Told>, Failure>;

    /// Its books since, newest first.
    async fn books(&self, since: Timestamp, after: Option<&str>) -> Result<Page<Line>, Failure>;
}

/// Stripe with this key, or the test gateway.
pub fn open(
    secret: Option<&str>,
    base: Option<&str>,
    clock: &Clock,
) -> anyhow::Result<Arc<dyn Gateway>> {
    Ok(match secret {
        Some(secret) => Arc::new(Stripe::open(secret, base)?),
        None => Arc::new(TestGateway::new(clock.clone())),
    })
}
