//! Hints between processes, through PostgreSQL's `NOTIFY`.

use super::{Bus, Signal};
use crate::{id::SessionId, storage::Db};
use sqlx::{PgPool, postgres::PgListener};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc;
use uuid::Uuid;

const CHANNEL: &str = "aiybiz_news";

/// How long hints are collected before they are sent together.
const BUNDLE: Duration = Duration::from_millis(5);

/// PostgreSQL refuses a payload of 8000 bytes; an id and a comma take 37.
const BUNDLE_IDS: usize = 200;

/// How soon a lost connection is made anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends and receives hints for as long as it is polled. On SQLite there is one
/// process and nothing to tell.
pub async fn across_processes(bus: Bus, db: Db, mut hints: mpsc::Receiver<SessionId>) {
    match db {
        Db::Sqlite { .. } => while hints.recv().await.is_some() {},
        Db::Postgres { pool, .. } => {
            // A process hears itself too; what it said, its readers know already.
            let me = Uuid::new_v4().to_string();
            tokio::join!(send(&pool, &me, hints), receive(&pool, &me, &bus));
        }
    }
}

async fn send(pool: &PgPool, me: &str, mut hints: mpsc::Receiver<SessionId>) {
    while let Some(first) = hints.recv().await {
        let mut bundle = BTreeSet::from([first]);
        let collected = async {
            while bundle.len() < BUNDLE_IDS
                && let Some(session) = hints.recv().await
            {
                bundle.insert(session);
            }
        };
        let _ = tokio::time::timeout(BUNDLE, collected).await;
        let ids: Vec<_> = bundle.iter().map(ToString::to_string).collect();
        let sent = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(format!("{me}:{}", ids.join(",")));
        if let Err(error) = sent.execute(pool).await {
            tracing::warn!(%error, "other processes could not be told of news");
        }
    }
}

async fn receive(pool: &PgPool, me: &str, bus: &Bus) {
    loop {
        if let Err(error) = listen(pool, me, bus).await {
            tracing::warn!(%error, "lost the connection that tells of other processes' news");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen(pool: &PgPool, me: &str, bus: &Bus) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // Whatever was said while nobody listened.
    bus.wake_all();
    while let Some(hint) = listener.try_recv().await? {
        let (from, ids) = hint.payload().split_once(':').unwrap_or_default();
        for id in ids.split(',').filter(|_| from != me) {
            if let Ok(session) = id.parse() {
                bus.wake(session, Signal::News);
            }
        }
    }
    Ok(())
}
