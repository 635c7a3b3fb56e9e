//! Subscriptions of which nothing was told for long are looked at; sessions on seats that
//! are not paid are ended.

use super::overdue;
use crate::{
    billing::{
        events, plans,
        subscriptions::{self, Rank, Subscription, Told, What},
    },
    error::Result,
    host::Host,
    payments::{Failure, Subscribed},
    sessions,
};
use std::time::Duration;

/// Companies in one round.
const ROUND: i64 = 100;

/// Looks at what is due, and ends what is over.
pub async fn check(host: &Host) -> Result<()> {
    while look(host).await? && !host.stopping.is_cancelled() {}
    end(host).await
}

/// Asks the provider how one stands of which nothing was told; false when none is due.
async fn look(host: &Host) -> Result<bool> {
    let mut tx = host.db.write().await?;
    let Some(known) = subscriptions::due(&mut tx, host.clock.now()).await? else {
        return Ok(false);
    };
    let plan = plans::find(&mut tx, known.plan_id).await?;
    tx.commit().await?;
    // Whole seconds, as the provider's: what it tells in this one is not before it.
    let at = host.clock.now().to_second();
    match host.payments.subscription(as_known(&known, &plan)).await {
        Ok(done) => {
            let mut tx = host.db.write().await?;
            let rank = if done.value.status == "canceled" { Rank::Deleted } else { Rank::Updated };
            let told = Told { at, what: What::State(&done.value, rank) };
            subscriptions::told(&mut tx, &host.clock, told).await?;
            for told in &done.told {
                events::keep(&mut tx, &host.clock, told).await?;
            }
            tx.commit().await?;
            host.told.notify_one();
        }
        Err(Failure::Refused { code, message }) => {
            tracing::error!(id = %known.id, code, message, "a subscription cannot be looked at");
        }
        Err(Failure::Unknown(why)) => {
            tracing::warn!(id = %known.id, why, "a subscription is looked at later");
        }
    }
    Ok(true)
}

/// It as it is asked for at the provider.
pub fn as_known<'a>(known: &'a Subscription, plan: &'a plans::Plan) -> Subscribed<'a> {
    Subscribed {
        subscription: known.id,
        company: known.company_id,
        id: known.provider_id.as_deref().unwrap_or_default(),
        item: known.item_id.as_deref(),
        price: plan.price_id.as_deref().unwrap_or_default(),
        interval: &plan.interval,
        seats: known.seats,
        period_end: known.current_period_end,
        cancel_at_period_end: known.cancel_at_period_end,
    }
}

/// Ends the sessions of companies whose seats have not been paid for too long.
async fn end(host: &Host) -> Result<()> {
    let grace = Duration::from_secs(host.config.money.lapse_grace_seconds);
    let until = host.clock.now() - grace;
    loop {
        let lapsed = subscriptions::lapsed(&mut host.db.look().await?, until, ROUND).await?;
        for company in &lapsed {
            let sessions = sessions::on_seats(&mut host.db.look().await?, *company).await?;
            for session in sessions {
                let tx = host.db.write().await?;
                overdue::finish(host, tx, session, "plan_lapsed").await?;
            }
        }
        if (lapsed.len() as i64) < ROUND || host.stopping.is_cancelled() {
            return Ok(());
        }
    }
}
