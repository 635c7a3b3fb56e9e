//! What the one who opened a session is told when it ends without him.

use crate::{
    clock::Clock,
    error::Result,
    id::{SessionId, UserId},
    notifications,
    storage::Tx,
};

/// Tells him, if he is still in the company whose session it was. Call it in the
/// transaction that ends the session.
pub(super) async fn ended(tx: &mut Tx, clock: &Clock, id: SessionId, reason: &str) -> Result<()> {
    let Some((user, agent)) = opener(tx, id).await? else { return Ok(()) };
    let text = format!("Your session with {agent} has ended: {}.", because(reason));
    notifications::tell(tx, clock, user, "session_ended", Some(id), text).await?;
    Ok(())
}

/// Tells him that the wallet does not cover another hour.
pub(super) async fn low_balance(tx: &mut Tx, clock: &Clock, id: SessionId) -> Result<()> {
    let Some((user, agent)) = opener(tx, id).await? else { return Ok(()) };
    let text = format!(
        "Your session with {agent} ends when its paid hour does: the balance does not cover \
         another. Top up to go on."
    );
    notifications::tell(tx, clock, user, "low_balance", Some(id), text).await?;
    Ok(())
}

async fn opener(tx: &mut Tx, id: SessionId) -> Result<Option<(UserId, String)>> {
    let opener = tx.query(
        "SELECT m.user_id, s.agent_name FROM sessions s
         JOIN members m ON m.id = s.member_id AND m.company_id = s.company_id
         WHERE s.id = $1",
    );
    Ok(opener.bind(id).optional().await?)
}

fn because(reason: &str) -> &'static str {
    match reason {
        "low_balance" => "the balance did not cover another hour",
        "stale" => "nothing was heard of the agent for too long",
        "provisioning_timeout" => "the agent did not become ready in time",
        "agent_failed" => "the agent refused to start",
        "operator" => "an operator of the platform ended it",
        "plan_lapsed" => "the company's plan has lapsed",
        "agent_withdrawn" => "the agent is no longer offered",
        _ => "the platform ended it",
    }
}
