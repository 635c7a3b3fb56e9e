//! Following receipts as they are committed.
//!
//! A receipt is named shortly before it is committed, so with many writers one may
//! appear behind a newer one. Whoever follows reads what is new by name, and now and
//! then looks back over `WINDOW` for those that came late.

use super::{Filter, Invocation, WARN, columns};
use crate::{error::Result, id::InvocationId, storage::Tx};
use std::time::Duration;
use uuid::Uuid;

/// How long a conclusion may take from naming its receipt to being committed: it
/// waits for nothing but the disk. One that takes longer is in the lists only.
const WINDOW: Duration = Duration::from_secs(5);

/// Names read at once when looking back: what a busy platform writes in that time.
const NAMES: i64 = 50_000;

/// The first name there could be: everything is after it.
pub const FIRST: InvocationId = InvocationId(Uuid::nil());

/// The newest receipt of all.
pub async fn newest(tx: &mut Tx) -> Result<InvocationId> {
    let sql = "SELECT id FROM invocations ORDER BY id DESC LIMIT 1";
    let found: Option<(InvocationId,)> = tx.query(sql).optional().await?;
    Ok(found.map_or(FIRST, |(id,)| id))
}

/// Where looking back from `id` begins.
pub fn window(id: InvocationId) -> InvocationId {
    // The first 48 bits of a UUIDv7 are milliseconds.
    let millis = (id.0.as_u128() >> 80).saturating_sub(WINDOW.as_millis());
    InvocationId(Uuid::from_u128(millis << 80))
}

/// The condition in front is the one for which there is an index. What failed is
/// loud, whatever it logged.
macro_rules! following {
    ($columns:expr, $first:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM invocations WHERE ",
            $first,
            " AND ($1 IS NULL OR agent_id = $1) AND ($2 IS NULL OR session_id = $2)
              AND ($3 IS NULL OR worst >= $3 OR outcome <> 'ok') AND id > $4 AND id <= $5
             ORDER BY id LIMIT $6"
        )
    };
}

macro_rules! texts {
    ($filter:ident, $columns:expr) => {
        match ($filter.session, $filter.agent) {
            (Some(_), _) => following!($columns, "session_id = $2"),
            (_, Some(_)) => following!($columns, "agent_id = $1"),
            _ => following!($columns, "TRUE"),
        }
    };
}

/// Receipts after `after` and up to `last`, oldest first. Of the filter, `agent`,
/// `session` and `level` count.
pub async fn between(
    tx: &mut Tx,
    filter: &Filter,
    (after, last): (InvocationId, InvocationId),
    limit: i64,
) -> Result<Vec<Invocation>> {
    let found = tx.query(texts!(filter, columns!()));
    let found = found.bind(filter.agent).bind(filter.session).bind(loud(filter));
    Ok(found.bind(after).bind(last).bind(limit).all().await?)
}

/// The same, their names only.
pub async fn names(
    tx: &mut Tx,
    filter: &Filter,
    (after, last): (InvocationId, InvocationId),
) -> Result<Vec<InvocationId>> {
    let found = tx.query(texts!(filter, "id"));
    let found = found.bind(filter.agent).bind(filter.session).bind(loud(filter));
    let found: Vec<(InvocationId,)> = found.bind(after).bind(last).bind(NAMES).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

pub async fn find(tx: &mut Tx, id: InvocationId) -> Result<Option<Invocation>> {
    let sql = concat!("SELECT ", columns!(), " FROM invocations WHERE id = $1");
    Ok(tx.query(sql).bind(id).optional().await?)
}

/// Below "warn" every receipt has something to tell: how the event ended.
fn loud(filter: &Filter) -> Option<i64> {
    filter.level.filter(|level| *level >= WARN)
}
