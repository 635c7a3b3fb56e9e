//! A company that closes: no session of it may run, and what was said in them is deleted.

use super::memory;
use crate::{
    error::{Error, Result},
    id::{CompanyId, SessionId},
    storage::Tx,
};

/// 409 while one runs.
pub async fn over(tx: &mut Tx, company: CompanyId) -> Result<()> {
    let running = running(tx, company, 100).await?.len();
    if running > 0 {
        let detail = format!("{running} of the company's sessions run; end them first");
        return Err(Error::conflict("sessions_running", detail));
    }
    Ok(())
}

/// Sessions of a company that are not over, the oldest first.
pub async fn running(tx: &mut Tx, company: CompanyId, limit: i64) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE company_id = $1 AND status <> 'completed'
               ORDER BY id LIMIT $2";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(company).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Sessions of a company that have something waiting for their agents.
pub async fn waiting(tx: &mut Tx, company: CompanyId, limit: i64) -> Result<Vec<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE company_id = $1
               AND id IN (SELECT session_id FROM events WHERE delivery IN ('queued', 'running'))
               LIMIT $2";
    let found: Vec<(SessionId,)> = tx.query(sql).bind(company).bind(limit).all().await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Deletes what a session that is over has stored: what was said, what it was handed, and
/// what its agent's builder was shown of it. What it cost stays.
pub async fn forget(tx: &mut Tx, session: SessionId) -> Result<()> {
    tx.query_locked("SELECT id FROM sessions WHERE id = $1").bind(session).run().await?;
    memory::forget(tx, session).await?;
    for sql in [
        "DELETE FROM events WHERE session_id = $1",
        "DELETE FROM drafts WHERE session_id = $1",
        "DELETE FROM shared_items WHERE session_id = $1",
        "DELETE FROM stream_tickets WHERE session_id = $1",
        "DELETE FROM cron_jobs WHERE session_id = $1",
        "DELETE FROM grants WHERE session_id = $1",
        "DELETE FROM attempts WHERE session_id = $1",
        "DELETE FROM invocations WHERE session_id = $1",
    ] {
        tx.query(sql).bind(session).run().await?;
    }
    Ok(())
}
