//! Objects that are to be deleted.
//!
//! The store and the database cannot change together. So an object is doomed before it is
//! written, and spared in the transaction that makes something name it; and doomed again
//! in the one after which nothing does. Whatever happens in between, each object in the
//! store is named by a node, by an upload, or here.

use crate::{clock::Clock, error::Result, storage::Tx, timestamp::Timestamp};
use std::time::Duration;

/// How long something may be on its way into the store: an upload of the largest file on
/// a slow line.
const WRITING: Duration = Duration::from_hours(24);

/// It is about to be written.
pub async fn writing(tx: &mut Tx, clock: &Clock, key: &str) -> Result<()> {
    doom(tx, key, clock.now() + WRITING).await
}

/// Nothing names it any more.
pub async fn doom(tx: &mut Tx, key: &str, due: Timestamp) -> Result<()> {
    let sql = "INSERT INTO doomed_objects (key, due_at) VALUES ($1, $2)
               ON CONFLICT (key) DO UPDATE SET due_at = excluded.due_at";
    tx.query(sql).bind(key).bind(due).run().await?;
    keep_parts(tx, key, due).await
}

/// Nobody writes it any more.
pub async fn hurry(tx: &mut Tx, key: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE doomed_objects SET due_at = $2 WHERE key = $1 AND due_at > $2";
    tx.query(sql).bind(key).bind(now).run().await?;
    keep_parts(tx, key, now).await
}

/// It is begun in parts, which a bucket keeps under this number, until then.
pub async fn begun(tx: &mut Tx, clock: &Clock, key: &str, multipart: &str) -> Result<()> {
    // Azure gives no numbers.
    let sql = "INSERT INTO multiparts (key, id, due_at) VALUES ($1, $2, $3)
               ON CONFLICT (key, id) DO UPDATE SET due_at = excluded.due_at";
    let begun = tx.query(sql).bind(key).bind(multipart).bind(clock.now() + WRITING);
    begun.run().await?;
    Ok(())
}

/// Its parts are kept until then.
pub async fn keep_parts(tx: &mut Tx, key: &str, due: Timestamp) -> Result<()> {
    let sql = "UPDATE multiparts SET due_at = $2 WHERE key = $1";
    tx.query(sql).bind(key).bind(due).run().await?;
    Ok(())
}

/// Keys and numbers of some whose time is over, put together or not.
pub async fn due_parts(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(String, String)>> {
    let sql = "SELECT key, id FROM multiparts WHERE due_at <= $1 ORDER BY due_at LIMIT $2";
    Ok(tx.query(sql).bind(now).bind(limit).all().await?)
}

/// Those of this number were put together. Others of this key are of goes that came to
/// nothing.
pub async fn put_together(
    tx: &mut Tx,
    key: &str,
    multipart: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let sql = "DELETE FROM multiparts WHERE key = $1 AND id = $2";
    tx.query(sql).bind(key).bind(multipart).run().await?;
    keep_parts(tx, key, now).await
}

/// The bucket keeps them no more; or did not answer, and is asked again then.
pub async fn gave_up(
    tx: &mut Tx,
    (key, id): &(String, String),
    again: Option<Timestamp>,
) -> Result<()> {
    let sql = match again {
        None => "DELETE FROM multiparts WHERE key = $1 AND id = $2",
        Some(_) => "UPDATE multiparts SET due_at = $3 WHERE key = $1 AND id = $2",
    };
    let query = tx.query(sql).bind(&**key).bind(&**id);
    let query = match again {
        None => query,
        Some(again) => query.bind(again),
    };
    query.run().await?;
    Ok(())
}

/// Something names it from now on, and it is whole; false when it was too late.
pub async fn spare(tx: &mut Tx, key: &str) -> Result<bool> {
    tx.query("DELETE FROM multiparts WHERE key = $1").bind(key).run().await?;
    let sql = "DELETE FROM doomed_objects WHERE key = $1";
    Ok(tx.query(sql).bind(key).run().await? == 1)
}

/// Some that are due.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<String>> {
    let sql = "SELECT key FROM doomed_objects WHERE due_at <= $1 ORDER BY due_at LIMIT $2";
    let found: Vec<(String,)> = tx.query(sql).bind(now).bind(limit).all().await?;
    Ok(found.into_iter().map(|(key,)| key).collect())
}
