//! What a company's admins are told about money.

use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, UserId},
    notifications,
    storage::Tx,
};

/// Tells every admin that a payment failed. The last thing of its transaction, or nearly:
/// their inboxes are locked.
pub(super) async fn payment_failed(
    tx: &mut Tx,
    clock: &Clock,
    company: CompanyId,
    text: &str,
) -> Result<()> {
    // In the order in which everybody tells several.
    let sql = "SELECT user_id FROM members WHERE company_id = $1 AND role = 'admin'
               ORDER BY user_id";
    let admins: Vec<(UserId,)> = tx.query(sql).bind(company).all().await?;
    for (admin,) in admins {
        notifications::tell(tx, clock, admin, "payment_failed", None, text).await?;
    }
    Ok(())
}
