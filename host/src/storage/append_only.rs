//! Tables that are only added to: the engine itself holds it, whatever statement anybody
//! thinks of. Triggers are what the two engines agree least on, so they are made here and
//! not in the migrations.

use super::Result;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, raw_sql};

const TABLES: [&str; 2] = ["ledger_postings", "ledger_entries"];

/// Two processes that start at once do it one after the other. Any number would do.
const TURN: i64 = 0x6c65_6467_6572;

pub(super) async fn on_sqlite(conn: &mut SqliteConnection) -> Result<()> {
    for table in TABLES {
        for change in ["UPDATE", "DELETE"] {
            let sql = format!(
                "CREATE TRIGGER IF NOT EXISTS {table}_no_{change} BEFORE {change} ON {table}
                 BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END"
            );
            raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

pub(super) async fn on_postgres(conn: &mut PgConnection) -> Result<()> {
    let mut tx = conn.begin().await?;
    let turn = format!("SELECT pg_advisory_xact_lock({TURN})");
    raw_sql(AssertSqlSafe(turn)).execute(&mut *tx).await?;
    for table in TABLES {
        let known = "SELECT 1 FROM pg_trigger
                     WHERE tgname = $1 AND tgrelid = to_regclass($2) AND NOT tgisinternal";
        let name = format!("{table}_no_change");
        let known = sqlx::query(known).bind(&name).bind(table).fetch_optional(&mut *tx).await?;
        if known.is_some() {
            continue;
        }
        let sql = format!(
            "CREATE OR REPLACE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION '% is only added to', TG_TABLE_NAME; END $$;
             CREATE TRIGGER {name} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION only_added_to()"
        );
        raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    tx.commit().await
}
