//! Payments into a wallet: asked for here, decided by the provider.

use super::{notices, wallet};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, TopupId},
    payments::{Payment, wire::Intent},
    storage::Tx,
};

/// The longest name under which a client asks for a payment; Stripe's own limit.
pub const KEY_BYTES: usize = 255;

/// A payment that a client asked for.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Topup {
    pub id: TopupId,
    pub company_id: CompanyId,
    pub cents: i64,
    /// None until the provider has answered.
    pub intent_id: Option<String>,
    pub client_secret: Option<String>,
}

/// Writes down that a client asks for a payment under this name, before the provider is
/// asked. Asked again, it is the same payment; for another amount, a mistake: 422.
pub async fn ask(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    key: &str,
    cents: i64,
) -> Result<Topup> {
    let sql =
        "INSERT INTO topups (id, company_id, request_key, cents, state, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 'asked', $5, $5)
               ON CONFLICT (company_id, request_key) DO NOTHING";
    let asked = tx.query(sql).bind(clock.id::<TopupId>()).bind(company).bind(key).bind(cents);
    asked.bind(clock.now()).run().await?;
    let sql = "SELECT id, company_id, cents, intent_id, client_secret FROM topups
               WHERE company_id = $1 AND request_key = $2";
    let topup: Topup = tx.query(sql).bind(company).bind(key).one().await?;
    if topup.cents != cents {
        let detail = format!("this Idempotency-Key was used for {} cents", topup.cents);
        return Err(Error::new(Kind::Refused, "idempotency_key_reused", detail));
    }
    Ok(topup)
}

/// The provider has begun it. What it has told of it already stays as it is.
pub async fn begun(tx: &mut Tx, clock: &Clock, id: TopupId, payment: &Payment) -> Result<()> {
    let sql = "UPDATE topups SET intent_id = $2, client_secret = $3, updated_at = $4,
                   state = CASE WHEN state = 'asked' THEN 'begun' ELSE state END
               WHERE id = $1";
    let begun = tx.query(sql).bind(id).bind(&*payment.id).bind(&*payment.client_secret);
    begun.bind(clock.now()).run().await?;
    Ok(())
}

/// The provider will not begin it: asked again under the same name, it is asked again.
pub async fn refused(tx: &mut Tx, id: TopupId) -> Result<()> {
    let sql = "DELETE FROM topups WHERE id = $1 AND state = 'asked'";
    tx.query(sql).bind(id).run().await?;
    Ok(())
}

/// The provider has the money. Whoever says so, and how often: it is credited once.
pub(super) async fn succeeded(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    intent: &Intent,
) -> Result<()> {
    keep(tx, clock, company, intent, "succeeded").await?;
    wallet::credit(tx, clock, company, intent).await
}

/// It was declined. The client may try again with the same payment, so this may be
/// followed by success; what succeeded does not fail any more.
pub(super) async fn failed(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    intent: &Intent,
) -> Result<()> {
    if !keep(tx, clock, company, intent, "failed").await? {
        return Ok(());
    }
    let (dollars, cents) = (intent.amount / 100, intent.amount % 100);
    let text = format!(
        "A payment of ${dollars}.{cents:02} into the wallet was declined. Try it again, or with \
         another card."
    );
    notices::payment_failed(tx, clock, company, &text).await
}

/// States only go forward: asked, begun, failed, succeeded; false when nothing has changed.
/// One that nobody asked for here was made by an operator, at the provider.
async fn keep(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    intent: &Intent,
    state: &'static str,
) -> Result<bool> {
    if let Some(topup) = intent.metadata.topup {
        let sql = "UPDATE topups SET intent_id = $2 WHERE id = $1 AND intent_id IS NULL";
        tx.query(sql).bind(topup).bind(&*intent.id).run().await?;
    }
    let sql = "INSERT INTO topups (id, company_id, cents, intent_id, state, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $6)
               ON CONFLICT (intent_id) DO UPDATE
               SET state = excluded.state, updated_at = excluded.updated_at
               WHERE topups.state IN ('asked', 'begun')
                  OR topups.state = 'failed' AND excluded.state = 'succeeded'";
    let kept = tx.query(sql).bind(clock.id::<TopupId>()).bind(company).bind(intent.amount);
    Ok(kept.bind(&*intent.id).bind(state).bind(clock.now()).run().await? > 0)
}
