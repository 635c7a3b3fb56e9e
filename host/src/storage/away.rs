//! What an error of the database means to the caller: it is away, or we asked for
//! something wrong. Only here the engines' codes are known.

use crate::error::{Error, Kind};

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        let away = away(&cause);
        let cause = anyhow::Error::new(cause).context("database");
        if !away {
            return Self::internal(cause);
        }
        let detail = "the database cannot be reached; nothing is lost that was answered";
        let mut error = Self::new(Kind::Unavailable(1), "unavailable", detail);
        error.cause = Some(cause);
        error
    }
}

/// Is the database away, or overrun, rather than asked for something wrong?
fn away(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls};
    match error {
        // Protocol: it broke off in the middle of a word.
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed => true,
        // PostgreSQL: connections, resources, shut down by an operator, system errors
        // (appendix A of its manual); SQLite: 5 and 261, somebody else has the lock, and
        // 13, the disk is full.
        Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P", "58"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || ["5", "261", "13"].contains(&&*code)
        }),
        _ => false,
    }
}
