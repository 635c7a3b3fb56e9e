//! Putting every sealed value under the current key, after the operator changed it.
//!
//! Each noun that keeps sealed values names its columns; this goes through them, a
//! few rows in a transaction, so that the platform goes on serving. A value that is
//! written meanwhile has the current key anyway. Killed in the middle, it has done
//! what it has done, and does the rest the next time.

use crate::{
    clock::Clock,
    error::Result,
    seal::Key,
    storage::{Db, Tx},
};
use uuid::Uuid;

/// Rows in one transaction: little enough for a writer to wait.
const BATCH: i64 = 100;

/// Places of values that cannot be opened, as far as they are told.
const TOLD: usize = 10;

/// Where sealed values are. A row is known by an id and a name beside it, which may
/// be empty.
pub struct Column {
    /// The `id`, `name` and `value` of the next `$4` rows after (`$2`, `$3`) whose
    /// value does not begin with `$1`.
    pub select: &'static str,
    /// Sets the value to `$3` in the row (`$1`, `$2`).
    pub update: &'static str,
    /// For which place a row's value is sealed.
    pub place: fn(Uuid, &str) -> String,
}

#[derive(Debug, Default)]
pub struct Done {
    pub resealed: u64,
    /// Values under keys that were not given.
    pub unreadable: u64,
    /// The places of the first of those.
    pub places: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    value: Vec<u8>,
}

pub async fn all(db: &Db, clock: &Clock, key: &Key, columns: &[Column]) -> Result<Done> {
    let mut done = Done::default();
    for column in columns {
        let mut after = (Uuid::nil(), String::new());
        loop {
            let mut tx = db.write().await?;
            let last = batch(&mut tx, clock, key, column, after, &mut done).await?;
            tx.commit().await?;
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
    }
    Ok(done)
}

/// Returns where to go on; none when there was nothing left.
async fn batch(
    tx: &mut Tx,
    clock: &Clock,
    key: &Key,
    column: &Column,
    (id, name): (Uuid, String),
    done: &mut Done,
) -> Result<Option<(Uuid, String)>> {
    let rows = tx.query_locked(column.select).bind(key.id().to_vec()).bind(id).bind(name);
    let rows: Vec<Row> = rows.bind(BATCH).all().await?;
    for row in &rows {
        let place = (column.place)(row.id, &row.name);
        let Ok(value) = key.open(&place, &row.value) else {
            done.unreadable += 1;
            if done.places.len() < TOLD {
                done.places.push(place);
            }
            continue;
        };
        let sealed = key.seal(clock, &place, &value)?;
        tx.query(column.update).bind(row.id).bind(&row.name).bind(sealed).run().await?;
        done.resealed += 1;
    }
    Ok(rows.into_iter().next_back().map(|row| (row.id, row.name)))
}
