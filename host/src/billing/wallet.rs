//! What a client has with the platform, and what it came from and went for.

use super::{
    ledger::{self, Account, Movement, Posted, Posting},
    lots,
};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, SessionId, TransactionId},
    payments::{CURRENCY, wire::Intent},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// What a company has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wallet {
    /// With what is held.
    pub balance_cents: i64,
    /// For sessions that run.
    pub held_cents: i64,
    /// The balance without what is held.
    pub available_cents: i64,
    /// `usd`.
    pub currency: &'static str,
}

pub async fn of(tx: &mut Tx, company: CompanyId) -> Result<Wallet> {
    let available = ledger::balance(tx, Account::Wallet(company)).await?;
    let held = ledger::balance(tx, Account::Hold(company)).await?;
    Ok(Wallet {
        balance_cents: available + held,
        held_cents: held,
        available_cents: available,
        currency: CURRENCY,
    })
}

/// A line of what the client sees.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    pub id: TransactionId,
    /// `topup`, `session_charge`, `refund`, `adjustment`, `dispute`.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub kind: String,
    /// Below zero: it went.
    pub amount_cents: i64,
    pub balance_after_cents: i64,
    #[schema(required)]
    pub session_id: Option<SessionId>,
    pub created_at: Timestamp,
}

/// A client's transactions, newest first, before one of them.
pub async fn transactions(
    tx: &mut Tx,
    company: CompanyId,
    before: Option<TransactionId>,
    limit: i64,
) -> Result<Vec<Transaction>> {
    let sql = "SELECT id, type, amount_cents, balance_after_cents, session_id, created_at
               FROM wallet_transactions WHERE company_id = $1 AND ($2 IS NULL OR id < $2)
               ORDER BY id DESC LIMIT $3";
    Ok(tx.query(sql).bind(company).bind(before).bind(limit).all().await?)
}

/// Posts what changes what a client has, and tells it of that: under this type, so much.
pub(super) async fn change(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    kind: &'static str,
    amount: i64,
    posting: Posting<'_>,
) -> Result<Posted> {
    let posted = ledger::post(tx, clock, posting).await?;
    let Posted::Now(id) = posted else { return Ok(posted) };
    // Its accounts are locked by the posting.
    let after = of(tx, company).await?.balance_cents;
    let sql = "INSERT INTO wallet_transactions (id, company_id, posting_id, type, amount_cents,
                   balance_after_cents, session_id, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let told = tx.query(sql).bind(clock.id::<TransactionId>()).bind(company).bind(id).bind(kind);
    let told = told.bind(amount).bind(after).bind(posting.session).bind(clock.now());
    told.run().await?;
    Ok(posted)
}

/// Money has come in by this payment: it is the client's, once.
pub(super) async fn credit(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    intent: &Intent,
) -> Result<()> {
    let cents = intent.amount_received;
    let movements = [Movement { from: Account::Provider, to: Account::Wallet(company), cents }];
    let key = format!("topup:{}", intent.id);
    let posting = Posting { key: &key, kind: "topup", session: None, movements: &movements };
    if let Posted::Now(_) = change(tx, clock, company, "topup", cents, posting).await? {
        let names = (Some(intent.id.as_str()), intent.latest_charge.as_deref());
        lots::add(tx, clock, company, cents, names).await?;
    }
    Ok(())
}

/// How the company's next sessions are paid: `wallet` or `subscription`.
pub async fn model(tx: &mut Tx, company: CompanyId) -> Result<String> {
    let sql = "SELECT billing_model FROM companies WHERE id = $1";
    let (model,): (String,) = tx.query(sql).bind(company).one().await?;
    Ok(model)
}

/// Is it good for anything? Not while a payment into it is disputed.
pub async fn open(tx: &mut Tx, company: CompanyId) -> Result<bool> {
    let sql = "SELECT 1 FROM companies WHERE id = $1 AND frozen_at IS NULL";
    Ok(tx.query(sql).bind(company).optional::<(i32,)>().await?.is_some())
}

/// 402 while it is not.
pub(super) async fn check_open(tx: &mut Tx, company: CompanyId) -> Result<()> {
    if open(tx, company).await? {
        return Ok(());
    }
    let detail = "a payment into the wallet is disputed; until that is settled it pays for nothing";
    Err(Error::new(Kind::Payment, "wallet_frozen", detail))
}
