//! What the provider tells of a subscription. In whatever order it comes, it comes to the
//! same: status and details each remember when the newest of what was told was so.

use super::{SILENCE, Subscription};
use crate::{
    billing::{notices, plans},
    clock::Clock,
    error::Result,
    payments::wire,
    storage::Tx,
    timestamp::Timestamp,
};

/// Something that the provider tells of a subscription.
pub struct Told<'a> {
    pub at: Timestamp,
    pub what: What<'a>,
}

pub enum What<'a> {
    /// `customer.subscription.created`, `.updated`, `.deleted`, or what it answers.
    State(&'a wire::Subscription, Rank),
    Paid(&'a wire::Invoice),
    Failed(&'a wire::Invoice),
}

/// Of two things told of one second, the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Created,
    Updated,
    Failed,
    Paid,
    Deleted,
}

/// Takes in what was told. False when no such subscription is known.
pub async fn told(tx: &mut Tx, clock: &Clock, told: Told<'_>) -> Result<bool> {
    let (id, ours) = match told.what {
        What::State(state, _) => (Some(&*state.id), state.metadata.subscription),
        What::Paid(invoice) | What::Failed(invoice) => {
            (invoice.subscription(), invoice.metadata().subscription)
        }
    };
    let sql = concat!(super::subscription!(), " WHERE id = $1 OR provider_id = $2");
    let found = tx.query_locked(sql).bind(ours).bind(id);
    let Some(was) = found.optional::<Subscription>().await? else { return Ok(false) };
    let mut is = was.clone();
    is.provider_id = is.provider_id.or(id.map(str::to_owned));
    match told.what {
        What::State(state, rank) => {
            let status = if rank == Rank::Deleted { "canceled" } else { word(&state.status) };
            set_status(&mut is, status, told.at, rank);
            if is.details_at.is_none_or(|at| at <= told.at) {
                is.details_at = Some(told.at);
                is.seats = state.seats().filter(|seats| *seats > 0).unwrap_or(is.seats);
                is.current_period_end = state.period_end().or(is.current_period_end);
                is.cancel_at_period_end = state.cancel_at_period_end;
                is.item_id = state.item().map(str::to_owned).or(is.item_id);
                if let Some(price) = state.price()
                    && let Some(plan) = plans::of_price(tx, price).await?
                {
                    is.plan_id = plan;
                }
            }
        }
        What::Paid(invoice) => {
            set_status(&mut is, "active", told.at, Rank::Paid);
            if is.details_at.is_none_or(|at| at <= told.at)
                && let Some((seats, until)) = invoice.seats()
            {
                is.seats = seats;
                is.current_period_end = until.max(is.current_period_end);
            }
        }
        What::Failed(_) => {
            // The first payment may be tried again; nothing was good before it.
            let first = matches!(&*was.status, "incomplete");
            let status = if first { "incomplete" } else { "past_due" };
            set_status(&mut is, status, told.at, Rank::Failed);
        }
    }
    if is.status != "canceled" {
        // What is told late of one that has ended does not begin it again.
        is.lapsed_at = if is.good() || is.status == "incomplete" {
            None
        } else {
            was.lapsed_at.or(Some(clock.now()))
        };
    } else if was.status != "incomplete" {
        is.lapsed_at = was.lapsed_at.or(Some(clock.now()));
    }
    write(tx, clock, &was, &is).await?;
    if was.good() && !is.good() && is.status != "canceled" {
        let text = "The subscription could not be paid. Nothing new begins until it is; change \
                    the card, or what runs ends, too.";
        notices::payment_failed(tx, clock, is.company_id, text).await?;
    }
    Ok(true)
}

/// What has ended stays so.
fn set_status(is: &mut Subscription, status: &str, at: Timestamp, rank: Rank) {
    let rank = rank as i64;
    let newer = is.status_at.is_none_or(|was| (was, is.status_rank) <= (at, rank));
    if status == "canceled" || newer && is.status != "canceled" {
        is.status = status.to_owned();
        is.status_at = Some(at);
        is.status_rank = rank;
    }
}

fn word(status: &str) -> &str {
    if status == "incomplete_expired" { "canceled" } else { status }
}

async fn write(tx: &mut Tx, clock: &Clock, was: &Subscription, is: &Subscription) -> Result<()> {
    let sql = "UPDATE subscriptions SET plan_id = $2, seats = $3, status = $4,
                   current_period_end = $5, cancel_at_period_end = $6, provider_id = $7,
                   item_id = $8, status_at = $9, status_rank = $10, details_at = $11,
                   lapsed_at = $12
               WHERE id = $1";
    let kept = tx.query(sql).bind(is.id).bind(is.plan_id).bind(is.seats).bind(&*is.status);
    let kept = kept.bind(is.current_period_end).bind(is.cancel_at_period_end);
    let kept = kept.bind(is.provider_id.as_deref()).bind(is.item_id.as_deref());
    let kept = kept.bind(is.status_at).bind(is.status_rank).bind(is.details_at);
    kept.bind(is.lapsed_at).run().await?;
    if is.good() && !was.good() {
        // Who pays for seats wants to use them; sessions that run stay as they are.
        let sql = "UPDATE companies SET billing_model = 'subscription' WHERE id = $1";
        if was.status == "incomplete" {
            tx.query(sql).bind(is.company_id).run().await?;
        }
    }
    let next = if is.status == "canceled" {
        None
    } else {
        Some(is.current_period_end.map_or(clock.now(), |end| end.max(clock.now())) + SILENCE)
    };
    let sql = "UPDATE subscriptions SET due_at = $2 WHERE id = $1";
    tx.query(sql).bind(is.id).bind(next).run().await?;
    Ok(())
}
