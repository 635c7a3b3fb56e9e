//! A statement on its way to one of the two engines. Every method is a match
//! with two arms and nothing more.

use futures::TryStreamExt;
use sqlx::{
    Either, Encode, Executor, FromRow, PgConnection, Postgres, Result, Sqlite, SqliteConnection,
    Type,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

/// A value that either engine can store.
pub trait Value<'q>:
    Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}

impl<'q, T> Value<'q> for T where
    T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}

/// A struct or tuple that a row of either engine can become.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

#[must_use = "a query does nothing until it is run or fetched"]
pub enum Query<'t> {
    Sqlite(&'t mut SqliteConnection, sqlx::query::Query<'static, Sqlite, SqliteArguments>),
    Postgres(&'t mut PgConnection, sqlx::query::Query<'static, Postgres, PgArguments>),
}

impl Query<'_> {
    pub fn bind<'q>(self, value: impl Value<'q>) -> Self {
        match self {
            Self::Sqlite(conn, query) => Self::Sqlite(conn, query.bind(value)),
            Self::Postgres(conn, query) => Self::Postgres(conn, query.bind(value)),
        }
    }

    /// Runs the statement and tells how many rows it touched.
    pub async fn run(self) -> Result<u64> {
        match self {
            Self::Sqlite(conn, query) => {
                // There may be an opening in front, which touches nothing: what
                // counts is the last statement.
                let mut steps = conn.fetch_many(query);
                let mut touched = 0;
                while let Some(step) = steps.try_next().await? {
                    if let Either::Left(done) = step {
                        touched = done.rows_affected();
                    }
                }
                Ok(touched)
            }
            Self::Postgres(conn, query) => Ok(query.execute(conn).await?.rows_affected()),
        }
    }

    pub async fn one<T: Record>(self) -> Result<T> {
        match self {
            Self::Sqlite(conn, query) => T::from_row(&query.fetch_one(conn).await?),
            Self::Postgres(conn, query) => T::from_row(&query.fetch_one(conn).await?),
        }
    }

    pub async fn optional<T: Record>(self) -> Result<Option<T>> {
        match self {
            Self::Sqlite(conn, query) => {
                query.try_map(|row| T::from_row(&row)).fetch_optional(conn).await
            }
            Self::Postgres(conn, query) => {
                query.try_map(|row| T::from_row(&row)).fetch_optional(conn).await
            }
        }
    }

    pub async fn all<T: Record>(self) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(conn, query) => {
                query.try_map(|row| T::from_row(&row)).fetch_all(conn).await
            }
            Self::Postgres(conn, query) => {
                query.try_map(|row| T::from_row(&row)).fetch_all(conn).await
            }
        }
    }
}
