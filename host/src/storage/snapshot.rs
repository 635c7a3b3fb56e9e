//! A copy of SQLite's file as it is at one moment, made beside whoever writes.

use super::Result;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::path::Path;

/// Copies the database at `url` to a file that must not be there yet. The copy is whole and
/// needs no log beside it.
pub async fn sqlite(url: &str, to: &Path) -> Result<()> {
    let options: SqliteConnectOptions = url.parse()?;
    let mut conn = SqliteConnection::connect_with(&options.create_if_missing(false)).await?;
    let to = to.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO $1").bind(to).execute(&mut conn).await?;
    conn.close().await
}
