//! Group commit for SQLite: writers that wait share one fsync.
//!
//! There is one connection that writes, and a fair queue for it. A writer's
//! transaction is a *savepoint* inside a larger one, the batch. When it commits,
//! it lets go of the connection and queues once more: whoever was already
//! waiting goes first and adds to the batch, and the first who comes round again
//! commits the batch for all. Nobody is told "committed" before the fsync, and a
//! writer that gives up takes back its savepoint and nothing else.
//!
//! Alone, a writer commits at once: no waiting for company.

use sqlx::{
    AssertSqlSafe, Connection, Error, Result, SqliteConnection, migrate::Migrator,
    sqlite::SqliteConnectOptions,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub struct Writer {
    state: Arc<Mutex<State>>,
    /// How many are in the queue for `state`.
    waiting: AtomicUsize,
}

struct State {
    conn: Option<SqliteConnection>,
    /// The open transaction, if there is one.
    batch: Option<Arc<Batch>>,
    savepoint: Savepoint,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    None,
    /// Its writer is at work, or was dropped without a word.
    Open,
    /// Its writer is done; it is released together with the next step.
    Kept,
}

/// What became of a batch, once it is known.
#[derive(Default)]
struct Batch(OnceLock<std::result::Result<(), String>>);

/// One writer's transaction.
pub struct Turn {
    state: Option<OwnedMutexGuard<State>>,
    writer: Arc<Writer>,
}

impl Writer {
    pub async fn open(options: &SqliteConnectOptions, migrations: &Migrator) -> Result<Self> {
        let mut conn = SqliteConnection::connect_with(options).await?;
        migrations.run(&mut conn).await?;
        let state = State { conn: Some(conn), batch: None, savepoint: Savepoint::None };
        Ok(Self { state: Arc::new(Mutex::new(state)), waiting: AtomicUsize::new(0) })
    }

    /// Waits for the connection and begins a transaction.
    pub async fn turn(self: &Arc<Self>) -> Result<Turn> {
        let mut state = self.queue().await;
        state.begin().await?;
        Ok(Turn { state: Some(state), writer: Arc::clone(self) })
    }

    pub async fn close(&self) {
        let mut state = self.queue().await;
        let _ = state.flush().await;
        if let Some(conn) = state.conn.take() {
            let _ = conn.close().await;
        }
    }

    async fn queue(&self) -> OwnedMutexGuard<State> {
        let _place = Place::take(&self.waiting);
        Arc::clone(&self.state).lock_owned().await
    }

    /// Commits `batch` unless somebody did so meanwhile.
    async fn settle(&self, batch: &Batch) -> Result<()> {
        let mut state = self.queue().await;
        if batch.0.get().is_none() {
            state.flush().await?;
        }
        match batch.0.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Error::Protocol(format!("commit failed: {error}"))),
            None => Err(Error::Protocol("the batch was lost".into())),
        }
    }
}

impl Turn {
    pub fn connection(&mut self) -> &mut SqliteConnection {
        let state = self.state.as_mut().expect("a turn has the state until it commits");
        state.conn.as_mut().expect("the connection is open until the database is closed")
    }

    pub async fn commit(mut self) -> Result<()> {
        let mut state = self.state.take().expect("a turn commits once");
        let Some(batch) = state.batch.clone() else {
            return Err(Error::Protocol("no transaction is open".into()));
        };
        state.savepoint = Savepoint::Kept;
        if self.writer.waiting.load(Ordering::Acquire) == 0 {
            return state.flush().await;
        }
        drop(state);
        // From here on the work is done but not yet durable: should the caller
        // be dropped (a client hung up), somebody must still commit the batch.
        let unattended = Unattended { writer: &self.writer, batch: &batch, done: false };
        let result = self.writer.settle(&batch).await;
        unattended.done();
        result
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Dropped without commit: the next one to come takes the savepoint back
        // (`State::tidy`). When others of this batch wait, they come anyway.
        if let Some(state) = self.state.take() {
            drop(state);
            spawn_flush(&self.writer);
        }
    }
}

impl State {
    async fn begin(&mut self) -> Result<()> {
        self.tidy().await;
        let kept = std::mem::replace(&mut self.savepoint, Savepoint::Open);
        let begin = match (&self.batch, kept) {
            (None, _) => "BEGIN IMMEDIATE; SAVEPOINT turn",
            (Some(_), Savepoint::Kept) => "RELEASE turn; SAVEPOINT turn",
            (Some(_), _) => "SAVEPOINT turn",
        };
        let fresh = self.batch.is_none();
        self.batch.get_or_insert_default();
        let result = self.execute(begin).await;
        if result.is_err() {
            if fresh {
                self.batch = None;
            }
            self.savepoint = Savepoint::None;
        }
        result
    }

    /// Takes back what a dropped writer left behind.
    async fn tidy(&mut self) {
        if self.savepoint == Savepoint::Open {
            // Fails when the writer was dropped before its savepoint was made;
            // then there is nothing to take back.
            let _ = self.execute("ROLLBACK TO turn; RELEASE turn").await;
            self.savepoint = Savepoint::None;
        }
    }

    /// Makes the batch durable and tells everyone in it.
    async fn flush(&mut self) -> Result<()> {
        self.tidy().await;
        let Some(batch) = self.batch.take() else { return Ok(()) };
        self.savepoint = Savepoint::None;
        let result = self.execute("COMMIT").await;
        if result.is_err() {
            let _ = self.execute("ROLLBACK").await;
        }
        let told = result.as_ref().copied().map_err(ToString::to_string);
        let _ = batch.0.set(told);
        result
    }

    async fn execute(&mut self, sql: &'static str) -> Result<()> {
        let conn = self.conn.as_mut().ok_or(Error::PoolClosed)?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
        Ok(())
    }
}

/// A place in the queue, given back also when the one who waits is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Unattended<'a> {
    writer: &'a Arc<Writer>,
    batch: &'a Batch,
    done: bool,
}

impl Unattended<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        if !self.done && self.batch.0.get().is_none() {
            spawn_flush(self.writer);
        }
    }
}

fn spawn_flush(writer: &Arc<Writer>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let writer = Arc::clone(writer);
    runtime.spawn(async move {
        if let Err(error) = writer.queue().await.flush().await {
            tracing::error!(%error, "the database refused a commit");
        }
    });
}
