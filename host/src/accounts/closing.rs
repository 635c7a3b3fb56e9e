//! A company closes for good: its people go first, and what it has stored after them.
//!
//! Its row stays, with its name and its id, as the ledger and the invoices do. Who builds
//! agents or runs the platform is a user still, with a company of his own; everybody else
//! is a user no more, and what is left of him says nothing of him.

use super::{company_to_change, keys, members, sign_ins};
use crate::{
    clock::Clock,
    error::Result,
    id::{CompanyId, UserId},
    storage::Tx,
    timestamp::Timestamp,
};

/// One of its people.
#[derive(sqlx::FromRow)]
struct Person {
    user_id: UserId,
    email: String,
    name: String,
    /// He is a builder or an operator.
    stays: bool,
}

/// Closes it, in one go with all that says who its people were; false when it was closed
/// before.
pub async fn close(tx: &mut Tx, clock: &Clock, company: CompanyId) -> Result<bool> {
    company_to_change(tx, company).await?;
    let sql = "UPDATE companies SET closed_at = $2, logo_url = NULL
               WHERE id = $1 AND closed_at IS NULL";
    if tx.query(sql).bind(company).bind(clock.now()).run().await? == 0 {
        return Ok(false);
    }
    let sql = "SELECT m.user_id, u.email, u.name, u.operator OR b.id IS NOT NULL AS stays
               FROM members m JOIN users u ON u.id = m.user_id
               LEFT JOIN builders b ON b.user_id = m.user_id
               WHERE m.company_id = $1 ORDER BY m.user_id";
    let people: Vec<Person> = tx.query(sql).bind(company).all().await?;
    for person in people {
        if person.stays {
            members::alone(tx, clock, person.user_id, &person.name).await?;
        } else {
            forget(tx, &person).await?;
        }
    }
    tx.query("DELETE FROM invitations WHERE company_id = $1").bind(company).run().await?;
    Ok(true)
}

/// Nobody signs in as this user again, and nothing tells who he was.
async fn forget(tx: &mut Tx, person: &Person) -> Result<()> {
    let user = person.user_id;
    sign_ins::end_all_but(tx, user, None).await?;
    keys::delete_all(tx, user).await?;
    for sql in [
        "DELETE FROM recovery_codes WHERE user_id = $1",
        "DELETE FROM links WHERE user_id = $1",
        "DELETE FROM notifications WHERE user_id = $1",
        "DELETE FROM inboxes WHERE user_id = $1",
    ] {
        tx.query(sql).bind(user).run().await?;
    }
    tx.query("DELETE FROM mails WHERE email = $1").bind(&*person.email).run().await?;
    // The address is nobody's: RFC 6761 keeps `invalid` free.
    let sql = "UPDATE users SET email = $2, name = 'Former user', password_hash = '',
                   totp_sealed = NULL, totp_since = NULL, unmailed = '[]' WHERE id = $1";
    tx.query(sql).bind(user).bind(format!("{user}@former.invalid")).run().await?;
    Ok(())
}

/// Companies that are closed and not emptied yet, and since when.
pub async fn unemptied(tx: &mut Tx, limit: i64) -> Result<Vec<(CompanyId, Timestamp)>> {
    let sql = "SELECT id, closed_at FROM companies
               WHERE closed_at IS NOT NULL AND emptied_at IS NULL ORDER BY closed_at LIMIT $1";
    Ok(tx.query(sql).bind(limit).all().await?)
}

pub async fn emptied(tx: &mut Tx, clock: &Clock, company: CompanyId) -> Result<()> {
    let sql = "UPDATE companies SET emptied_at = $2 WHERE id = $1";
    tx.query(sql).bind(company).bind(clock.now()).run().await?;
    Ok(())
}
