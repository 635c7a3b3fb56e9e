//! What a component remembers of a session between events.

use crate::{error::Result, id::SessionId, storage::Tx};
use std::collections::BTreeMap;

pub async fn load(tx: &mut Tx, session: SessionId) -> Result<BTreeMap<String, Vec<u8>>> {
    let sql = "SELECT key, value FROM agent_state WHERE session_id = $1";
    let rows: Vec<(String, Vec<u8>)> = tx.query(sql).bind(session).all().await?;
    Ok(rows.into_iter().collect())
}

/// Forgets it all: the last event of the session is concluded.
pub async fn forget(tx: &mut Tx, session: SessionId) -> Result<()> {
    tx.query("DELETE FROM agent_state WHERE session_id = $1").bind(session).run().await?;
    Ok(())
}

/// Makes the stored state the same as `state`. Call it in the transaction that
/// finishes the event.
pub async fn store(
    tx: &mut Tx,
    session: SessionId,
    state: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let before = load(tx, session).await?;
    for key in before.keys().filter(|key| !state.contains_key(*key)) {
        let sql = "DELETE FROM agent_state WHERE session_id = $1 AND key = $2";
        tx.query(sql).bind(session).bind(key.as_str()).run().await?;
    }
    for (key, value) in state.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        tx.query(
            "INSERT INTO agent_state (session_id, key, value) VALUES ($1, $2, $3)
             ON CONFLICT (session_id, key) DO UPDATE SET value = excluded.value",
        )
        .bind(session)
        .bind(key.as_str())
        .bind(value.as_slice())
        .run()
        .await?;
    }
    Ok(())
}
