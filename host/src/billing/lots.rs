//! Which charge a client's money came by. Money is spent in the order in which it came, so
//! that a transfer to a builder can name a charge that covers it: then the provider sends
//! it although that charge is not settled yet.
//!
//! What is left of a company's lots is what it has. Whoever changes both posts first: the
//! accounts are the queue.

use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, LotId},
    storage::Tx,
};

/// A part of a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// None: nobody knows which, and the provider need not be told.
    pub(super) lot: Option<LotId>,
    pub(super) cents: i64,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Lot {
    pub(super) id: LotId,
    pub(super) company_id: CompanyId,
    pub(super) cents: i64,
    pub(super) refunded_elsewhere: i64,
}

/// Which are spent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Oldest,
    Newest,
}

/// Money has come in.
pub(super) async fn add(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    cents: i64,
    (intent, charge): (Option<&str>, Option<&str>),
) -> Result<()> {
    let sql = "INSERT INTO lots (id, company_id, intent_id, charge_id, cents, created_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let added = tx.query(sql).bind(clock.id::<LotId>()).bind(company).bind(intent).bind(charge);
    added.bind(cents).bind(clock.now()).run().await?;
    Ok(())
}

/// Takes so much of what is left.
pub(super) async fn take(
    tx: &mut Tx,
    company: CompanyId,
    cents: i64,
    from: From,
) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut missing = cents;
    while missing > 0 {
        let sql = match from {
            From::Oldest => {
                "SELECT id, cents - used FROM lots WHERE company_id = $1 AND used < cents
                 ORDER BY id LIMIT 1"
            }
            From::Newest => {
                "SELECT id, cents - used FROM lots WHERE company_id = $1 AND used < cents
                 ORDER BY id DESC LIMIT 1"
            }
        };
        let Some((lot, left)) =
            tx.query_locked(sql).bind(company).optional::<(LotId, i64)>().await?
        else {
            pieces.push(Piece { lot: None, cents: missing });
            break;
        };
        let cents = left.min(missing);
        spend(tx, lot, cents).await?;
        pieces.push(Piece { lot: Some(lot), cents });
        missing -= cents;
    }
    Ok(pieces)
}

/// Takes so much of what is left, first of all of this lot.
pub(super) async fn take_first_of(
    tx: &mut Tx,
    company: CompanyId,
    lot: LotId,
    cents: i64,
) -> Result<()> {
    let sql = "SELECT cents - used FROM lots WHERE id = $1";
    let (left,): (i64,) = tx.query_locked(sql).bind(lot).one().await?;
    let here = left.min(cents);
    if here > 0 {
        spend(tx, lot, here).await?;
    }
    take(tx, company, cents - here, From::Oldest).await.map(drop)
}

async fn spend(tx: &mut Tx, lot: LotId, cents: i64) -> Result<()> {
    let sql = "UPDATE lots SET used = used + $2 WHERE id = $1";
    tx.query(sql).bind(lot).bind(cents).run().await?;
    Ok(())
}

/// What was taken of it was not needed.
pub(super) async fn give_back(tx: &mut Tx, lot: LotId, cents: i64) -> Result<()> {
    let sql = "UPDATE lots SET used = used - $2 WHERE id = $1";
    tx.query(sql).bind(lot).bind(cents).run().await?;
    Ok(())
}

/// The lot that came by this charge. Whoever locks its company's wallet before he asks
/// knows it as it stays.
pub(super) async fn of_charge(
    tx: &mut Tx,
    charge: &str,
    intent: Option<&str>,
) -> Result<Option<Lot>> {
    let sql = "SELECT id, company_id, cents, refunded_elsewhere FROM lots
               WHERE charge_id = $1 OR intent_id = $2";
    Ok(tx.query(sql).bind(charge).bind(intent).optional().await?)
}
