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
//!
//! Every trip to SQLite's thread costs a writer about as much as its work there, and
//! the others wait meanwhile. So a savepoint is not made by a statement of its own
//! but rides in front of the writer's first one.
//!
//! A caller may be dropped at any `await` (a client hung up). What others depend on, a
//! commit or taking back a savepoint, goes on to its end regardless (`to_the_end`).

use super::append_only;
use super::{checkpoint::Checkpoints, query::Query, to_the_end::to_the_end};
use sqlx::{
    AssertSqlSafe, Connection, Error, Result, SqliteConnection, migrate::Migrator,
    sqlite::SqliteConnectOptions,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
};

pub struct Writer {
    state: Arc<Mutex<State>>,
    /// How many are in the queue for `state`.
    waiting: AtomicUsize,
}

struct State {
    conn: Option<SqliteConnection>,
    checkpoints: Option<Checkpoints>,
    /// The open transaction, if there is one.
    batch: Option<Arc<Batch>>,
    savepoint: Savepoint,
}

/// The savepoint on top of the batch. Writers in turn use two names, so that taking
/// back a savepoint that was never made cannot hit the one before.
#[derive(Clone, Copy)]
enum Savepoint {
    None,
    /// As [`Savepoint::Open`], and nobody's work is in the batch before it.
    First,
    /// Its writer is at work, or was dropped without a word; maybe it was never made.
    Open(Name),
    /// Its writer is done; it is released together with the next step.
    Kept(Name),
}

#[derive(Clone, Copy)]
enum Name {
    Odd,
    Even,
}

/// What became of a batch, once it is known.
#[derive(Default)]
struct Batch(OnceLock<std::result::Result<(), String>>);

/// One writer's transaction.
pub struct Turn {
    state: Option<OwnedMutexGuard<State>>,
    writer: Arc<Writer>,
    /// Nothing was sent yet: goes in front of the first statement.
    opening: Option<&'static str>,
}

impl Writer {
    pub async fn open(options: &SqliteConnectOptions, migrations: &Migrator) -> Result<Self> {
        let mut conn = SqliteConnection::connect_with(options).await?;
        migrations.run(&mut conn).await?;
        append_only::on_sqlite(&mut conn).await?;
        let checkpoints = Some(Checkpoints::start(options).await?);
        let conn = Some(conn);
        let state = State { conn, checkpoints, batch: None, savepoint: Savepoint::None };
        Ok(Self { state: Arc::new(Mutex::new(state)), waiting: AtomicUsize::new(0) })
    }

    /// Waits for the connection and begins a transaction.
    pub async fn turn(self: &Arc<Self>) -> Result<Turn> {
        let mut state = self.queue().await;
        if state.savepoint.is_open() {
            state = to_the_end(async move {
                state.tidy().await;
                state
            })
            .await;
        }
        if state.conn.is_none() {
            return Err(Error::PoolClosed);
        }
        let opening = state.opening();
        Ok(Turn { state: Some(state), writer: Arc::clone(self), opening: Some(opening) })
    }

    pub async fn close(&self) {
        let mut state = self.queue().await;
        let _ = state.flush().await;
        state.checkpoints = None;
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
        let state = self.queue().await;
        if batch.0.get().is_none() {
            flush(state).await?;
        }
        match batch.0.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Error::Protocol(format!("commit failed: {error}"))),
            None => Err(Error::Protocol("the batch was lost".into())),
        }
    }
}

impl Turn {
    /// Starts a statement, with the savepoint in front of it if it is the first.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        let state = self.state.as_mut().expect("a turn has the state until it commits");
        let query = match self.opening.take() {
            Some(opening) => {
                state.opened();
                // `$1` means the same in each statement of a text, and the opening
                // has none.
                sqlx::query(AssertSqlSafe(format!("{opening}{sql}")))
            }
            None => sqlx::query(sql),
        };
        let conn = state.conn.as_mut();
        Query::Sqlite(conn.expect("open until the database is closed"), query)
    }

    pub async fn commit(mut self) -> Result<()> {
        let mut state = self.state.take().expect("a turn commits once");
        if self.opening.is_some() {
            return Ok(());
        }
        let Some(batch) = state.batch.clone() else {
            return Err(Error::Protocol("no transaction is open".into()));
        };
        state.savepoint = match state.savepoint {
            Savepoint::First => Savepoint::Kept(Name::Odd),
            Savepoint::Open(name) => Savepoint::Kept(name),
            none_or_kept => none_or_kept,
        };
        if self.writer.waiting.load(Ordering::Acquire) == 0 {
            return flush(state).await;
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
            if self.opening.is_none() {
                spawn_flush(&self.writer);
            }
        }
    }
}

impl Savepoint {
    fn is_open(self) -> bool {
        matches!(self, Self::First | Self::Open(_))
    }
}

impl State {
    /// What has to happen before a writer's first statement.
    fn opening(&self) -> &'static str {
        match (&self.batch, self.savepoint) {
            (None, _) => "BEGIN IMMEDIATE; SAVEPOINT odd; ",
            (Some(_), Savepoint::Kept(Name::Odd)) => "RELEASE odd; SAVEPOINT even; ",
            (Some(_), Savepoint::Kept(Name::Even)) => "RELEASE even; SAVEPOINT odd; ",
            (Some(_), _) => "SAVEPOINT odd; ",
        }
    }

    /// The opening is on its way.
    fn opened(&mut self) {
        self.savepoint = match (&self.batch, self.savepoint) {
            (None, _) => Savepoint::First,
            (Some(_), Savepoint::Kept(Name::Odd)) => Savepoint::Open(Name::Even),
            _ => Savepoint::Open(Name::Odd),
        };
        self.batch.get_or_insert_default();
    }

    /// Takes back what a dropped writer left behind.
    async fn tidy(&mut self) {
        let (back, before) = match self.savepoint {
            Savepoint::None | Savepoint::Kept(_) => return,
            Savepoint::First => return self.forget().await,
            Savepoint::Open(Name::Odd) => ("ROLLBACK TO odd; RELEASE odd", "RELEASE even"),
            Savepoint::Open(Name::Even) => ("ROLLBACK TO even; RELEASE even", "RELEASE odd"),
        };
        // Fails when the savepoint was never made (the writer was dropped before, or the
        // database is locked by another process): nothing to take back, but the one
        // before may still be there, kept.
        if self.execute(back).await.is_err() {
            let _ = self.execute(before).await;
        }
        self.savepoint = Savepoint::None;
    }

    /// Takes back a batch in which there is nothing: maybe it was never begun, and what
    /// came next would stand alone.
    async fn forget(&mut self) {
        let _ = self.execute("ROLLBACK").await;
        (self.batch, self.savepoint) = (None, Savepoint::None);
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
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.committed();
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

/// Makes the batch durable even if its caller is dropped meanwhile.
async fn flush(mut state: OwnedMutexGuard<State>) -> Result<()> {
    to_the_end(async move { state.flush().await }).await
}

fn spawn_flush(writer: &Arc<Writer>) {
    let Ok(runtime) = Handle::try_current() else { return };
    let writer = Arc::clone(writer);
    runtime.spawn(async move {
        if let Err(error) = writer.queue().await.flush().await {
            tracing::warn!(%error, "a batch that nobody waits for was not committed");
        }
    });
}
