//! The ledger. What happens to money is a posting: a few movements from one account to
//! another, written together or not at all, and once, as its key says what happened.
//!
//! Postings and entries are only added, which the database itself holds; so does it that
//! no client and no builder is below zero. Accounts are locked in one order, whoever posts.

use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    id::{AccountId, BuilderId, CompanyId, PostingId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The longest key: what happened, and the ids of what it happened to.
const KEY_BYTES: usize = 200;

/// Whose money it is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// What a client may spend.
    Wallet(CompanyId),
    /// What is kept for a client's sessions that run.
    Hold(CompanyId),
    /// What is on its way back to a client.
    Refunding(CompanyId),
    /// What a builder has earned and was not sent.
    Payable(BuilderId),
    /// What is on its way to a builder.
    InFlight(BuilderId),
    /// What the platform has earned.
    Fees,
    /// What the payment provider has of ours: below zero.
    Provider,
    /// What the provider takes for itself: below zero.
    ProviderFees,
    /// What a client has spent and took back from the provider: below zero.
    Disputed(CompanyId),
}

impl Account {
    fn name(self) -> (&'static str, Uuid) {
        match self {
            Self::Wallet(company) => ("wallet", company.0),
            Self::Hold(company) => ("hold", company.0),
            Self::Refunding(company) => ("refunding", company.0),
            Self::Payable(builder) => ("payable", builder.0),
            Self::InFlight(builder) => ("in_flight", builder.0),
            Self::Fees => ("fees", Uuid::nil()),
            Self::Provider => ("provider", Uuid::nil()),
            Self::ProviderFees => ("provider_fees", Uuid::nil()),
            Self::Disputed(company) => ("disputed", company.0),
        }
    }

    /// The account of this name, if there is such a kind.
    pub fn named(kind: &str, owner: Uuid) -> Option<Self> {
        Some(match kind {
            "wallet" => Self::Wallet(CompanyId(owner)),
            "hold" => Self::Hold(CompanyId(owner)),
            "refunding" => Self::Refunding(CompanyId(owner)),
            "disputed" => Self::Disputed(CompanyId(owner)),
            "payable" => Self::Payable(BuilderId(owner)),
            "in_flight" => Self::InFlight(BuilderId(owner)),
            "fees" => Self::Fees,
            "provider" => Self::Provider,
            "provider_fees" => Self::ProviderFees,
            _ => return None,
        })
    }

    /// May it be below zero?
    fn may_owe(self) -> bool {
        matches!(self, Self::Provider | Self::ProviderFees | Self::Disputed(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub from: Account,
    pub to: Account,
    /// More than nothing.
    pub cents: i64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Posting<'a> {
    /// Says it of this and of nothing else, for ever: `topup:<payment>`.
    pub key: &'a str,
    pub kind: &'static str,
    pub session: Option<SessionId>,
    pub movements: &'a [Movement],
}

/// What became of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Now(PostingId),
    /// It was written before, and nothing was moved again.
    Before,
}

/// An account as it stands, while it is locked.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct Standing {
    id: AccountId,
    balance: i64,
    entries: i64,
}

/// Writes down what happened, and moves the money. 402 when an account would be below
/// zero: then nothing is written, and the transaction is of no use any more.
pub async fn post(tx: &mut Tx, clock: &Clock, posting: Posting<'_>) -> Result<Posted> {
    sound(&posting)?;
    let id: PostingId = clock.id();
    let sql = "INSERT INTO ledger_postings (id, key, kind, session_id, created_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING";
    let made = tx.query(sql).bind(id).bind(posting.key).bind(posting.kind);
    if made.bind(posting.session).bind(clock.now()).run().await? == 0 {
        return Ok(Posted::Before);
    }
    let mut accounts = BTreeMap::new();
    for movement in posting.movements {
        accounts.insert(movement.from, None);
        accounts.insert(movement.to, None);
    }
    // In the order of the map, as everybody does.
    for (account, standing) in &mut accounts {
        *standing = Some(lock(tx, clock, *account).await?);
    }
    let mut accounts: BTreeMap<Account, Standing> =
        accounts.into_iter().filter_map(|(account, standing)| Some((account, standing?))).collect();
    for (place, movement) in posting.movements.iter().enumerate() {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        enter(tx, id, place, *movement, &mut accounts).await?;
    }
    for (account, standing) in accounts {
        if standing.balance < 0 && !account.may_owe() {
            return Err(short(account, standing.balance));
        }
        let sql = "UPDATE ledger_accounts SET balance = $2, entries = $3 WHERE id = $1";
        let kept = tx.query(sql).bind(standing.id).bind(standing.balance);
        kept.bind(standing.entries).run().await?;
    }
    Ok(Posted::Now(id))
}

/// A mistake of ours, not of who asked.
fn sound(posting: &Posting<'_>) -> Result<()> {
    let moves = |movement: &Movement| movement.cents > 0 && movement.from != movement.to;
    if posting.key.is_empty()
        || posting.key.len() > KEY_BYTES
        || posting.movements.is_empty()
        || !posting.movements.iter().all(moves)
    {
        return Err(Error::internal(anyhow::anyhow!("not a posting: {posting:?}")));
    }
    Ok(())
}

/// The account, which nobody else changes from here on. It is made when money comes to it
/// for the first time.
async fn lock(tx: &mut Tx, clock: &Clock, account: Account) -> Result<Standing> {
    let (kind, owner) = account.name();
    let sql = "SELECT id, balance, entries FROM ledger_accounts WHERE kind = $1 AND owner = $2";
    if let Some(found) = tx.query_locked(sql).bind(kind).bind(owner).optional().await? {
        return Ok(found);
    }
    let made = "INSERT INTO ledger_accounts (id, kind, owner, balance, entries)
                VALUES ($1, $2, $3, 0, 0) ON CONFLICT (kind, owner) DO NOTHING";
    tx.query(made).bind(clock.id::<AccountId>()).bind(kind).bind(owner).run().await?;
    Ok(tx.query_locked(sql).bind(kind).bind(owner).one().await?)
}

async fn enter(
    tx: &mut Tx,
    posting: PostingId,
    place: i64,
    movement: Movement,
    accounts: &mut BTreeMap<Account, Standing>,
) -> Result<()> {
    let mut change = |account, cents: i64| {
        let standing = accounts.get_mut(&account)?;
        standing.balance = standing.balance.checked_add(cents)?;
        standing.entries += 1;
        Some(*standing)
    };
    let from = change(movement.from, -movement.cents);
    let to = change(movement.to, movement.cents);
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::internal(anyhow::anyhow!("more than money can be: {movement:?}")));
    };
    let sql = "INSERT INTO ledger_entries (posting_id, place, from_account, to_account, cents,
                   from_balance, to_balance, from_number, to_number)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let entry = tx.query(sql).bind(posting).bind(place).bind(from.id).bind(to.id);
    let entry = entry.bind(movement.cents).bind(from.balance).bind(to.balance);
    entry.bind(from.entries).bind(to.entries).run().await?;
    Ok(())
}

fn short(account: Account, balance: i64) -> Error {
    let detail = format!("{} cents are missing", balance.unsigned_abs());
    let mut error = Error::new(Kind::Payment, "insufficient_funds", detail);
    error.cause = Some(anyhow::anyhow!("{account:?}"));
    error
}

/// What an account has; nothing, of one that never had anything.
pub async fn balance(tx: &mut Tx, account: Account) -> Result<i64> {
    let (kind, owner) = account.name();
    let sql = "SELECT balance FROM ledger_accounts WHERE kind = $1 AND owner = $2";
    let found: Option<(i64,)> = tx.query(sql).bind(kind).bind(owner).optional().await?;
    Ok(found.map_or(0, |(balance,)| balance))
}

/// What an account has, which nobody else changes from here on.
pub(super) async fn locked_balance(tx: &mut Tx, clock: &Clock, account: Account) -> Result<i64> {
    Ok(lock(tx, clock, account).await?.balance)
}

/// One line of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatementLine)]
pub struct Line {
    /// Counts the account's entries from one.
    pub number: i64,
    /// Names what happened, and nothing else.
    pub key: String,
    /// `topup`, `hold`, `settle`, `transfer`, `refund`, `dispute`, `fee`.
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// What came; below zero, what went.
    #[serde(rename = "amountCents")]
    pub cents: i64,
    /// What the account came to.
    #[serde(rename = "balanceAfterCents")]
    pub balance: i64,
    pub created_at: Timestamp,
}

/// An account's entries, newest first, before one of them.
pub async fn statement(
    tx: &mut Tx,
    account: Account,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Line>> {
    let (kind, owner) = account.name();
    let sql = "SELECT l.number, p.key, p.kind, p.session_id, l.cents, l.balance, p.created_at
               FROM (SELECT e.posting_id, e.to_number AS number, e.cents AS cents,
                            e.to_balance AS balance
                     FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.to_account
                     WHERE a.kind = $1 AND a.owner = $2 AND ($3 IS NULL OR e.to_number < $3)
                     UNION ALL
                     SELECT e.posting_id, e.from_number, -e.cents, e.from_balance
                     FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.from_account
                     WHERE a.kind = $1 AND a.owner = $2 AND ($3 IS NULL OR e.from_number < $3)) l
               JOIN ledger_postings p ON p.id = l.posting_id
               ORDER BY l.number DESC LIMIT $4";
    Ok(tx.query(sql).bind(kind).bind(owner).bind(before).bind(limit).all().await?)
}
