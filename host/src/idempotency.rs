//! Requests under a name (`Idempotency-Key`): done once, and answered the same however
//! often they are sent.
//!
//! The name is claimed before the work begins, in the same database; the answer is kept
//! in the transaction that does the work. So a process that dies between the two has done
//! neither or both. A claim whose process died is free again, as is one whose request
//! failed: then nothing was done.

use crate::{
    clock::Clock,
    error::{Error, Kind, Result},
    seal::Key,
    storage::Tx,
    timestamp::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an answer is kept: contract §2, and what Stripe does.
const LIFE: Duration = Duration::from_hours(24);

/// How long a process of which nothing is known may be at one request. The longest waits
/// half a minute for a compiler.
const PATIENCE: Duration = Duration::from_mins(10);

/// Rows deleted in one transaction.
const BATCH: i64 = 1_000;

const PURPOSE: &str = "idempotency key";

/// The longest name; Stripe's own limit.
pub const KEY_BYTES: usize = 255;

/// A name that is claimed: by its id, what is done under it is kept.
#[derive(Clone, Debug)]
pub struct Claim {
    id: Vec<u8>,
}

/// What a request was answered, but for what is the same for every request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    #[serde(skip)]
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What is known of a request under a name.
#[derive(Debug)]
pub enum Known {
    /// Nothing: it is yours to do.
    New(Claim),
    /// It was done.
    Done(Answer),
}

/// A request under a name.
pub struct Request<'a> {
    /// Who asks, in whatever form is his alone.
    pub principal: &'a [u8],
    pub name: &'a str,
    /// All that matters of the request, each with its length.
    pub parts: &'a [&'a [u8]],
}

#[derive(sqlx::FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    status: Option<i64>,
    answer: Option<Vec<u8>>,
}

/// Claims the name, unless the request was done, or is being done: 409; or the name is
/// another request's: 422.
pub async fn claim(
    tx: &mut Tx,
    clock: &Clock,
    key: &Key,
    node: [u8; 8],
    request: &Request<'_>,
) -> Result<Known> {
    let now = clock.now();
    let id = key.tag(PURPOSE, &[request.principal, request.name.as_bytes()]).to_vec();
    let print = key.tag(PURPOSE, request.parts).to_vec();
    let sql = "DELETE FROM idempotency_keys WHERE id = $1
               AND (created_at <= $2 OR status IS NULL AND created_at <= $3)";
    tx.query(sql).bind(&*id).bind(now - LIFE).bind(now - PATIENCE).run().await?;
    let sql = "INSERT INTO idempotency_keys (id, fingerprint, node, created_at)
               VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    let made = tx.query(sql).bind(&*id).bind(&*print).bind(&node[..]).bind(now).run().await?;
    if made > 0 {
        return Ok(Known::New(Claim { id }));
    }
    let sql = "SELECT fingerprint, status, answer FROM idempotency_keys WHERE id = $1";
    let row: Option<Row> = tx.query(sql).bind(&*id).optional().await?;
    // Gone meanwhile: it failed.
    let Some(row) = row else { return Err(running()) };
    if row.fingerprint != print {
        let detail = "this Idempotency-Key was sent with another request; take a new one";
        return Err(Error::new(Kind::Refused, "idempotency_key_reused", detail));
    }
    let (Some(status), Some(sealed)) = (row.status, row.answer) else { return Err(running()) };
    let opened = key.open(&place(&id), &sealed)?;
    let mut answer: Answer = serde_json::from_slice(&opened).map_err(Error::internal)?;
    answer.status = u16::try_from(status).map_err(Error::internal)?;
    Ok(Known::Done(answer))
}

fn running() -> Error {
    let detail = "the request with this Idempotency-Key is being worked on; ask again in a moment";
    Error::conflict("idempotency_key_in_use", detail)
}

fn place(id: &[u8]) -> String {
    format!("idempotency/{}", crate::seal::hex(id))
}

impl Claim {
    /// Keeps the answer, in the transaction that does the work.
    pub async fn keep(&self, tx: &mut Tx, clock: &Clock, key: &Key, answer: &Answer) -> Result<()> {
        let text = serde_json::to_vec(answer).map_err(Error::internal)?;
        let sealed = key.seal(clock, &place(&self.id), &text)?;
        let sql = "UPDATE idempotency_keys SET status = $2, answer = $3 WHERE id = $1";
        let kept = tx.query(sql).bind(&*self.id).bind(i64::from(answer.status)).bind(sealed);
        if kept.run().await? == 0 {
            // Somebody took this process for dead: what it does now would be done twice.
            return Err(running());
        }
        Ok(())
    }

    /// Nothing was done: the name is free.
    pub async fn release(&self, tx: &mut Tx) -> Result<()> {
        let sql = "DELETE FROM idempotency_keys WHERE id = $1 AND status IS NULL";
        tx.query(sql).bind(&*self.id).run().await?;
        Ok(())
    }
}

/// What the process before this one was at when it died was not done.
pub async fn release_all(tx: &mut Tx, node: [u8; 8], started: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM idempotency_keys
               WHERE node = $1 AND status IS NULL AND created_at < $2";
    Ok(tx.query(sql).bind(&node[..]).bind(started).run().await?)
}

/// Forgets some that are old.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM idempotency_keys WHERE id IN (
                   SELECT id FROM idempotency_keys WHERE created_at <= $1 LIMIT $2)";
    Ok(tx.query(sql).bind(now - LIFE).bind(BATCH).run().await?)
}
