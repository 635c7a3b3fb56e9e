//! A PostgreSQL server of the tests' own, in a temporary folder, on a free port.
//!
//! It is started by the first test that wants it and stopped when this process is
//! gone, however it went. Where no server is installed the tests say so and pass;
//! under CI they fail.

use super::process::first_line;
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Starts the server, says so, and stops it when its input ends: when the one who
/// holds the other end is gone. PostgreSQL refuses to run as root.
const KEEPER: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/aiybiz-postgres-XXXXXX")
trap 'rm -rf "$folder"' EXIT
as() { if [ "$(id -u)" = 0 ]; then chown -R postgres "$folder"; runuser -u postgres -- "$@"; else "$@"; fi; }
as "$BIN/initdb" --pgdata="$folder/data" --auth=trust --username=postgres --no-sync >/dev/null
as "$BIN/pg_ctl" --pgdata="$folder/data" --wait --log="$folder/log" \
   --options="-p $PORT -k $folder -c listen_addresses=127.0.0.1 -c max_connections=500 $EXTRA" start >/dev/null
echo up
cat >/dev/null
as "$BIN/pg_ctl" --pgdata="$folder/data" --mode=immediate stop >/dev/null || true
"#;

struct Server {
    port: u16,
    // Its standard input is what keeps the server up.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// Is there a server to test on? Says so, loudly, when there is none.
pub fn available() -> bool {
    let installed = programs().is_some();
    if !installed {
        assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed, and this is CI");
        eprintln!("PostgreSQL is not installed: this test ran on SQLite only");
    }
    installed
}

/// An empty database.
pub async fn fresh_database() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let server = SERVER.get_or_init(start);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let mut admin =
        <sqlx::PgConnection as sqlx::Connection>::connect(&admin).await.expect("PostgreSQL");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&mut admin).await.expect("a database");
    format!("postgres://postgres@127.0.0.1:{}/{name}", server.port)
}

fn start() -> Server {
    let bin = programs().expect("PostgreSQL is installed");
    // Somebody else may take the port before the server does; then it fails loudly.
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("an address").port()
    };
    // What is tested is our process dying, not the machine: no need to sync, unless
    // speed is measured.
    let durable = std::env::var_os("AIYBIZ_TEST_DURABLE").is_some();
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER])
        .env("BIN", bin)
        .env("PORT", port.to_string())
        .env("EXTRA", if durable { "" } else { "-c fsync=off" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let line = first_line(&mut keeper);
    assert_eq!(line.trim(), "up", "PostgreSQL did not start");
    Server { port, _keeper: keeper }
}

/// The folder with PostgreSQL's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    found.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists())
}
