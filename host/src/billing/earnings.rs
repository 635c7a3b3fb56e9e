//! What a builder has earned, and what became of it.

use super::ledger::{self, Account};
use crate::{
    error::Result,
    id::{BuilderId, SessionId, TransferId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// What a builder's sessions came to.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Earnings {
    /// What clients paid for the builder's sessions.
    pub gross_cents: i64,
    /// The platform's part.
    pub fee_cents: i64,
    /// The builder's: what was sent and what was not.
    pub net_cents: i64,
    /// Sent to the builder's account.
    pub paid_cents: i64,
    /// Not sent, or on its way.
    pub pending_cents: i64,
}

pub async fn of(tx: &mut Tx, builder: BuilderId) -> Result<Earnings> {
    let sql = "SELECT CAST(COALESCE(SUM(total_cents), 0) AS BIGINT),
                      CAST(COALESCE(SUM(platform_fee_cents), 0) AS BIGINT)
               FROM invoices WHERE builder_id = $1";
    let (gross_cents, fee_cents): (i64, i64) = tx.query(sql).bind(builder).one().await?;
    let payable = ledger::balance(tx, Account::Payable(builder)).await?;
    let pending_cents = payable + ledger::balance(tx, Account::InFlight(builder)).await?;
    let net_cents = gross_cents - fee_cents;
    let paid_cents = net_cents - pending_cents;
    Ok(Earnings { gross_cents, fee_cents, net_cents, paid_cents, pending_cents })
}

/// A builder's pay for a session, or a part of it, on its way to his account.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    pub id: TransferId,
    pub session_id: SessionId,
    pub amount_cents: i64,
    /// `pending`; `parked`, until the builder's account can be paid; `paid`; `reversed`.
    pub state: String,
    /// Why it is not paid.
    #[schema(required)]
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A builder's, newest first, before one of them.
pub async fn transfers(
    tx: &mut Tx,
    builder: BuilderId,
    before: Option<TransferId>,
    limit: i64,
) -> Result<Vec<Transfer>> {
    let sql = "SELECT id, session_id, cents AS amount_cents, reason, created_at, updated_at,
                   CASE WHEN reversed_cents > 0 THEN 'reversed'
                        WHEN state = 'done' THEN 'paid'
                        WHEN state = 'parked' THEN 'parked'
                        ELSE 'pending' END AS state
               FROM transfers WHERE builder_id = $1 AND ($2 IS NULL OR id < $2)
               ORDER BY id DESC LIMIT $3";
    Ok(tx.query(sql).bind(builder).bind(before).bind(limit).all().await?)
}
