//! Invoices: one for each session that cost something, numbered per company without gaps.

use super::charges::Charge;
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{CompanyId, InvoiceId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// What a session cost.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    pub id: InvoiceId,
    /// Counts the company's invoices from one, without gaps.
    pub number: i64,
    pub session_id: SessionId,
    pub agent_name: String,
    /// The time that is paid for.
    pub duration_millis: i64,
    #[serde(rename = "priceCentsPerHour")]
    pub price_cents: i64,
    pub total_cents: i64,
    /// The platform's part of the total.
    pub platform_fee_cents: i64,
    /// The builder's.
    pub builder_payout_cents: i64,
    pub created_at: Timestamp,
}

macro_rules! invoice {
    () => {
        "SELECT id, number, session_id, agent_name, duration_millis, price_cents, total_cents,
             platform_fee_cents, builder_payout_cents, created_at FROM invoices"
    };
}

/// What is to be written on one.
pub(super) struct New<'a> {
    pub(super) charge: &'a Charge,
    pub(super) agent: &'a str,
    /// Milliseconds that are paid for.
    pub(super) active: u64,
    pub(super) billed: i64,
    pub(super) fee: i64,
}

pub(super) async fn write(tx: &mut Tx, clock: &Clock, new: New<'_>) -> Result<()> {
    let New { charge, agent, active, billed, fee } = new;
    let sql = "UPDATE companies SET invoices = invoices + 1 WHERE id = $1 RETURNING invoices";
    let (number,): (i64,) = tx.query(sql).bind(charge.company_id).one().await?;
    let sql = "INSERT INTO invoices (id, company_id, number, session_id, agent_name,
                   duration_millis, price_cents, total_cents, platform_fee_cents,
                   builder_payout_cents, created_at, builder_id)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let written = tx.query(sql).bind(clock.id::<InvoiceId>()).bind(charge.company_id).bind(number);
    let written = written.bind(charge.session_id).bind(agent);
    let written = written.bind(i64::try_from(active).unwrap_or(i64::MAX)).bind(charge.price_cents);
    let written = written.bind(billed).bind(fee).bind(billed - fee).bind(clock.now());
    written.bind(charge.builder_id).run().await?;
    Ok(())
}

/// A company's invoices, newest first, before one of them.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Invoice>> {
    let sql = concat!(
        invoice!(),
        " WHERE company_id = $1 AND ($2 IS NULL OR number < $2) ORDER BY number DESC LIMIT $3"
    );
    Ok(tx.query(sql).bind(company).bind(before).bind(limit).all().await?)
}

/// One of the company's.
pub async fn find(tx: &mut Tx, company: CompanyId, id: InvoiceId) -> Result<Invoice> {
    let sql = concat!(invoice!(), " WHERE company_id = $1 AND id = $2");
    let found: Option<Invoice> = tx.query(sql).bind(company).bind(id).optional().await?;
    found.ok_or(Error::not_found("invoice"))
}
