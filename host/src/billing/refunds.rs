//! What clients get back of what they have not spent. It leaves the wallet at once, and
//! comes back to it when the provider cannot pay it.

use super::{
    ledger::{self, Account, Movement, Posting},
    lots::{self, From},
    outbox::{self, Step},
    wallet,
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    id::{CompanyId, LotId, RefundId},
    payments::wire,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;

/// Money on its way back to a company, of one of its payments.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: RefundId,
    pub company_id: CompanyId,
    #[serde(skip)]
    pub lot_id: LotId,
    #[serde(rename = "amountCents")]
    pub cents: i64,
    /// `waiting`; `claimed`, while the provider is asked; `unknown`, when it did not answer;
    /// `pending` there; `done`; `failed`, and back in the wallet.
    #[serde(rename = "status")]
    pub state: String,
    #[serde(skip)]
    pub tries: i64,
    #[serde(skip)]
    pub first_tried_at: Option<Timestamp>,
    #[serde(skip)]
    pub intent_id: Option<String>,
    /// Why it failed, or is not known to be done.
    #[schema(required)]
    pub reason: Option<String>,
    pub created_at: Timestamp,
}

macro_rules! refund {
    () => {
        "SELECT r.id, r.company_id, r.lot_id, r.cents, r.state, r.tries, r.first_tried_at,
             l.intent_id, r.reason, r.created_at
         FROM refunds r JOIN lots l ON l.id = r.lot_id"
    };
}

/// Takes so much out of the wallet, and leaves it to be paid back: to the newest payments
/// first. 409 when there is not so much that is not spent and not held.
pub async fn begin(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    cents: i64,
) -> Result<Vec<Refund>> {
    let (wallet, refunding) = (Account::Wallet(company), Account::Refunding(company));
    let has = ledger::balance(tx, wallet).await?;
    if has < cents {
        let detail = format!("{has} cents are not spent and not held");
        return Err(Error::conflict("not_that_much", detail));
    }
    let movements = [Movement { from: wallet, to: refunding, cents }];
    let id: RefundId = clock.id();
    let key = format!("refund:{id}:begin");
    let posting = Posting { key: &key, kind: "refund", session: None, movements: &movements };
    wallet::change(tx, clock, company, "refund", -cents, posting).await?;
    let now = clock.now();
    let mut refunds = Vec::new();
    for piece in lots::take(tx, company, cents, From::Newest).await? {
        let Some(lot) = piece.lot else {
            return Err(Error::conflict("not_that_much", "no payment is known to pay it back to"));
        };
        let sql = "INSERT INTO refunds (id, company_id, lot_id, cents, state, due_at, created_at,
                       updated_at)
                   VALUES ($1, $2, $3, $4, 'waiting', $5, $5, $5)";
        let id: RefundId = clock.id();
        let added = tx.query(sql).bind(id).bind(company).bind(lot).bind(piece.cents);
        added.bind(now).run().await?;
        let sql = concat!(refund!(), " WHERE r.id = $1");
        refunds.push(tx.query(sql).bind(id).one().await?);
    }
    Ok(refunds)
}

/// A company's, newest first, before one of them.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    before: Option<RefundId>,
    limit: i64,
) -> Result<Vec<Refund>> {
    let sql = concat!(
        refund!(),
        " WHERE r.company_id = $1 AND ($2 IS NULL OR r.id < $2) ORDER BY r.id DESC LIMIT $3"
    );
    Ok(tx.query(sql).bind(company).bind(before).bind(limit).all().await?)
}

pub async fn any(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM refunds WHERE due_at <= $1 LIMIT 1";
    Ok(tx.query(sql).bind(now).optional::<(i32,)>().await?.is_some())
}

/// One that is due, for this caller alone, and what is to be done about it.
pub async fn claim(tx: &mut Tx, clock: &Clock, node: [u8; 8]) -> Result<Option<(Refund, Step)>> {
    let now = clock.now();
    let sql = "SELECT id FROM refunds WHERE due_at <= $1 ORDER BY due_at LIMIT 1";
    let due: Option<(RefundId,)> = tx.query_skip_locked(sql).bind(now).optional().await?;
    let Some((id,)) = due else { return Ok(None) };
    let sql = concat!(refund!(), " WHERE r.id = $1");
    let mut refund: Refund = tx.query(sql).bind(id).one().await?;
    let step = outbox::step(format!("refund_{id}"), refund.first_tried_at, now);
    let sql = "UPDATE refunds SET state = 'claimed', tries = tries + 1, due_at = $2,
                   first_tried_at = COALESCE(first_tried_at, $3), updated_at = $3, node = $4
               WHERE id = $1";
    let claimed = tx.query(sql).bind(id).bind(now + outbox::CLAIM).bind(now);
    claimed.bind(node.to_vec()).run().await?;
    refund.tries += 1;
    Ok(Some((refund, step)))
}

/// What this process was asking for in its life before is due now.
pub async fn leave_all(tx: &mut Tx, node: [u8; 8], started: Timestamp) -> Result<()> {
    let sql = "UPDATE refunds SET due_at = $2
               WHERE state = 'claimed' AND node = $1 AND updated_at < $2";
    tx.query(sql).bind(node.to_vec()).bind(started).run().await?;
    Ok(())
}

/// Nobody knows whether it was done.
pub async fn unknown(tx: &mut Tx, now: Timestamp, refund: &Refund, why: &str) -> Result<()> {
    let sql = "UPDATE refunds SET state = 'unknown', due_at = $2, reason = $3, updated_at = $4
               WHERE id = $1 AND state = 'claimed'";
    let wait = outbox::wait(outbox::UNKNOWN, refund.tries);
    tx.query(sql).bind(refund.id).bind(now + wait).bind(why).bind(now).run().await?;
    Ok(())
}

/// The provider tells how one stands. False when it is none of ours.
pub async fn told(tx: &mut Tx, clock: &Clock, refund: &wire::Refund) -> Result<bool> {
    let sql = "SELECT id, company_id, lot_id, cents, state FROM refunds
               WHERE id = $1 OR provider_id = $2";
    let found = tx.query_locked(sql).bind(refund.metadata.refund).bind(&*refund.id);
    let found: Option<(RefundId, CompanyId, LotId, i64, String)> = found.optional().await?;
    let Some((id, company, lot, cents, state)) = found else { return Ok(false) };
    let status = refund.status.as_deref().unwrap_or("pending");
    match status {
        _ if matches!(state.as_str(), "done" | "failed") => {
            // A bank may send it back even after that.
            if state == "done" && matches!(status, "failed" | "canceled") {
                come_back(tx, clock, (id, company, lot, cents), Account::Provider).await?;
                end(tx, clock, id, Some(&refund.id), "failed").await?;
            }
        }
        "succeeded" => {
            let from = Account::Refunding(company);
            let movements = [Movement { from, to: Account::Provider, cents }];
            let key = format!("refund:{id}:done");
            let posting =
                Posting { key: &key, kind: "refund", session: None, movements: &movements };
            ledger::post(tx, clock, posting).await?;
            end(tx, clock, id, Some(&refund.id), "done").await?;
        }
        "failed" | "canceled" => {
            come_back(tx, clock, (id, company, lot, cents), Account::Refunding(company)).await?;
            end(tx, clock, id, Some(&refund.id), "failed").await?;
        }
        _ => end(tx, clock, id, Some(&refund.id), "pending").await?,
    }
    Ok(true)
}

/// The provider will not do it, and has not.
pub async fn refused(tx: &mut Tx, clock: &Clock, refund: &Refund, why: &str) -> Result<()> {
    let sql = "SELECT 1 FROM refunds WHERE id = $1 AND state IN ('claimed', 'unknown')";
    if tx.query_locked(sql).bind(refund.id).optional::<(i32,)>().await?.is_none() {
        return Ok(());
    }
    let Refund { id, company_id, lot_id, cents, .. } = *refund;
    let from = Account::Refunding(company_id);
    come_back(tx, clock, (id, company_id, lot_id, cents), from).await?;
    let sql = "UPDATE refunds SET reason = $2 WHERE id = $1";
    tx.query(sql).bind(id).bind(why).run().await?;
    end(tx, clock, id, None, "failed").await
}

async fn come_back(
    tx: &mut Tx,
    clock: &Clock,
    (id, company, lot, cents): (RefundId, CompanyId, LotId, i64),
    from: Account,
) -> Result<()> {
    let movements = [Movement { from, to: Account::Wallet(company), cents }];
    let key = format!("refund:{id}:back");
    let posting = Posting { key: &key, kind: "refund", session: None, movements: &movements };
    wallet::change(tx, clock, company, "refund", cents, posting).await?;
    lots::give_back(tx, lot, cents).await
}

async fn end(
    tx: &mut Tx,
    clock: &Clock,
    id: RefundId,
    name: Option<&str>,
    state: &'static str,
) -> Result<()> {
    let sql = "UPDATE refunds SET state = $2, provider_id = COALESCE($3, provider_id),
                   due_at = NULL, updated_at = $4
               WHERE id = $1";
    tx.query(sql).bind(id).bind(state).bind(name).bind(clock.now()).run().await?;
    Ok(())
}
