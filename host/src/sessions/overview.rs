//! All sessions, as operators look through them.

use super::{Session, session_columns};
use crate::{
    error::Result,
    id::{AgentId, CompanyId, SessionId},
    storage::Tx,
};

/// What a page is narrowed to.
pub struct Filter {
    pub company: Option<CompanyId>,
    pub agent: Option<AgentId>,
    pub status: Option<String>,
}

/// The condition in front is the one for which there is an index.
macro_rules! search {
    ($first:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE ",
            $first,
            " AND ($1 IS NULL OR company_id = $1) AND ($2 IS NULL OR agent_id = $2)
              AND ($3 IS NULL OR status = $3) AND ($4 IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        )
    };
}

/// A page of sessions, newest first.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<Session>> {
    // Few of many sessions run, and there is an index of those.
    let running = filter.status.as_deref().is_some_and(|status| status != "completed");
    let sql = match (filter.company, filter.agent) {
        (Some(_), _) => search!("company_id = $1"),
        (None, Some(_)) => search!("agent_id = $2"),
        (None, None) if running => search!("status <> 'completed'"),
        (None, None) => search!("TRUE"),
    };
    let found = tx.query(sql).bind(filter.company).bind(filter.agent);
    Ok(found.bind(filter.status.as_deref()).bind(before).bind(limit).all().await?)
}
