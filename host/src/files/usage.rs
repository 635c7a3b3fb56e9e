//! What a company has in its library, counted with every change, and how much it may.

use crate::{
    error::{Error, Kind, Result},
    id::{CompanyId, SessionId},
    storage::Tx,
};

/// What an operator lets clients and agents keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Quota {
    /// Bytes of one file.
    #[serde(rename = "fileBytes")]
    pub file: u64,
    /// Bytes of a company's files, with those in the trash and those not completed yet.
    #[serde(rename = "companyFileBytes")]
    pub company: u64,
    /// Bytes of what lies in the folders of one session.
    #[serde(rename = "sessionFileBytes")]
    pub session: u64,
}

/// Files and folders of a company. A bound for what lists and searches go through.
pub const NODES: i64 = 100_000;

/// What a company has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Usage {
    pub bytes: i64,
    pub nodes: i64,
}

pub async fn of(tx: &mut Tx, company: CompanyId) -> Result<Usage> {
    let sql = "SELECT bytes, nodes FROM libraries WHERE company_id = $1";
    Ok(tx.query(sql).bind(company).optional().await?.unwrap_or_default())
}

/// From here on nobody else changes the company's library, until the transaction ends.
pub async fn alone(tx: &mut Tx, company: CompanyId) -> Result<Usage> {
    count(tx, company, 0, 0).await
}

/// Counts what comes and goes. Everybody who changes a company's library passes here
/// one after the other, until his transaction ends.
pub async fn count(tx: &mut Tx, company: CompanyId, bytes: i64, nodes: i64) -> Result<Usage> {
    let sql = "UPDATE libraries SET bytes = bytes + $2, nodes = nodes + $3 WHERE company_id = $1
               RETURNING bytes, nodes";
    let counted = tx.query(sql).bind(company).bind(bytes).bind(nodes).optional().await?;
    if let Some(counted) = counted {
        return Ok(counted);
    }
    let first = "INSERT INTO libraries (company_id, bytes, nodes) VALUES ($1, 0, 0)
                 ON CONFLICT (company_id) DO NOTHING";
    tx.query(first).bind(company).run().await?;
    Ok(tx.query(sql).bind(company).bind(bytes).bind(nodes).one().await?)
}

/// How many bytes there is room for: of one more file, whoever writes it.
pub async fn room(
    tx: &mut Tx,
    quota: Quota,
    company: CompanyId,
    session: Option<SessionId>,
) -> Result<u64> {
    let used = u64::try_from(of(tx, company).await?.bytes).unwrap_or(0);
    let mut room = quota.file.min(quota.company.saturating_sub(used));
    if let Some(session) = session {
        room = room.min(quota.session.saturating_sub(of_session(tx, session).await?));
    }
    Ok(room)
}

/// Bytes in the folders of a session, with uploads of its agent that are not completed.
async fn of_session(tx: &mut Tx, session: SessionId) -> Result<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(file_size), 0) AS BIGINT) FROM nodes
               WHERE session_tag = $1 AND state = 'ready'";
    let (ready,): (i64,) = tx.query(sql).bind(session).one().await?;
    let sql = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM file_uploads
               WHERE session_id = $1";
    let (waiting,): (i64,) = tx.query(sql).bind(session).one().await?;
    Ok(u64::try_from(ready + waiting).unwrap_or(0))
}

/// There is not so much room.
pub fn exceeded(bytes: u64, room: u64) -> Error {
    let detail = format!("the file has {bytes} bytes or more, and there is room for {room}");
    Error::new(Kind::TooLarge, "quota_exceeded", detail)
}
