//! What builders are paid. A session that is settled leaves a transfer for each lot that
//! paid for it; they are sent by and by. No answer of the provider, or none at all, can
//! lose one or send it twice.

use super::{
    ledger::{self, Account, Movement, Posting},
    lots::Piece,
    outbox::{self, Step},
};
use crate::{
    clock::Clock,
    error::Result,
    id::{BuilderId, SessionId, TransferId},
    storage::Tx,
    timestamp::Timestamp,
};

/// Refusals that are the account's: nothing is sent until the account changes.
/// <https://docs.stripe.com/error-codes>
const ACCOUNTS_FAULT: [&str; 5] = [
    "account_invalid",
    "account_closed",
    "insufficient_capabilities_for_transfer",
    "payouts_not_allowed",
    "transfers_not_allowed",
];

/// One that is due.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Transfer {
    pub id: TransferId,
    pub builder_id: BuilderId,
    pub session_id: SessionId,
    pub cents: i64,
    pub state: String,
    pub generation: i64,
    pub tries: i64,
    pub first_tried_at: Option<Timestamp>,
    pub charge_id: Option<String>,
    pub account_id: Option<String>,
    pub payable: bool,
}

impl Transfer {
    /// What a session's transfers have in common at the provider.
    pub fn group(&self) -> String {
        format!("session_{}", self.session_id)
    }
}

/// Leaves a session's pay to be sent: so much, of the lots that paid for the session.
pub(super) async fn add(
    tx: &mut Tx,
    clock: &Clock,
    (builder, session): (BuilderId, SessionId),
    cents: i64,
    pieces: &[Piece],
) -> Result<()> {
    let mut missing = cents;
    for piece in pieces {
        let cents = piece.cents.min(missing);
        if cents == 0 {
            break;
        }
        let sql = "INSERT INTO transfers (id, builder_id, session_id, lot_id, cents, state, due_at,
                       created_at, updated_at)
                   VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6, $6)";
        let added = tx.query(sql).bind(clock.id::<TransferId>()).bind(builder).bind(session);
        added.bind(piece.lot).bind(cents).bind(clock.now()).run().await?;
        missing -= cents;
    }
    Ok(())
}

/// Is any due?
pub async fn any(tx: &mut Tx, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM transfers WHERE due_at <= $1 LIMIT 1";
    Ok(tx.query(sql).bind(now).optional::<(i32,)>().await?.is_some())
}

/// One that is due, for this caller alone, and what is to be done about it. None when
/// none is due; no step for one that is parked.
pub async fn claim(
    tx: &mut Tx,
    clock: &Clock,
    node: [u8; 8],
) -> Result<Option<(Transfer, Option<Step>)>> {
    let now = clock.now();
    let sql = "SELECT id FROM transfers WHERE due_at <= $1 ORDER BY due_at LIMIT 1";
    let due: Option<(TransferId,)> = tx.query_skip_locked(sql).bind(now).optional().await?;
    let Some((id,)) = due else { return Ok(None) };
    let sql = "SELECT t.id, t.builder_id, t.session_id, t.cents, t.state, t.generation, t.tries,
                   t.first_tried_at, l.charge_id, p.account_id,
                   COALESCE(p.payable, FALSE) AS payable
               FROM transfers t
               LEFT JOIN lots l ON l.id = t.lot_id
               LEFT JOIN payees p ON p.builder_id = t.builder_id
               WHERE t.id = $1";
    let mut transfer: Transfer = tx.query(sql).bind(id).one().await?;
    if transfer.state == "waiting" {
        if !transfer.payable {
            park(tx, now, id, "the builder has no account that can be paid").await?;
            return Ok(Some((transfer, None)));
        }
        transfer.generation += 1;
        transfer.first_tried_at = None;
        let to = Account::InFlight(transfer.builder_id);
        move_it(tx, clock, &transfer, "claim", (Account::Payable(transfer.builder_id), to)).await?;
    }
    let key = format!("xfer_{id}_{}", transfer.generation);
    let step = outbox::step(key, transfer.first_tried_at, now);
    let sql = "UPDATE transfers SET state = 'claimed', generation = $2, tries = tries + 1,
                   first_tried_at = $3, due_at = $4, updated_at = $5, node = $6
               WHERE id = $1";
    let first = transfer.first_tried_at.unwrap_or(now);
    let claimed = tx.query(sql).bind(id).bind(transfer.generation).bind(first);
    claimed.bind(now + outbox::CLAIM).bind(now).bind(node.to_vec()).run().await?;
    transfer.tries += 1;
    Ok(Some((transfer, Some(step))))
}

/// What this process was asking for in its life before is due now.
pub async fn leave_all(tx: &mut Tx, node: [u8; 8], started: Timestamp) -> Result<()> {
    let sql = "UPDATE transfers SET due_at = $2
               WHERE state = 'claimed' AND node = $1 AND updated_at < $2";
    tx.query(sql).bind(node.to_vec()).bind(started).run().await?;
    Ok(())
}

/// The provider has done it, under this name.
pub async fn done(tx: &mut Tx, clock: &Clock, transfer: &Transfer, name: &str) -> Result<()> {
    if !in_flight(tx, transfer).await? {
        return Ok(());
    }
    let from = Account::InFlight(transfer.builder_id);
    move_it(tx, clock, transfer, "done", (from, Account::Provider)).await?;
    let sql = "UPDATE transfers SET state = 'done', due_at = NULL, provider_id = $2,
                   reason = NULL, updated_at = $3
               WHERE id = $1";
    tx.query(sql).bind(transfer.id).bind(name).bind(clock.now()).run().await?;
    Ok(())
}

/// The provider will not do it, and has not: it begins anew later, or when the account
/// has changed.
pub async fn refused(
    tx: &mut Tx,
    clock: &Clock,
    transfer: &Transfer,
    code: &str,
    reason: &str,
) -> Result<()> {
    if !in_flight(tx, transfer).await? {
        return Ok(());
    }
    let (flight, payable) =
        (Account::InFlight(transfer.builder_id), Account::Payable(transfer.builder_id));
    move_it(tx, clock, transfer, "void", (flight, payable)).await?;
    let now = clock.now();
    if ACCOUNTS_FAULT.contains(&code) {
        return park(tx, now, transfer.id, reason).await;
    }
    let sql = "UPDATE transfers SET state = 'waiting', due_at = $2, reason = $3, updated_at = $4
               WHERE id = $1";
    let wait = outbox::wait(outbox::REFUSED, transfer.tries);
    tx.query(sql).bind(transfer.id).bind(now + wait).bind(reason).bind(now).run().await?;
    Ok(())
}

/// Nobody knows whether it was done.
pub async fn unknown(tx: &mut Tx, now: Timestamp, transfer: &Transfer, why: &str) -> Result<()> {
    let sql = "UPDATE transfers SET state = 'unknown', due_at = $3, reason = $4, updated_at = $5
               WHERE id = $1 AND generation = $2 AND state = 'claimed'";
    let wait = outbox::wait(outbox::UNKNOWN, transfer.tries);
    let unknown = tx.query(sql).bind(transfer.id).bind(transfer.generation);
    unknown.bind(now + wait).bind(why).bind(now).run().await?;
    Ok(())
}

/// Is it still this generation's turn? It stays so until the transaction ends.
async fn in_flight(tx: &mut Tx, transfer: &Transfer) -> Result<bool> {
    let sql = "SELECT 1 FROM transfers
               WHERE id = $1 AND generation = $2 AND state IN ('claimed', 'unknown')";
    let found = tx.query_locked(sql).bind(transfer.id).bind(transfer.generation);
    Ok(found.optional::<(i32,)>().await?.is_some())
}

async fn move_it(
    tx: &mut Tx,
    clock: &Clock,
    transfer: &Transfer,
    what: &str,
    (from, to): (Account, Account),
) -> Result<()> {
    let key = match what {
        "done" => format!("xfer:{}:done", transfer.id),
        _ => format!("xfer:{}:{what}:{}", transfer.id, transfer.generation),
    };
    let movements = [Movement { from, to, cents: transfer.cents }];
    let session = Some(transfer.session_id);
    let posting = Posting { key: &key, kind: "transfer", session, movements: &movements };
    ledger::post(tx, clock, posting).await.map(drop)
}

async fn park(tx: &mut Tx, now: Timestamp, id: TransferId, reason: &str) -> Result<()> {
    let sql = "UPDATE transfers SET state = 'parked', due_at = NULL, reason = $2, updated_at = $3
               WHERE id = $1";
    tx.query(sql).bind(id).bind(reason).bind(now).run().await?;
    Ok(())
}

/// Accounts that can be paid get what was parked for them.
pub async fn release(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE transfers SET state = 'waiting', due_at = $1, updated_at = $1
               WHERE state = 'parked' AND updated_at < $2
                 AND EXISTS (SELECT 1 FROM payees p
                             WHERE p.builder_id = transfers.builder_id AND p.payable)";
    // One whose account was refused a moment ago is not asked for again at once.
    Ok(tx.query(sql).bind(now).bind(now - outbox::REFUSED).run().await?)
}

/// The builder's account has changed, and can be paid.
pub(super) async fn release_of(tx: &mut Tx, now: Timestamp, builder: BuilderId) -> Result<()> {
    let sql = "UPDATE transfers SET state = 'waiting', due_at = $2, updated_at = $2
               WHERE builder_id = $1 AND state = 'parked'";
    tx.query(sql).bind(builder).bind(now).run().await?;
    Ok(())
}

/// The provider took it back, in all so much: it is owed to the builder again. What is to
/// become of it is an operator's to decide. False when no such transfer is known (yet).
pub(super) async fn reversed(tx: &mut Tx, clock: &Clock, name: &str, cents: i64) -> Result<bool> {
    let sql = "SELECT id, builder_id, session_id, cents, reversed_cents FROM transfers
               WHERE provider_id = $1";
    let found = tx.query_locked(sql).bind(name);
    let found: Option<(TransferId, BuilderId, SessionId, i64, i64)> = found.optional().await?;
    let Some((id, builder, session, sent, before)) = found else { return Ok(false) };
    let more = cents.min(sent) - before;
    if more > 0 {
        let movements =
            [Movement { from: Account::Provider, to: Account::Payable(builder), cents: more }];
        let key = format!("xrev:{id}:{cents}");
        let session = Some(session);
        let posting = Posting { key: &key, kind: "transfer", session, movements: &movements };
        ledger::post(tx, clock, posting).await?;
        let sql = "UPDATE transfers SET reversed_cents = reversed_cents + $2,
                       reason = 'the provider took it back', updated_at = $3
                   WHERE id = $1";
        tx.query(sql).bind(id).bind(more).bind(clock.now()).run().await?;
    }
    Ok(true)
}
