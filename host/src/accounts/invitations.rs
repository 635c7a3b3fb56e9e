//! Invitations to become a member of a company: mailed, good for a week, and once.

use super::{SignUp, User, by_email, company_to_change, enter, keys, links::Shown, members};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{CompanyId, InvitationId, UserId},
    mails::{self, Content},
    seal::Key,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;
use std::time::Duration;

/// Contract §3.
const LIFE: Duration = Duration::from_hours(7 * 24);

/// Pending invitations of one company: more than a person writes down in a day, and few
/// enough that nobody mails the world through us.
const MOST: i64 = 200;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    pub id: InvitationId,
    #[serde(skip)]
    pub company_id: CompanyId,
    pub email: String,
    /// What one becomes: `admin` or `member`.
    pub role: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// `pending`, `accepted`, `cancelled` or `expired`.
    #[sqlx(rename = "state")]
    pub status: String,
    /// Counts the links that were mailed.
    #[serde(skip)]
    link: i64,
}

impl Invitation {
    /// As it is at this moment.
    fn at(mut self, now: Timestamp) -> Self {
        if self.status == "pending" && self.expires_at <= now {
            self.status = "expired".into();
        }
        self
    }
}

macro_rules! columns {
    () => {
        "id, company_id, email, role, created_at, expires_at, state, link"
    };
}

/// Who invites.
pub struct Inviter<'a> {
    pub company: CompanyId,
    pub user: UserId,
    pub name: &'a str,
}

/// Invites whoever reads mail at this address. 409 when he is a member or invited.
pub async fn invite(
    tx: &mut Tx,
    clock: &Clock,
    by: &Inviter<'_>,
    email: &str,
    role: &str,
) -> Result<Invitation> {
    // The company's row is the queue for its places.
    let company = company_to_change(tx, by.company).await?;
    let sql = "SELECT m.user_id FROM members m JOIN users u ON u.id = m.user_id
               WHERE m.company_id = $1 AND u.email = $2";
    let member: Option<(UserId,)> = tx.query(sql).bind(by.company).bind(email).optional().await?;
    if member.is_some() {
        return Err(Error::conflict("already_a_member", "that is a member's address"));
    }
    let now = clock.now();
    // One that has expired makes room.
    let sql = "UPDATE invitations SET state = 'cancelled'
               WHERE company_id = $1 AND state = 'pending' AND expires_at <= $2";
    tx.query(sql).bind(by.company).bind(now).run().await?;
    let sql = "SELECT COUNT(*) FROM invitations WHERE company_id = $1 AND state = 'pending'";
    let (pending,): (i64,) = tx.query(sql).bind(by.company).one().await?;
    if pending >= MOST {
        let detail = format!("{MOST} invitations are pending; cancel some, or wait");
        return Err(Error::conflict("too_many_invitations", detail));
    }
    let made = tx.query(concat!(
        "INSERT INTO invitations (id, company_id, email, role, invited_by, state, created_at,
                                  expires_at)
         VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7)
         ON CONFLICT (company_id, email) WHERE state = 'pending' DO NOTHING
         RETURNING ",
        columns!()
    ));
    let made = made.bind(clock.id::<InvitationId>()).bind(by.company).bind(email).bind(role);
    let made = made.bind(by.user).bind(now).bind(now + LIFE).optional().await?;
    let made: Invitation = made.ok_or_else(|| {
        let detail = "that address is invited already; send the invitation again instead";
        Error::conflict("already_invited", detail)
    })?;
    mail(tx, clock, &made, company.name, by.name).await?;
    Ok(made)
}

/// Mails a new link, good for a week; the one before is good for nothing any more.
pub async fn resend(
    tx: &mut Tx,
    clock: &Clock,
    by: &Inviter<'_>,
    id: InvitationId,
) -> Result<Invitation> {
    let company = company_to_change(tx, by.company).await?;
    let sent = tx.query(concat!(
        "UPDATE invitations SET link = link + 1, expires_at = $3
         WHERE id = $1 AND company_id = $2 AND state = 'pending' RETURNING ",
        columns!()
    ));
    let sent = sent.bind(id).bind(by.company).bind(clock.now() + LIFE).optional().await?;
    let sent: Invitation = match sent {
        Some(sent) => sent,
        None => {
            find(tx, by.company, id).await?;
            let detail = "the invitation was accepted or cancelled";
            return Err(Error::conflict("invitation_over", detail));
        }
    };
    mail(tx, clock, &sent, company.name, by.name).await?;
    Ok(sent)
}

async fn mail(
    tx: &mut Tx,
    clock: &Clock,
    invitation: &Invitation,
    company: String,
    by: &str,
) -> Result<()> {
    let (id, number) = (invitation.id, invitation.link);
    let content = Content::Invitation { invitation: id, number, company, by: by.to_owned() };
    mails::post(tx, clock, &invitation.email, content).await
}

/// Cancelling twice is as good as once; an accepted one cannot be.
pub async fn cancel(tx: &mut Tx, company: CompanyId, id: InvitationId) -> Result<()> {
    let sql = "UPDATE invitations SET state = 'cancelled'
               WHERE id = $1 AND company_id = $2 AND state <> 'accepted'";
    if tx.query(sql).bind(id).bind(company).run().await? == 0 {
        find(tx, company, id).await?;
        let detail = "it was accepted; remove the member instead";
        return Err(Error::conflict("invitation_over", detail));
    }
    Ok(())
}

async fn find(tx: &mut Tx, company: CompanyId, id: InvitationId) -> Result<Invitation> {
    let sql = concat!("SELECT ", columns!(), " FROM invitations WHERE id = $1 AND company_id = $2");
    let found = tx.query(sql).bind(id).bind(company).optional().await?;
    found.ok_or(Error::not_found("invitation"))
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    before: Option<InvitationId>,
    limit: i64,
) -> Result<Vec<Invitation>> {
    let found = tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM invitations WHERE company_id = $1 AND ($2 IS NULL OR id < $2)
          ORDER BY id DESC LIMIT $3"
    ));
    let found: Vec<Invitation> = found.bind(company).bind(before).bind(limit).all().await?;
    Ok(found.into_iter().map(|invitation| invitation.at(now)).collect())
}

const BY_ID: &str = concat!("SELECT ", columns!(), " FROM invitations WHERE id = $1");

/// The pending invitation behind a link, to be looked at: 404 when there is none, 410 when
/// it is over.
pub async fn look(tx: &mut Tx, now: Timestamp, key: &Key, token: &str) -> Result<Invitation> {
    let shown = Shown::read(token).ok_or(Error::not_found("invitation"))?;
    let found = tx.query(BY_ID).bind(shown.id).optional().await?;
    pending(found, &shown, now, key)
}

/// Likewise, to be accepted: nobody else does meanwhile.
pub async fn open(tx: &mut Tx, now: Timestamp, key: &Key, token: &str) -> Result<Invitation> {
    let shown = Shown::read(token).ok_or(Error::not_found("invitation"))?;
    let found = tx.query_locked(BY_ID).bind(shown.id).optional().await?;
    pending(found, &shown, now, key)
}

fn pending(
    found: Option<Invitation>,
    shown: &Shown,
    now: Timestamp,
    key: &Key,
) -> Result<Invitation> {
    let unknown = || Error::not_found("invitation");
    let found = found.ok_or_else(unknown)?;
    // A link that was followed by another one is told from one that never was.
    let good = (1..=found.link).rev().find(|number| shown.is_good(key, *number));
    let number = good.ok_or_else(unknown)?;
    let gone = |code, detail| Err(Error::new(Kind::Gone, code, detail));
    match found.at(now) {
        it if it.status == "accepted" => gone("invitation_used", "this invitation was accepted"),
        it if it.status == "cancelled" => gone("invitation_cancelled", "it was cancelled"),
        it if number < it.link => gone("invitation_replaced", "a newer link was mailed"),
        it if it.status == "expired" => gone("invitation_expired", "this invitation is too old"),
        it => Ok(it),
    }
}

/// The user, whose address it is, becomes a member. He has a company already: if he is
/// alone in it and nothing has happened there, it is closed, else 409.
pub async fn accept(
    tx: &mut Tx,
    clock: &Clock,
    invitation: &Invitation,
    user: &User,
) -> Result<()> {
    if user.email != invitation.email {
        let detail = "this invitation is for another mail address";
        return Err(Error::forbidden("another_address", detail));
    }
    let before = super::company_of(tx, user.id).await?.id;
    if before != invitation.company_id {
        // In the order of their ids, as everybody locks two.
        let mut both = [before, invitation.company_id];
        both.sort_by_key(|id| id.0);
        for company in both {
            company_to_change(tx, company).await?;
        }
        if !is_unused(tx, before).await? {
            let detail =
                "you have a company that is in use, or are not alone in it; leave it first";
            return Err(Error::conflict("company_in_use", detail));
        }
        let sql = "UPDATE companies SET closed_at = $2 WHERE id = $1";
        tx.query(sql).bind(before).bind(clock.now()).run().await?;
        members::moves(tx, clock, user.id, invitation.company_id, &invitation.role).await?;
        keys::delete_all(tx, user.id).await?;
    }
    accepted(tx, clock, invitation).await
}

/// Somebody who has not signed up yet becomes a user and a member.
pub async fn join(
    tx: &mut Tx,
    clock: &Clock,
    invitation: &Invitation,
    name: String,
    password_hash: String,
) -> Result<User> {
    if by_email(tx, &invitation.email).await?.is_some() {
        let detail = "there is an account with this mail address: sign in, and accept then";
        return Err(Error::conflict("sign_in_first", detail));
    }
    company_to_change(tx, invitation.company_id).await?;
    let new =
        SignUp { email: invitation.email.clone(), name, company: String::new(), password_hash };
    let user = enter(tx, clock, new, invitation.company_id, &invitation.role).await?;
    accepted(tx, clock, invitation).await?;
    Ok(user)
}

async fn accepted(tx: &mut Tx, clock: &Clock, invitation: &Invitation) -> Result<()> {
    let sql = "UPDATE invitations SET state = 'accepted', accepted_at = $2 WHERE id = $1";
    tx.query(sql).bind(invitation.id).bind(clock.now()).run().await?;
    Ok(())
}

/// Has nothing ever happened in it, and is there one member at most?
async fn is_unused(tx: &mut Tx, company: CompanyId) -> Result<bool> {
    let sql = "SELECT (SELECT COUNT(*) FROM members WHERE company_id = $1) <= 1
                  AND NOT EXISTS (SELECT 1 FROM sessions WHERE company_id = $1)
                  AND NOT EXISTS (SELECT 1 FROM nodes WHERE company_id = $1)
                  AND NOT EXISTS (SELECT 1 FROM topups WHERE company_id = $1)
                  AND NOT EXISTS (SELECT 1 FROM wallet_transactions WHERE company_id = $1)
                  AND NOT EXISTS (SELECT 1 FROM subscriptions WHERE company_id = $1)
                  AND NOT EXISTS (SELECT 1 FROM invitations
                                  WHERE company_id = $1 AND state = 'pending')";
    let (unused,): (bool,) = tx.query(sql).bind(company).one().await?;
    Ok(unused)
}
