//! Builders' accounts at the provider, to which they are paid.

use super::transfers;
use crate::{
    clock::Clock, error::Result, id::BuilderId, payments::wire::Account, storage::Tx,
    timestamp::Timestamp,
};

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Payee {
    pub account_id: String,
    /// It can be sent money, and pays it out.
    pub payable: bool,
    /// The builder has told the provider who he is.
    pub submitted: bool,
}

pub async fn of(tx: &mut Tx, builder: BuilderId) -> Result<Option<Payee>> {
    let sql = "SELECT account_id, payable, submitted FROM payees WHERE builder_id = $1";
    Ok(tx.query(sql).bind(builder).optional().await?)
}

/// The provider has made it; the first that is told stays.
pub async fn made(tx: &mut Tx, builder: BuilderId, account: &str) -> Result<Payee> {
    let sql = "INSERT INTO payees (builder_id, account_id) VALUES ($1, $2)
               ON CONFLICT (builder_id) DO NOTHING";
    tx.query(sql).bind(builder).bind(account).run().await?;
    let sql = "SELECT account_id, payable, submitted FROM payees WHERE builder_id = $1";
    Ok(tx.query(sql).bind(builder).one().await?)
}

/// The provider tells how it stands. What was so before something that is known already is
/// not so any more. False when no such account is known (yet).
pub(super) async fn told(
    tx: &mut Tx,
    clock: &Clock,
    account: &Account,
    at: Timestamp,
) -> Result<bool> {
    let sql = "SELECT builder_id FROM payees WHERE account_id = $1";
    let found: Option<(BuilderId,)> = tx.query_locked(sql).bind(&*account.id).optional().await?;
    let Some((builder,)) = found else { return Ok(false) };
    let sql = "UPDATE payees SET payable = $2, submitted = $3, told_at = $4
               WHERE builder_id = $1 AND (told_at IS NULL OR told_at <= $4)";
    let payable = account.payable();
    let told = tx.query(sql).bind(builder).bind(payable).bind(account.details_submitted);
    if told.bind(at).run().await? > 0 && payable {
        transfers::release_of(tx, clock.now(), builder).await?;
    }
    Ok(true)
}
