//! What a session costs. An hour is held before it begins; when the session is over its
//! time is billed, once, from what is written down; and what is left goes back.

use super::{
    invoices,
    ledger::{self, Account, Movement, Posting},
    lots, transfers, wallet,
};
use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{BuilderId, CompanyId, SessionId},
    money,
    storage::Tx,
    timestamp::Timestamp,
};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// How long before an hour ends the next one is held: time to be warned in.
pub const LEAD: Duration = Duration::from_mins(2);

/// The platform's part, in ten thousandths (contract §10).
const FEE: i64 = 1_000;

/// A session that is paid from a wallet.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Charge {
    pub session_id: SessionId,
    pub company_id: CompanyId,
    pub builder_id: Option<BuilderId>,
    pub price_cents: i64,
    pub fee_basis_points: i64,
    pub least_cents: i64,
    pub hours: i64,
    pub held_cents: i64,
    pub paid_until: Option<Timestamp>,
    pub free_millis: i64,
    pub warned: bool,
}

macro_rules! charge {
    () => {
        "SELECT session_id, company_id, builder_id, price_cents, fee_basis_points,
             least_cents, hours, held_cents, paid_until, free_millis, warned FROM session_charges"
    };
}

/// Whose session it is, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct New {
    pub session: SessionId,
    pub company: CompanyId,
    pub builder: Option<BuilderId>,
    pub price_cents: i64,
    /// What it costs at least once it was active; its first hour's price is the most of it.
    pub least_cents: i64,
}

/// Holds the first hour. 402 when the wallet does not cover it.
pub async fn begin(tx: &mut Tx, clock: &Clock, new: New) -> Result<()> {
    wallet::check_open(tx, new.company).await?;
    let has = ledger::balance(tx, Account::Wallet(new.company)).await?;
    if has < new.price_cents {
        return Err(short(new.price_cents, has));
    }
    let sql = "INSERT INTO session_charges (session_id, company_id, builder_id, price_cents,
                   fee_basis_points, least_cents, hours, held_cents)
               VALUES ($1, $2, $3, $4, $5, $6, 1, $4)";
    let begun = tx.query(sql).bind(new.session).bind(new.company).bind(new.builder);
    let begun = begun.bind(new.price_cents).bind(FEE);
    begun.bind(new.least_cents.min(new.price_cents)).run().await?;
    hold(tx, clock, new.session, new.company, new.price_cents, 0).await
}

fn short(price: i64, has: i64) -> Error {
    let detail = format!("an hour costs {price} cents, and {has} are available; top up first");
    Error::new(Kind::Payment, "insufficient_funds", detail)
}

async fn hold(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    company: CompanyId,
    cents: i64,
    hour: i64,
) -> Result<()> {
    if cents == 0 {
        return Ok(());
    }
    let (from, to) = (Account::Wallet(company), Account::Hold(company));
    let key = format!("hold:{session}:{hour}");
    let movements = [Movement { from, to, cents }];
    let posting =
        Posting { key: &key, kind: "hold", session: Some(session), movements: &movements };
    ledger::post(tx, clock, posting).await.map(drop)
}

/// The session is active: its first hour begins.
pub async fn began(tx: &mut Tx, session: SessionId, at: Timestamp) -> Result<()> {
    let sql = "UPDATE session_charges SET paid_until = $2 WHERE session_id = $1";
    tx.query(sql).bind(session).bind(at + HOUR).run().await?;
    Ok(())
}

/// Sessions whose paid time ends before `until`, and when; those that end first come
/// first, after one of them.
pub async fn due(
    tx: &mut Tx,
    until: Timestamp,
    after: Option<(Timestamp, SessionId)>,
    limit: i64,
) -> Result<Vec<(Timestamp, SessionId)>> {
    let (time, session) = after.unzip();
    let sql = "SELECT paid_until, session_id FROM session_charges
               WHERE paid_until <= $1
                 AND ($2 IS NULL OR paid_until > $2 OR (paid_until = $2 AND session_id > $3))
               ORDER BY paid_until, session_id LIMIT $4";
    let due = tx.query(sql).bind(until).bind(time).bind(session).bind(limit);
    Ok(due.all().await?)
}

/// The charge of a session that is not settled; nobody else changes it meanwhile.
pub async fn find(tx: &mut Tx, session: SessionId) -> Result<Option<Charge>> {
    let sql = concat!(charge!(), " WHERE session_id = $1");
    Ok(tx.query_locked(sql).bind(session).optional().await?)
}

/// Holds the next hour, if it is time and the wallet covers it; false when it does not.
pub async fn extend(tx: &mut Tx, clock: &Clock, charge: &Charge) -> Result<bool> {
    let now = clock.now();
    let Some(until) = charge.paid_until.filter(|until| *until <= now + LEAD) else {
        return Ok(true);
    };
    let company = charge.company_id;
    let has = ledger::balance(tx, Account::Wallet(company)).await?;
    if has < charge.price_cents || !wallet::open(tx, company).await? {
        return Ok(false);
    }
    // What passed while nobody held anything is not the client's to pay.
    let late = now.since(until);
    let next = until.max(now) + HOUR;
    let late = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
    let sql = "UPDATE session_charges SET hours = hours + 1, held_cents = held_cents + price_cents,
                   paid_until = $2, free_millis = free_millis + $3, warned = FALSE
               WHERE session_id = $1";
    tx.query(sql).bind(charge.session_id).bind(next).bind(late).run().await?;
    hold(tx, clock, charge.session_id, company, charge.price_cents, charge.hours).await?;
    Ok(true)
}

/// The client has been warned of this hour.
pub async fn warned(tx: &mut Tx, session: SessionId) -> Result<()> {
    let sql = "UPDATE session_charges SET warned = TRUE WHERE session_id = $1";
    tx.query(sql).bind(session).run().await?;
    Ok(())
}

/// What a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// At most the end of the last hour that was held.
    pub ended_at: Timestamp,
    pub billed_cents: i64,
}

/// Bills a session that ends now, at most what was held, and gives the rest back. None
/// when it is not paid from a wallet. In the transaction that ends it.
pub async fn settle(
    tx: &mut Tx,
    clock: &Clock,
    session: SessionId,
    agent: &str,
    started_at: Option<Timestamp>,
) -> Result<Option<Settled>> {
    let Some(charge) = find(tx, session).await? else { return Ok(None) };
    let sql = "DELETE FROM session_charges WHERE session_id = $1";
    tx.query(sql).bind(session).run().await?;
    let now = clock.now();
    let ended_at = charge.paid_until.map_or(now, |until| until.min(now));
    let unpaid = u64::try_from(charge.free_millis).unwrap_or(0);
    let active = started_at.map_or(0, |started| millis(ended_at.since(started)));
    let active = active.saturating_sub(unpaid);
    let least = if started_at.is_some() { charge.least_cents } else { 0 };
    let billed = money::cost(active, charge.price_cents).max(least).min(charge.held_cents);
    let fee = match charge.builder_id {
        Some(_) => money::fee(billed, charge.fee_basis_points),
        None => billed,
    };
    let held = Account::Hold(charge.company_id);
    let rest = charge.held_cents - billed;
    let movements: Vec<_> = [
        (charge.builder_id.map(Account::Payable), billed - fee),
        (Some(Account::Fees), fee),
        (Some(Account::Wallet(charge.company_id)), rest),
    ]
    .into_iter()
    .filter_map(|(to, cents)| Some(Movement { from: held, to: to?, cents }))
    .filter(|movement| movement.cents > 0)
    .collect();
    if !movements.is_empty() {
        let key = format!("settle:{session}");
        let (kind, session) = ("settle", Some(session));
        let posting = Posting { key: &key, kind, session, movements: &movements };
        if billed > 0 {
            let company = charge.company_id;
            wallet::change(tx, clock, company, "session_charge", -billed, posting).await?;
        } else {
            ledger::post(tx, clock, posting).await?;
        }
    }
    if billed > 0 {
        let spent = lots::take(tx, charge.company_id, billed, lots::From::Oldest).await?;
        if let Some(builder) = charge.builder_id {
            transfers::add(tx, clock, (builder, session), billed - fee, &spent).await?;
        }
        let new = invoices::New { charge: &charge, agent, active, billed, fee };
        invoices::write(tx, clock, new).await?;
    }
    Ok(Some(Settled { ended_at, billed_cents: billed }))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
