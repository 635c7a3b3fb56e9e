//! Sessions as builders see them: those with their agents, whoever opened them.

use super::{Session, session_columns};
use crate::{
    error::Result,
    id::{AgentId, BuilderId, SessionId},
    storage::Tx,
};

/// What is looked for. Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub agent: Option<AgentId>,
    pub status: Option<String>,
}

/// The condition in front is the one for which there is an index.
macro_rules! search {
    ($first:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE builder_id = $1 AND ",
            $first,
            " AND ($2 IS NULL OR agent_id = $2) AND ($3 IS NULL OR status = $3)
              AND ($4 IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        )
    };
}

/// A page of a builder's sessions, newest first. A template's sessions stay when it is
/// withdrawn.
pub async fn list(
    tx: &mut Tx,
    builder: BuilderId,
    filter: &Filter,
    before: Option<SessionId>,
    limit: i64,
) -> Result<Vec<Session>> {
    // Few of many sessions run, and there is an index of those.
    let running = filter.status.as_deref().is_some_and(|status| status != "completed");
    let sql = match filter.agent {
        Some(_) if running => search!("agent_id = $2 AND status <> 'completed'"),
        Some(_) => search!("agent_id = $2"),
        None if running => search!("status <> 'completed'"),
        None => search!("TRUE"),
    };
    let found = tx.query(sql).bind(builder).bind(filter.agent).bind(filter.status.as_deref());
    Ok(found.bind(before).bind(limit).all().await?)
}
