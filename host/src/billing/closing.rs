//! A company may close when nothing is owed on either side.

use super::{
    ledger::{self, Account},
    subscriptions,
};
use crate::{
    error::{Error, Result},
    id::CompanyId,
    storage::Tx,
};

/// 409 while the company has money here, money on its way, or seats.
pub async fn settled(tx: &mut Tx, company: CompanyId) -> Result<()> {
    let left = ledger::balance(tx, Account::Wallet(company)).await?
        + ledger::balance(tx, Account::Hold(company)).await?;
    if left != 0 {
        let detail = format!(
            "the wallet has {left} cents; spend them, or ask the platform's operator to pay them \
             back"
        );
        return Err(Error::conflict("wallet_not_empty", detail));
    }
    let underway = ledger::balance(tx, Account::Refunding(company)).await?;
    if underway != 0 {
        let detail = format!("{underway} cents are on their way back to you; wait for them");
        return Err(Error::conflict("refund_underway", detail));
    }
    let subscription = subscriptions::of(tx, company).await?;
    if subscription.is_some_and(|subscription| subscription.status != "canceled") {
        let detail = "the company has a subscription; cancel it, and wait for its period's end";
        return Err(Error::conflict("subscription_exists", detail));
    }
    Ok(())
}
