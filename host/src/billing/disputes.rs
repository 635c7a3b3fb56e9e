//! Charges that clients take back: through their bank, which freezes the wallet, or because
//! somebody refunded them at the provider. The money is gone already; what had been spent
//! of it is the client's debt.

use super::{
    ledger::{self, Account, Movement, Posting},
    lots, wallet,
};
use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, LotId},
    payments::wire,
    storage::Tx,
};

#[derive(Clone, Debug, sqlx::FromRow)]
struct Known {
    company_id: CompanyId,
    cents: i64,
    taken_cents: Option<i64>,
    returned: bool,
}

/// The provider tells of a dispute, under this name of event: `created`, `updated`,
/// `funds_withdrawn`, `funds_reinstated`, `closed`. In whatever order: what is taken is
/// taken once, what is given back is given back once. False when its charge is not known
/// (yet).
pub(super) async fn told(
    tx: &mut Tx,
    clock: &Clock,
    dispute: &wire::Dispute,
    event: &str,
) -> Result<bool> {
    let charge = dispute.charge.as_deref().unwrap_or_default();
    let intent = dispute.payment_intent.as_deref();
    let Some(lot) = lots::of_charge(tx, charge, intent).await? else { return Ok(false) };
    let company = lot.company_id;
    let sql = "INSERT INTO disputes (id, company_id, lot_id, cents, status, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (id) DO NOTHING";
    // No more than came by the charge.
    let cents = dispute.amount.min(lot.cents);
    let new = tx.query(sql).bind(&*dispute.id).bind(company).bind(lot.id).bind(cents);
    new.bind(&*dispute.status).bind(clock.now()).run().await?;
    let sql = "SELECT company_id, cents, taken_cents, returned FROM disputes WHERE id = $1";
    let known: Known = tx.query_locked(sql).bind(&*dispute.id).one().await?;
    // An inquiry takes nothing: <https://docs.stripe.com/disputes/how-disputes-work>.
    let inquiry = dispute.status.starts_with("warning_");
    let won = event == "funds_reinstated" || matches!(&*dispute.status, "won" | "warning_closed");
    let closed = won || event == "closed" || dispute.status == "lost";
    if known.taken_cents.is_none() && (event == "funds_withdrawn" || !inquiry && !won) {
        take(tx, clock, &dispute.id, &known, lot.id).await?;
    }
    if won {
        return_it(tx, clock, &dispute.id).await?;
    }
    let sql = "UPDATE disputes SET status = $2, updated_at = $3,
                   closed_at = CASE WHEN $4 THEN COALESCE(closed_at, $3) ELSE closed_at END
               WHERE id = $1 AND closed_at IS NULL";
    let kept = tx.query(sql).bind(&*dispute.id).bind(&*dispute.status).bind(clock.now());
    kept.bind(closed).run().await?;
    freeze(tx, clock, company).await?;
    Ok(true)
}

/// The client's money goes, and what he has not becomes his debt.
async fn take(tx: &mut Tx, clock: &Clock, dispute: &str, known: &Known, lot: LotId) -> Result<()> {
    let key = format!("dispute:{dispute}");
    let taken = lose(tx, clock, known.company_id, lot, known.cents, "dispute", &key).await?;
    let sql = "UPDATE disputes SET taken_cents = $2 WHERE id = $1";
    tx.query(sql).bind(dispute).bind(taken).run().await?;
    Ok(())
}

/// Takes so much from the wallet, as far as it is there, and notes the rest as owed. Says
/// how much was there.
async fn lose(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    lot: LotId,
    cents: i64,
    kind: &'static str,
    key: &str,
) -> Result<i64> {
    let (wallet, owed) = (Account::Wallet(company), Account::Disputed(company));
    // Locks the wallet, so that what is there stays there.
    let has = ledger::locked_balance(tx, clock, wallet).await?;
    let taken = has.min(cents);
    let movements: Vec<_> = [(wallet, taken), (owed, cents - taken)]
        .into_iter()
        .filter(|(_, cents)| *cents > 0)
        .map(|(from, cents)| Movement { from, to: Account::Provider, cents })
        .collect();
    let posting = Posting { key, kind, session: None, movements: &movements };
    if taken == 0 {
        ledger::post(tx, clock, posting).await?;
        return Ok(0);
    }
    wallet::change(tx, clock, company, kind, -taken, posting).await?;
    lots::take_first_of(tx, company, lot, taken).await?;
    Ok(taken)
}

/// The bank has decided for the platform: what was taken comes back, once.
async fn return_it(tx: &mut Tx, clock: &Clock, dispute: &str) -> Result<()> {
    let sql = "SELECT company_id, cents, taken_cents, returned FROM disputes WHERE id = $1";
    let known: Known = tx.query(sql).bind(dispute).one().await?;
    let Some(taken) = known.taken_cents.filter(|_| !known.returned) else { return Ok(()) };
    let company = known.company_id;
    let back =
        [(Account::Wallet(company), taken), (Account::Disputed(company), known.cents - taken)];
    let movements: Vec<_> = back
        .into_iter()
        .filter(|(_, cents)| *cents > 0)
        .map(|(to, cents)| Movement { from: Account::Provider, to, cents })
        .collect();
    let key = format!("dispute:{dispute}:returned");
    let posting = Posting { key: &key, kind: "dispute", session: None, movements: &movements };
    if taken > 0 {
        wallet::change(tx, clock, company, "dispute", taken, posting).await?;
        // A charge that was disputed is good for no transfer.
        lots::add(tx, clock, company, taken, (None, None)).await?;
    } else {
        ledger::post(tx, clock, posting).await?;
    }
    let sql = "UPDATE disputes SET returned = TRUE WHERE id = $1";
    tx.query(sql).bind(dispute).run().await?;
    Ok(())
}

/// A wallet is frozen while a dispute is open, and stays so after one that was lost, until
/// an operator says otherwise.
async fn freeze(tx: &mut Tx, clock: &Clock, company: CompanyId) -> Result<()> {
    let sql = "UPDATE companies SET frozen_at = CASE
                   WHEN EXISTS (SELECT 1 FROM disputes d WHERE d.company_id = companies.id
                                AND (d.closed_at IS NULL OR d.status = 'lost'))
                   THEN COALESCE(frozen_at, $2) ELSE NULL END
               WHERE id = $1";
    tx.query(sql).bind(company).bind(clock.now()).run().await?;
    Ok(())
}

/// An operator lets a company go on. False when it was not frozen.
pub async fn unfreeze(tx: &mut Tx, company: CompanyId) -> Result<bool> {
    let sql = "UPDATE companies SET frozen_at = NULL WHERE id = $1 AND frozen_at IS NOT NULL";
    Ok(tx.query(sql).bind(company).run().await? > 0)
}

/// The provider tells how much of a charge was given back in all. What this platform did
/// not ask for was somebody's at the provider. False when the charge is not known (yet).
pub(super) async fn refunded(tx: &mut Tx, clock: &Clock, charge: &wire::Charge) -> Result<bool> {
    let intent = charge.payment_intent.as_deref();
    let Some(lot) = lots::of_charge(tx, &charge.id, intent).await? else { return Ok(false) };
    ledger::locked_balance(tx, clock, Account::Wallet(lot.company_id)).await?;
    let Some(lot) = lots::of_charge(tx, &charge.id, intent).await? else { return Ok(false) };
    let sql = "SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT) FROM refunds
               WHERE lot_id = $1 AND state <> 'failed'";
    let (ours,): (i64,) = tx.query(sql).bind(lot.id).one().await?;
    let elsewhere = charge.amount_refunded.min(lot.cents) - ours;
    let more = elsewhere - lot.refunded_elsewhere;
    if more > 0 {
        let key = format!("refunded:{}:{elsewhere}", charge.id);
        lose(tx, clock, lot.company_id, lot.id, more, "refund", &key).await?;
        let sql = "UPDATE lots SET refunded_elsewhere = $2 WHERE id = $1";
        tx.query(sql).bind(lot.id).bind(elsewhere).run().await?;
    }
    Ok(true)
}
