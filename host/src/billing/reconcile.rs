//! The ledger beside the provider's books: what is in one and not in the other.

use super::ledger::{self, Account, Movement, Posting};
use crate::{clock::Clock, error::Result, payments::Line, storage::Tx, timestamp::Timestamp};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What is younger may be on its way into the other's books.
const FRESH: Duration = Duration::from_hours(1);

/// Rows told of each kind; there may be more.
const TOLD: usize = 200;

/// Rows read of the ledger.
const ROWS: i64 = 100_000;

/// How the ledger and the provider's books go together.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BookComparison)]
pub struct Report {
    /// Payments, transfers and refunds that are the same in both.
    pub same: u64,
    /// The first 200; so are the others.
    pub only_at_provider: Vec<Found>,
    /// What is younger than an hour is left out.
    pub only_here: Vec<Found>,
    /// In both, with different amounts; the provider's is told.
    pub differs: Vec<Found>,
    /// What the provider took for itself.
    pub fee_cents: i64,
}

/// Something of one side, as it is there.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BookEntry)]
pub struct Found {
    /// `charge`, `transfer`, `refund`.
    pub kind: String,
    /// The provider's name for it.
    pub id: String,
    pub cents: i64,
}

/// Compares what both have since.
pub async fn compare(
    tx: &mut Tx,
    now: Timestamp,
    since: Timestamp,
    lines: &[Line],
) -> Result<Report> {
    let mut here = ours(tx, since).await?;
    let mut report = Report::default();
    for line in lines {
        report.fee_cents += line.fee;
        let Some(kind) = kind(&line.kind) else { continue };
        let Some(id) = line.source.clone() else { continue };
        let cents = line.cents.abs();
        let found = Found { kind: kind.to_owned(), id: id.clone(), cents };
        match here.remove(&id) {
            None => told(&mut report.only_at_provider, found),
            Some((.., ours, _)) if ours != cents => told(&mut report.differs, found),
            Some(_) => report.same += 1,
        }
    }
    for (id, (kind, cents, at)) in here {
        if now.since(at) > FRESH {
            told(&mut report.only_here, Found { kind: kind.to_owned(), id, cents });
        }
    }
    Ok(report)
}

fn told(rows: &mut Vec<Found>, found: Found) {
    if rows.len() < TOLD {
        rows.push(found);
    }
}

/// <https://docs.stripe.com/reports/balance-transaction-types>
fn kind(line: &str) -> Option<&'static str> {
    match line {
        "charge" | "payment" => Some("charge"),
        "transfer" => Some("transfer"),
        "refund" | "payment_refund" => Some("refund"),
        _ => None,
    }
}

/// What the ledger knows to be at the provider: kind, cents, and when.
async fn ours(
    tx: &mut Tx,
    since: Timestamp,
) -> Result<BTreeMap<String, (&'static str, i64, Timestamp)>> {
    let mut all = BTreeMap::new();
    for (kind, sql) in [
        (
            "charge",
            "SELECT charge_id, cents, created_at FROM lots
             WHERE charge_id IS NOT NULL AND created_at >= $1 ORDER BY id DESC LIMIT $2",
        ),
        (
            "transfer",
            "SELECT provider_id, cents, updated_at FROM transfers
             WHERE state = 'done' AND updated_at >= $1 ORDER BY id DESC LIMIT $2",
        ),
        (
            "refund",
            "SELECT provider_id, cents, updated_at FROM refunds
             WHERE state = 'done' AND updated_at >= $1 ORDER BY id DESC LIMIT $2",
        ),
    ] {
        let found: Vec<(String, i64, Timestamp)> =
            tx.query(sql).bind(since).bind(ROWS).all().await?;
        all.extend(found.into_iter().map(|(id, cents, at)| (id, (kind, cents, at))));
    }
    Ok(all)
}

/// Notes what the provider took for itself, once for each line of its books.
pub async fn fee(tx: &mut Tx, clock: &Clock, line: &Line) -> Result<()> {
    if line.fee <= 0 {
        return Ok(());
    }
    let movements =
        [Movement { from: Account::ProviderFees, to: Account::Provider, cents: line.fee }];
    let key = format!("fee:{}", line.id);
    let posting = Posting { key: &key, kind: "fee", session: None, movements: &movements };
    ledger::post(tx, clock, posting).await.map(drop)
}

/// Everything that the provider had told until then has been asked for.
pub async fn looked(tx: &mut Tx, at: Timestamp) -> Result<()> {
    let sql = "INSERT INTO sweeps (name, at) VALUES ('provider', $1)
               ON CONFLICT (name) DO UPDATE SET at = excluded.at";
    tx.query(sql).bind(at).run().await?;
    Ok(())
}

/// When everything was asked for the last time.
pub async fn looked_at(tx: &mut Tx) -> Result<Option<Timestamp>> {
    let sql = "SELECT at FROM sweeps WHERE name = 'provider'";
    let found: Option<(Timestamp,)> = tx.query(sql).optional().await?;
    Ok(found.map(|(at,)| at))
}
