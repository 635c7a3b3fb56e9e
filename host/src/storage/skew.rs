//! Does this machine's clock agree with the database's?
//!
//! Processes that share a database judge each other's leases by their own clocks, and
//! agents judge our signatures by theirs: the usual libraries refuse what is five minutes
//! off. The database's clock is the one that all processes can compare with.

use super::Db;
use crate::{clock::Clock, timestamp::Timestamp};
use std::time::Duration;
use time::OffsetDateTime;

/// Beyond this the operator is warned: a lease is renewed 14 s before it runs out.
pub const TOLERATED: Duration = Duration::from_secs(5);

/// Beyond this a process does not start, since it would take others' work from them.
pub const MOST: Duration = Duration::from_mins(1);

impl Db {
    /// How far the machine's clock is off, give or take half of a round trip. None on
    /// SQLite, which has no clock but the machine's.
    pub async fn skew(&self, clock: &Clock) -> sqlx::Result<Option<Duration>> {
        let Self::Postgres { pool, .. } = self else { return Ok(None) };
        let mut conn = pool.acquire().await?;
        let before = clock.machine();
        let theirs: OffsetDateTime =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *conn).await?;
        let ours = before + clock.machine().since(before) / 2;
        let theirs = Timestamp::from(theirs);
        Ok(Some(ours.since(theirs).max(theirs.since(ours))))
    }
}
