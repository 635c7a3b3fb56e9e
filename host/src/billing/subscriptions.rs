//! A company's seats. What the provider tells decides whether they are good for sessions;
//! what it tells in whatever order comes to the same.

mod told;

pub use told::{Rank, Told, What, told};

use super::plans;
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, PlanId, SubscriptionId},
    payments::wire,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;
use std::time::Duration;

/// After the end of a period its renewal is told; when nothing is told for so long, it is
/// asked for.
const SILENCE: Duration = Duration::from_hours(1);

/// A company's seats.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    pub id: SubscriptionId,
    #[serde(skip)]
    pub company_id: CompanyId,
    pub plan_id: PlanId,
    pub seats: i64,
    /// The provider's word: `incomplete`, `active`, `past_due`, `canceled`, …
    pub status: String,
    /// Until when it is paid.
    #[schema(required)]
    pub current_period_end: Option<Timestamp>,
    /// It ends then, and is not renewed.
    pub cancel_at_period_end: bool,
    #[serde(skip)]
    pub request_key: Option<String>,
    #[serde(skip)]
    pub provider_id: Option<String>,
    #[serde(skip)]
    pub item_id: Option<String>,
    #[serde(skip)]
    pub client_secret: Option<String>,
    #[serde(skip)]
    pub status_at: Option<Timestamp>,
    #[serde(skip)]
    pub status_rank: i64,
    #[serde(skip)]
    pub details_at: Option<Timestamp>,
    #[serde(skip)]
    pub lapsed_at: Option<Timestamp>,
}

macro_rules! subscription {
    () => {
        "SELECT id, company_id, plan_id, seats, status, current_period_end, cancel_at_period_end,
             request_key, provider_id, item_id, client_secret, status_at, status_rank, details_at,
             lapsed_at FROM subscriptions"
    };
}
use subscription;

/// Words for "good for sessions".
const GOOD: [&str; 2] = ["active", "trialing"];

impl Subscription {
    pub fn good(&self) -> bool {
        GOOD.contains(&&*self.status)
    }
}

/// Writes down that a company wants seats, before the provider is asked. Asked again under
/// this name, it is the same subscription; 409 while the company has another.
pub async fn ask(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    key: &str,
    (plan, seats): (PlanId, i64),
) -> Result<Subscription> {
    if let Some(had) = asked(tx, company, key).await? {
        if (had.plan_id, had.seats) != (plan, seats) && had.provider_id.is_none() {
            let detail = "this Idempotency-Key was used for another plan or other seats";
            return Err(Error::new(Kind::Refused, "idempotency_key_reused", detail));
        }
        return Ok(had);
    }
    // What was asked for and never begun makes room; the provider forgets it unpaid.
    let sql = "UPDATE subscriptions SET status = 'canceled'
               WHERE company_id = $1 AND status = 'incomplete' AND provider_id IS NULL
                 AND created_at < $2";
    tx.query(sql).bind(company).bind(clock.now() - Duration::from_mins(5)).run().await?;
    let sql = "INSERT INTO subscriptions (id, company_id, plan_id, seats, status, request_key,
                   created_at)
               VALUES ($1, $2, $3, $4, 'incomplete', $5, $6)
               ON CONFLICT (company_id) WHERE status <> 'canceled' DO NOTHING";
    let made = tx.query(sql).bind(clock.id::<SubscriptionId>()).bind(company).bind(plan);
    if made.bind(seats).bind(key).bind(clock.now()).run().await? == 0 {
        let detail = "the company has a subscription; change that";
        return Err(Error::conflict("subscription_exists", detail));
    }
    let asked = asked(tx, company, key).await?;
    asked.ok_or_else(|| Error::internal(anyhow::anyhow!("a subscription is gone")))
}

async fn asked(tx: &mut Tx, company: CompanyId, key: &str) -> Result<Option<Subscription>> {
    let sql = concat!(
        subscription!(),
        " WHERE company_id = $1 AND request_key = $2 AND status <> 'canceled'"
    );
    Ok(tx.query(sql).bind(company).bind(key).optional().await?)
}

/// The provider has begun it.
pub async fn begun(
    tx: &mut Tx,
    clock: &Clock,
    id: SubscriptionId,
    state: &wire::Subscription,
    client_secret: Option<&str>,
) -> Result<Subscription> {
    let sql = "UPDATE subscriptions SET provider_id = $2, client_secret = $3,
                   item_id = COALESCE(item_id, $4),
                   current_period_end = COALESCE(current_period_end, $5)
               WHERE id = $1";
    let begun = tx.query(sql).bind(id).bind(&*state.id).bind(client_secret);
    begun.bind(state.item()).bind(state.period_end()).run().await?;
    look_again(tx, id, clock.now() + SILENCE).await?;
    find(tx, id).await
}

/// The provider will not have it.
pub async fn refused(tx: &mut Tx, id: SubscriptionId) -> Result<()> {
    let sql = "DELETE FROM subscriptions WHERE id = $1 AND provider_id IS NULL";
    tx.query(sql).bind(id).run().await?;
    Ok(())
}

async fn find(tx: &mut Tx, id: SubscriptionId) -> Result<Subscription> {
    let sql = concat!(subscription!(), " WHERE id = $1");
    tx.query(sql).bind(id).optional().await?.ok_or(Error::not_found("subscription"))
}

/// The company's, be it good or not; the last one, when it has ended.
pub async fn of(tx: &mut Tx, company: CompanyId) -> Result<Option<Subscription>> {
    let sql = concat!(subscription!(), " WHERE company_id = $1 ORDER BY id DESC LIMIT 1");
    Ok(tx.query(sql).bind(company).optional().await?)
}

/// Lets a session begin on a seat: 402 without a subscription that is good, 429 when all
/// its sessions run. Whoever asks at once asks one after the other.
pub async fn seat(tx: &mut Tx, company: CompanyId) -> Result<()> {
    let sql = "SELECT id, plan_id, seats, status FROM subscriptions
               WHERE company_id = $1 AND status <> 'canceled'";
    let found = tx.query_locked(sql).bind(company);
    let found: Option<(SubscriptionId, PlanId, i64, String)> = found.optional().await?;
    let good = found.filter(|(.., status)| GOOD.contains(&&**status));
    let Some((_, plan, seats, _)) = good else {
        let detail = "the company is billed by seats, and has no subscription that is paid";
        return Err(Error::new(Kind::Payment, "no_subscription", detail));
    };
    let most = plans::find(tx, plan).await?.max_active_sessions.saturating_mul(seats);
    let running = running(tx, company).await?;
    if running >= most {
        let detail = format!("{running} of the {most} sessions of {seats} seats run");
        return Err(Error::new(Kind::TooMany(SEAT_WAIT), "plan_limit", detail));
    }
    Ok(())
}

/// Seconds after which somebody may have ended a session.
const SEAT_WAIT: u32 = 30;

/// Sessions on seats that are not over.
pub async fn running(tx: &mut Tx, company: CompanyId) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM sessions
               WHERE company_id = $1 AND billing_model = 'subscription' AND status <> 'completed'";
    let (running,): (i64,) = tx.query(sql).bind(company).one().await?;
    Ok(running)
}

async fn look_again(tx: &mut Tx, id: SubscriptionId, at: Timestamp) -> Result<()> {
    let sql = "UPDATE subscriptions SET due_at = COALESCE(due_at, $2) WHERE id = $1";
    tx.query(sql).bind(id).bind(at).run().await?;
    Ok(())
}

/// One whose state at the provider is to be looked at; the next look is an hour later.
pub async fn due(tx: &mut Tx, now: Timestamp) -> Result<Option<Subscription>> {
    let sql = concat!(
        subscription!(),
        " WHERE due_at <= $1 AND provider_id IS NOT NULL ORDER BY due_at LIMIT 1"
    );
    let found: Option<Subscription> = tx.query_skip_locked(sql).bind(now).optional().await?;
    if let Some(found) = &found {
        let sql = "UPDATE subscriptions SET due_at = $2 WHERE id = $1";
        tx.query(sql).bind(found.id).bind(now + SILENCE).run().await?;
    }
    Ok(found)
}

/// Companies whose seats have not been good since `until`, and have sessions on them.
pub async fn lapsed(tx: &mut Tx, until: Timestamp, limit: i64) -> Result<Vec<CompanyId>> {
    let sql = "SELECT DISTINCT s.company_id FROM subscriptions s
               JOIN sessions e ON e.company_id = s.company_id
                   AND e.billing_model = 'subscription' AND e.status <> 'completed'
               WHERE s.lapsed_at <= $1
                 AND NOT EXISTS (SELECT 1 FROM subscriptions o
                                 WHERE o.company_id = s.company_id
                                   AND o.status IN ('active', 'trialing'))
               LIMIT $2";
    let found: Vec<(CompanyId,)> = tx.query(sql).bind(until).bind(limit).all().await?;
    Ok(found.into_iter().map(|(company,)| company).collect())
}

/// The company as the provider knows who pays.
pub async fn customer(tx: &mut Tx, company: CompanyId) -> Result<Option<String>> {
    let sql = "SELECT customer_id FROM customers WHERE company_id = $1";
    let found: Option<(String,)> = tx.query(sql).bind(company).optional().await?;
    Ok(found.map(|(customer,)| customer))
}

/// The provider has made it; the first that is told stays.
pub async fn made_customer(tx: &mut Tx, company: CompanyId, name: &str) -> Result<String> {
    let sql = "INSERT INTO customers (company_id, customer_id) VALUES ($1, $2)
               ON CONFLICT (company_id) DO NOTHING";
    tx.query(sql).bind(company).bind(name).run().await?;
    customer(tx, company).await?.ok_or(Error::not_found("customer"))
}
