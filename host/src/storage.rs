//! One database, two engines.
//!
//! SQLite is the embedded default; PostgreSQL takes over when one process is no
//! longer enough. The rest of the host never learns which of them is running:
//! it opens a [`Tx`], writes ordinary SQL with `$1` placeholders, and reads
//! ordinary structs back.
//!
//! ```text
//! let mut tx = db.read().await?;
//! let session: Session =
//!     tx.query("SELECT * FROM sessions WHERE id = $1").bind(id).one().await?;
//! ```
//!
//! Four rules keep one text valid on both engines:
//!
//! 1. time comes from the clock and is bound, never from `now()`;
//! 2. identifiers are UUIDv7 made by the host, never sequences;
//! 3. tables use only the column types listed in the first migration;
//! 4. aggregates say their type: `CAST(SUM(cents) AS BIGINT)`.
//!
//! SQLite has one writer at a time. Its waiting writers share one fsync (`group.rs`);
//! nobody outside this folder notices.

mod append_only;
mod away;
mod checkpoint;
mod containing;
mod group;
mod query;
pub mod skew;
pub mod snapshot;
mod to_the_end;

pub use containing::containing;
pub use query::{Query, Record, Value};
pub use sqlx::{Error, Result, types::Json};

use group::{Turn, Writer};
use sqlx::{
    AssertSqlSafe, Connection, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    pool::{PoolConnection, PoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{sync::Arc, time::Duration};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Enough for two cores to stay busy; one connection costs SQLite about 2 MB.
const READERS: u32 = 8;

/// PostgreSQL's own default allows 100 in all; this leaves room for more nodes.
const POSTGRES_CONNECTIONS: u32 = 24;

/// How long a writer waits for another *process* that holds SQLite's lock, such
/// as an operator's command beside a running server; and anybody for a connection. Then
/// the caller is told that the database is away, and that before he gives up by himself.
const BUSY: Duration = Duration::from_secs(10);

/// A handle on the database, cheap to clone.
#[derive(Clone)]
pub enum Db {
    Sqlite { readers: SqlitePool, writer: Arc<Writer> },
    Postgres { pool: PgPool, options: Box<PgConnectOptions> },
}

impl Db {
    /// Opens `sqlite:<path>` or `postgres://…` and brings the schema up to date.
    pub async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            Self::open_sqlite(url.parse()?).await
        } else {
            Self::open_postgres(url.parse()?).await
        }
    }

    async fn open_sqlite(options: SqliteConnectOptions) -> Result<Self> {
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was answered survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Each text may be kept with three openings in front (`group.rs`).
            .statement_cache_capacity(500)
            .pragma("wal_autocheckpoint", checkpoint::MOST_PAGES)
            .busy_timeout(BUSY);
        let writer = Writer::open(&options, &MIGRATIONS).await?;
        let readers = trusting(SqlitePoolOptions::new().max_connections(READERS));
        let readers = readers.connect_with(options.read_only(true)).await?;
        Ok(Self::Sqlite { readers, writer: Arc::new(writer) })
    }

    async fn open_postgres(options: PgConnectOptions) -> Result<Self> {
        // Our statements touch a few rows. PostgreSQL guesses thousands of a table that
        // it has not looked at yet, and would compile each of them anew for a quarter of a
        // second.
        // And a process that is stopped in the middle of a transaction, or whose machine is
        // gone, does not keep others from what it has locked: none of ours is open for long.
        let options = options.options([
            ("jit", "off"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("tcp_keepalives_idle", "30"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "3"),
        ]);
        let pool = trusting(PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS));
        let pool = pool.connect_with(options.clone()).await?;
        MIGRATIONS.run(&pool).await?;
        append_only::on_postgres(&mut *pool.acquire().await?).await?;
        Ok(Self::Postgres { pool, options: Box::new(options) })
    }

    /// For a single `SELECT`: without the two round trips that a transaction costs.
    pub async fn look(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx(Inner::SqliteLook(readers.acquire().await?)),
            Self::Postgres { pool, .. } => Tx(Inner::PostgresLook(pool.acquire().await?)),
        })
    }

    /// A consistent snapshot to read from.
    pub async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx(Inner::SqliteRead(readers.begin().await?)),
            Self::Postgres { pool, .. } => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Tx(Inner::Postgres(pool.begin_with(begin).await?))
            }
        })
    }

    /// A transaction to change things in; without [`Tx::commit`] it leaves no
    /// trace.
    pub async fn write(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx(Inner::SqliteWrite(Writer::turn(writer).await?)),
            Self::Postgres { pool, .. } => Tx(Inner::Postgres(pool.begin().await?)),
        })
    }

    /// Lets what is open finish and closes the connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// An open transaction.
pub struct Tx(Inner);

enum Inner {
    SqliteLook(PoolConnection<Sqlite>),
    PostgresLook(PoolConnection<Postgres>),
    SqliteRead(Transaction<'static, Sqlite>),
    SqliteWrite(Turn),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Starts a statement: bind its `$n` values in order, then run or fetch.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        match &mut self.0 {
            Inner::SqliteLook(conn) => Query::Sqlite(conn, sqlx::query(sql)),
            Inner::PostgresLook(conn) => Query::Postgres(conn, sqlx::query(sql)),
            Inner::SqliteRead(tx) => Query::Sqlite(tx, sqlx::query(sql)),
            Inner::SqliteWrite(turn) => turn.query(sql),
            Inner::Postgres(tx) => Query::Postgres(tx, sqlx::query(sql)),
        }
    }

    /// Starts a `SELECT` whose rows nobody else may change until this transaction
    /// ends. SQLite has no need of it: a writer is alone.
    pub fn query_locked(&mut self, select: &'static str) -> Query<'_> {
        self.locking(select, "FOR UPDATE")
    }

    /// Starts a `SELECT` whose rows this transaction is about to claim, passing
    /// over those another worker holds.
    ///
    /// Only PostgreSQL needs to be told: on SQLite a write transaction already
    /// has the database to itself.
    pub fn query_skip_locked(&mut self, select: &'static str) -> Query<'_> {
        self.locking(select, "FOR UPDATE SKIP LOCKED")
    }

    fn locking(&mut self, select: &'static str, how: &str) -> Query<'_> {
        if !matches!(self.0, Inner::Postgres(_)) {
            return self.query(select);
        }
        let Inner::Postgres(tx) = &mut self.0 else { unreachable!("just looked") };
        let sql = AssertSqlSafe(format!("{select} {how}"));
        Query::Postgres(tx, sqlx::query(sql.into_sql_str()))
    }

    /// Returns once the changes are durable.
    pub async fn commit(self) -> Result<()> {
        match self.0 {
            Inner::SqliteLook(_) | Inner::PostgresLook(_) => Ok(()),
            Inner::SqliteRead(tx) => tx.commit().await,
            Inner::SqliteWrite(turn) => turn.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        }
    }
}

/// By default a pool asks every connection whether it lives before it lends it: a
/// round trip for each transaction. One that was in use a second ago is trusted.
fn trusting<DB: sqlx::Database>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    const TRUSTED: Duration = Duration::from_secs(1);
    options.acquire_timeout(BUSY).test_before_acquire(false).before_acquire(|conn, meta| {
        Box::pin(async move {
            if meta.idle_for > TRUSTED {
                // Not alive: the pool drops it and makes another.
                return Ok(conn.ping().await.is_ok());
            }
            Ok(true)
        })
    })
}

/// Turns "what this row hangs on is gone" into a value: somebody deleted it
/// meanwhile.
pub fn gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Database(error)) if error.is_foreign_key_violation() => Ok(None),
        Err(error) => Err(error),
    }
}
