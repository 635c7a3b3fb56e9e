//! What the payment provider tells: kept before it is answered, then applied, once for
//! each thing that it is about, however often and in whatever order it comes.

use super::{
    disputes, payees, refunds,
    subscriptions::{self, Rank, What},
    topups, transfers,
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::CompanyId,
    payments::{
        self, CURRENCY,
        wire::{self, Envelope},
    },
    storage::Tx,
    timestamp::Timestamp,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Until one that could not be applied is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// How long one waits for the thing that it is about, which may be told of later.
const PATIENCE: Duration = Duration::from_hours(1);

/// More than Stripe takes in any currency; sums of it are far from what an integer holds.
const MOST_CENTS: i64 = 1_000_000_000_000;

/// How the names of events about disputes begin.
const DISPUTE: &str = "charge.dispute.";

/// An event, as it was told.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Event {
    pub id: String,
    #[sqlx(rename = "type")]
    pub kind: String,
    /// JSON, in the provider's shape.
    pub payload: String,
    pub created_at: Timestamp,
    pub received_at: Timestamp,
}

/// Keeps an event; false when it is known.
pub async fn keep(tx: &mut Tx, clock: &Clock, told: &payments::Told) -> Result<bool> {
    let sql =
        "INSERT INTO provider_events (id, type, payload, created_at, received_at, state, due_at)
               VALUES ($1, $2, $3, $4, $5, 'waiting', $5) ON CONFLICT (id) DO NOTHING";
    let kept = tx.query(sql).bind(&*told.id).bind(&*told.kind).bind(&*told.payload);
    Ok(kept.bind(told.at).bind(clock.now()).run().await? == 1)
}

/// Does any wait?
pub async fn any(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM provider_events WHERE state = 'waiting' AND due_at <= $1 LIMIT 1";
    Ok(tx.query(sql).bind(now).optional::<(i32,)>().await?.is_some())
}

/// One that waits, which nobody else applies meanwhile.
pub async fn next(tx: &mut Tx, now: Timestamp) -> Result<Option<Event>> {
    let sql = "SELECT id, type, payload, created_at, received_at FROM provider_events
               WHERE state = 'waiting' AND due_at <= $1 ORDER BY due_at LIMIT 1";
    Ok(tx.query_skip_locked(sql).bind(now).optional().await?)
}

/// This one, if it waits, which nobody else applies meanwhile.
pub async fn waiting(tx: &mut Tx, id: &str) -> Result<Option<Event>> {
    let sql = "SELECT id, type, payload, created_at, received_at FROM provider_events
               WHERE id = $1 AND state = 'waiting'";
    Ok(tx.query_locked(sql).bind(id).optional().await?)
}

/// What an event came to.
enum Outcome {
    Applied,
    /// It means nothing here.
    Nothing,
    /// What it is about is not known yet.
    Early,
    /// For an operator: why.
    Odd(String),
}

/// Applies it, and notes in the same transaction that it was.
pub async fn apply(tx: &mut Tx, clock: &Clock, event: &Event) -> Result<()> {
    let (state, error) = match meaning(tx, clock, event).await? {
        Outcome::Applied => ("applied", None),
        Outcome::Nothing => ("ignored", None),
        Outcome::Early if clock.now().since(event.received_at) < PATIENCE => {
            return wait(tx, clock.now(), event, "what it is about is not known yet").await;
        }
        Outcome::Early => ("ignored", Some("what it is about was never known here".to_owned())),
        Outcome::Odd(why) => {
            let (id, kind) = (&event.id, &event.kind);
            tracing::error!(%id, %kind, why, "an odd event of the payment provider is kept");
            ("odd", Some(why))
        }
    };
    let sql = "UPDATE provider_events SET state = $2, error = $3, due_at = NULL WHERE id = $1";
    tx.query(sql).bind(&*event.id).bind(state).bind(error).run().await?;
    Ok(())
}

/// It could not be applied now, and is tried again later.
pub async fn put_off(tx: &mut Tx, now: Timestamp, event: &Event, why: &Error) -> Result<()> {
    wait(tx, now, event, &why.detail).await
}

async fn wait(tx: &mut Tx, now: Timestamp, event: &Event, why: &str) -> Result<()> {
    let sql = "UPDATE provider_events SET due_at = $2, error = $3 WHERE id = $1";
    tx.query(sql).bind(&*event.id).bind(now + AGAIN).bind(why).run().await?;
    Ok(())
}

/// Reads the thing that an event is about, or says what is odd about it.
macro_rules! read {
    ($object:expr) => {
        match read($object) {
            Ok(thing) => thing,
            Err(why) => return Ok(Outcome::Odd(why)),
        }
    };
}

fn read<T: DeserializeOwned>(object: Value) -> std::result::Result<T, String> {
    serde_json::from_value(object).map_err(|error| error.to_string())
}

/// Those that mean something: <https://docs.stripe.com/api/events/types>.
async fn meaning(tx: &mut Tx, clock: &Clock, event: &Event) -> Result<Outcome> {
    let told: Envelope = match serde_json::from_str(&event.payload) {
        Ok(told) => told,
        Err(error) => return Ok(Outcome::Odd(error.to_string())),
    };
    let (object, at) = (told.data.object, event.created_at);
    let known = match event.kind.as_str() {
        "payment_intent.succeeded" => return payment(tx, clock, read!(object), true).await,
        "payment_intent.payment_failed" => return payment(tx, clock, read!(object), false).await,
        "account.updated" => payees::told(tx, clock, &read!(object), at).await?,
        "transfer.reversed" | "transfer.updated" => {
            let transfer: wire::Transfer = read!(object);
            transfer.amount_reversed == 0
                || transfers::reversed(tx, clock, &transfer.id, transfer.amount_reversed).await?
        }
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            let refund: wire::Refund = read!(object);
            refund.metadata.refund.is_none() || refunds::told(tx, clock, &refund).await?
        }
        "charge.refunded" => disputes::refunded(tx, clock, &read!(object)).await?,
        kind if kind.starts_with(DISPUTE) => {
            let dispute: wire::Dispute = read!(object);
            if dispute.amount <= 0 {
                return Ok(Outcome::Odd("moves nothing".to_owned()));
            }
            disputes::told(tx, clock, &dispute, &kind[DISPUTE.len()..]).await?
        }
        "customer.subscription.created" => {
            subscription(tx, clock, at, read!(object), Rank::Created).await?
        }
        "customer.subscription.updated" => {
            subscription(tx, clock, at, read!(object), Rank::Updated).await?
        }
        "customer.subscription.deleted" => {
            subscription(tx, clock, at, read!(object), Rank::Deleted).await?
        }
        "invoice.paid" | "invoice.payment_succeeded" => {
            let invoice: wire::Invoice = read!(object);
            if invoice.subscription().is_none() {
                return Ok(Outcome::Nothing);
            }
            let what = What::Paid(&invoice);
            subscriptions::told(tx, clock, subscriptions::Told { at, what }).await?
        }
        "invoice.payment_failed" => {
            let invoice: wire::Invoice = read!(object);
            if invoice.subscription().is_none() {
                return Ok(Outcome::Nothing);
            }
            let what = What::Failed(&invoice);
            subscriptions::told(tx, clock, subscriptions::Told { at, what }).await?
        }
        _ => return Ok(Outcome::Nothing),
    };
    Ok(if known { Outcome::Applied } else { Outcome::Early })
}

async fn subscription(
    tx: &mut Tx,
    clock: &Clock,
    at: Timestamp,
    state: wire::Subscription,
    rank: Rank,
) -> Result<bool> {
    let what = What::State(&state, rank);
    subscriptions::told(tx, clock, subscriptions::Told { at, what }).await
}

async fn payment(
    tx: &mut Tx,
    clock: &Clock,
    intent: wire::Intent,
    succeeded: bool,
) -> Result<Outcome> {
    // Not one of this platform's: the account may be used for other things, too.
    let Some(company) = intent.metadata.company else { return Ok(Outcome::Nothing) };
    if intent.currency != CURRENCY {
        return Ok(Outcome::Odd(format!("is in {}", intent.currency)));
    }
    if intent.amount <= 0 || succeeded && intent.amount_received <= 0 {
        return Ok(Outcome::Odd("moves nothing".to_owned()));
    }
    if intent.amount.max(intent.amount_received) > MOST_CENTS {
        return Ok(Outcome::Odd("is more than a payment can be".to_owned()));
    }
    if !here(tx, company).await? {
        return Ok(Outcome::Odd("is of a company that is not here".to_owned()));
    }
    if succeeded {
        topups::succeeded(tx, clock, company, &intent).await?;
    } else {
        topups::failed(tx, clock, company, &intent).await?;
    }
    Ok(Outcome::Applied)
}

async fn here(tx: &mut Tx, company: CompanyId) -> Result<bool> {
    let sql = "SELECT 1 FROM companies WHERE id = $1";
    Ok(tx.query(sql).bind(company).optional::<(i32,)>().await?.is_some())
}
