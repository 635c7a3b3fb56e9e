//! What a seat costs, and how many sessions at a time it is good for.

use crate::{
    clock::Clock,
    error::{Error, Result},
    id::PlanId,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// What a seat costs, and how many sessions at a time it is good for.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: PlanId,
    pub name: String,
    /// How often it is billed: `month`, `year`.
    #[sqlx(rename = "billing_interval")]
    pub interval: String,
    /// For one interval.
    pub price_per_seat_cents: i64,
    /// Of one seat, at a time.
    pub max_active_sessions: i64,
    #[serde(skip)]
    pub price_id: Option<String>,
    #[serde(skip)]
    pub archived_at: Option<Timestamp>,
}

macro_rules! plan {
    () => {
        "SELECT id, name, billing_interval, price_per_seat_cents, max_active_sessions, price_id,
             archived_at FROM plans"
    };
}

/// What an operator offers; its price never changes.
#[derive(Clone, Debug)]
pub struct New {
    pub name: String,
    pub interval: String,
    pub price_per_seat_cents: i64,
    pub max_active_sessions: i64,
}

pub async fn create(tx: &mut Tx, clock: &Clock, new: &New) -> Result<Plan> {
    let sql = "INSERT INTO plans (id, name, billing_interval, price_per_seat_cents,
                   max_active_sessions, created_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let id: PlanId = clock.id();
    let made = tx.query(sql).bind(id).bind(&*new.name).bind(&*new.interval);
    let made = made.bind(new.price_per_seat_cents).bind(new.max_active_sessions);
    made.bind(clock.now()).run().await?;
    find(tx, id).await
}

/// Also one that is not offered any more.
pub async fn find(tx: &mut Tx, id: PlanId) -> Result<Plan> {
    let sql = concat!(plan!(), " WHERE id = $1");
    tx.query(sql).bind(id).optional().await?.ok_or(Error::not_found("plan"))
}

/// One that is offered.
pub async fn offered(tx: &mut Tx, id: PlanId) -> Result<Plan> {
    let plan = find(tx, id).await?;
    if plan.archived_at.is_some() {
        return Err(Error::not_found("plan"));
    }
    Ok(plan)
}

/// Those that are offered, newest first, before one of them.
pub async fn list(tx: &mut Tx, before: Option<PlanId>, limit: i64) -> Result<Vec<Plan>> {
    let sql = concat!(
        plan!(),
        " WHERE archived_at IS NULL AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2"
    );
    Ok(tx.query(sql).bind(before).bind(limit).all().await?)
}

/// It is offered to nobody any more; who has it keeps it.
pub async fn archive(tx: &mut Tx, clock: &Clock, id: PlanId) -> Result<()> {
    let sql = "UPDATE plans SET archived_at = COALESCE(archived_at, $2) WHERE id = $1";
    if tx.query(sql).bind(id).bind(clock.now()).run().await? == 0 {
        return Err(Error::not_found("plan"));
    }
    Ok(())
}

/// The provider has a price for it; the first that is told stays.
pub async fn priced(tx: &mut Tx, id: PlanId, price: &str) -> Result<Plan> {
    let sql = "UPDATE plans SET price_id = COALESCE(price_id, $2) WHERE id = $1";
    tx.query(sql).bind(id).bind(price).run().await?;
    find(tx, id).await
}

pub(super) async fn of_price(tx: &mut Tx, price: &str) -> Result<Option<PlanId>> {
    let sql = "SELECT id FROM plans WHERE price_id = $1";
    let found: Option<(PlanId,)> = tx.query(sql).bind(price).optional().await?;
    Ok(found.map(|(id,)| id))
}
