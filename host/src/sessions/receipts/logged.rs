//! Log entries in pages: they are kept with their receipts, and read one by one.

use super::{Filter, Invocation, list, severity};
use crate::{
    error::Result,
    id::{AgentId, EventId, InvocationId, SessionId},
    storage::Tx,
    timestamp::Timestamp,
};
use serde_json::Value;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Receipts read at once: a log has up to `logBytes`, and most pages are full after
/// a few.
const CHUNK: i64 = 20;

/// Where an entry is: in which receipt, and the how-manieth there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub invocation: InvocationId,
    pub number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.invocation, self.number)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (invocation, number) = text.split_once('.').ok_or(())?;
        let invocation = invocation.parse().map_err(drop)?;
        Ok(Self { invocation, number: number.parse().map_err(drop)? })
    }
}

/// An entry with what it belongs to.
#[derive(Clone, Debug)]
pub struct Logged {
    pub place: Place,
    pub agent_id: AgentId,
    pub session_id: SessionId,
    pub event_id: EventId,
    /// `{level, message, fields}`.
    pub entry: Value,
    pub created_at: Timestamp,
}

impl Logged {
    pub fn of(receipt: &Invocation, number: usize, entry: &Value) -> Self {
        Self {
            place: Place { invocation: receipt.id, number },
            agent_id: receipt.agent_id,
            session_id: receipt.session_id,
            event_id: receipt.event_id,
            entry: entry.clone(),
            created_at: receipt.created_at,
        }
    }
}

/// The newest receipt's entries first, each one's in their order; those after
/// `after`, and one more than `limit` if there are more.
pub async fn page(
    tx: &mut Tx,
    filter: &Filter,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Logged>> {
    let least = filter.level.unwrap_or(0);
    // Whoever logged nothing, or nothing that bad, is not even read.
    let filter = Filter { level: Some(least), ..filter.clone() };
    // The receipt in which the page before ended may have more.
    let mut before = after.map(|place| following(place.invocation));
    let mut found = Vec::new();
    loop {
        let receipts = list(tx, &filter, before, CHUNK).await?;
        before = receipts.last().map(|receipt| receipt.id);
        let more = receipts.len() as i64 == CHUNK;
        for receipt in &receipts {
            for (number, entry) in receipt.entries().iter().enumerate() {
                let told = after
                    .is_some_and(|after| after.invocation == receipt.id && number <= after.number);
                if told || level(entry) < Some(least) {
                    continue;
                }
                found.push(Logged::of(receipt, number, entry));
                if found.len() > limit {
                    return Ok(found);
                }
            }
        }
        if !more {
            return Ok(found);
        }
    }
}

/// How bad an entry is; see [`severity`].
pub fn level(entry: &Value) -> Option<i64> {
    severity(entry.get("level")?.as_str()?)
}

/// The next name there could be.
fn following(id: InvocationId) -> InvocationId {
    InvocationId(Uuid::from_u128(id.0.as_u128().saturating_add(1)))
}
