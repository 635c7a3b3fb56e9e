//! SQLite's log is written back to the database beside the writers, not by them.
//!
//! Left alone, the writer that makes the thousandth page of the log writes them all
//! back and waits for two syncs; its transaction, and whoever waits behind it, takes
//! ten times as long as usual.

use sqlx::{Connection, Result, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// How often the log is written back while there are commits.
const OFTEN: Duration = Duration::from_secs(1);

/// When so many pages (64 MiB) were not yet written back, because readers or writers
/// never let go, a writer does it after all.
pub(super) const MOST_PAGES: &str = "16384";

/// Stops when dropped.
pub(super) struct Checkpoints {
    task: JoinHandle<()>,
    due: Arc<AtomicBool>,
}

impl Checkpoints {
    pub(super) async fn start(options: &SqliteConnectOptions) -> Result<Self> {
        let conn = SqliteConnection::connect_with(options).await?;
        let due = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(conn, Arc::clone(&due)));
        Ok(Self { task, due })
    }

    /// There is more in the log.
    pub(super) fn committed(&self) {
        self.due.store(true, Ordering::Relaxed);
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut conn: SqliteConnection, due: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(OFTEN).await;
        if !due.swap(false, Ordering::Relaxed) {
            continue;
        }
        // Waits for nobody, and nobody waits for it.
        let written = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut conn).await;
        if let Err(error) = written {
            tracing::warn!(%error, "the database's log could not be written back");
        }
    }
}
