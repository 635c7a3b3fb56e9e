//! The façade over two engines: what is committed stays, what is not leaves no
//! trace, and waiting writers on SQLite share a commit without knowing.

#![expect(clippy::unwrap_used, reason = "what is tested is whether it fails")]

use crate::{
    both_engines,
    harness::{Engine, Place},
};
use aiybiz_host::{
    clock::Clock,
    storage::{Db, Result, Tx},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

both_engines! {
    async fn what_is_not_committed_leaves_no_trace(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "kept").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "dropped").await.unwrap();
        drop(tx);
        assert_eq!(names(&db).await, ["kept"]);
    }

    async fn a_read_is_a_snapshot_that_refuses_to_write(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut read = db.read().await.unwrap();
        assert_eq!(count(&mut read).await, 0);
        let mut write = db.write().await.unwrap();
        insert(&mut write, "later").await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(count(&mut read).await, 0, "still the old snapshot");
        assert!(insert(&mut read, "never").await.is_err());
    }

    /// Among many writers, each of which may commit, give up, fail in a statement,
    /// or be dropped in the middle of committing: exactly those who were told
    /// "committed" are there, and nobody who gave up is.
    async fn many_writers_each_get_what_they_were_told(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut writers = Vec::new();
        for n in 0..400_u32 {
            let db = db.clone();
            writers.push(tokio::spawn(async move { (n, one_writer(&db, n).await) }));
        }
        let (mut committed, mut unknown) = (Vec::new(), Vec::new());
        for writer in writers {
            match writer.await.expect("no panic") {
                (n, Told::Committed) => committed.push(format!("writer {n:03}")),
                (n, Told::Nothing) => unknown.push(format!("writer {n:03}")),
                (_, Told::GaveUp) => {}
            }
        }
        // Whoever was dropped while committing may or may not be there; one more
        // commit makes sure that none of them is still under way.
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "zz last").await.unwrap();
        tx.commit().await.unwrap();
        let found = names(&db).await;
        for name in &committed {
            assert!(found.contains(name), "{name} was told that it is committed");
        }
        let extra = found.iter().filter(|name| !committed.contains(name));
        let extra: Vec<_> = extra.filter(|name| !unknown.contains(name)).collect();
        assert_eq!(extra, ["zz last"], "somebody who gave up is there");
        assert!(committed.len() >= 160, "two in five simply commit");
    }

    /// A writer that hangs up in any moment, in a statement or in its commit, leaves
    /// those who wrote before and after it with what they were told.
    async fn who_hangs_up_harms_nobody_else(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut told = Vec::new();
        for n in 0..600_u32 {
            let hasty = {
                let (db, patience) = (db.clone(), Duration::from_micros(u64::from(n % 300) * 2));
                tokio::spawn(async move {
                    let write = async {
                        let mut tx = db.write().await.unwrap();
                        insert(&mut tx, &format!("hasty {n:03}")).await.unwrap();
                        tx.commit().await.unwrap();
                    };
                    tokio::time::timeout(patience, write).await.is_ok()
                })
            };
            let patient = [0, 1].map(|which| {
                let (db, name) = (db.clone(), format!("patient {n:03} {which}"));
                tokio::spawn(async move {
                    let mut tx = db.write().await.unwrap();
                    insert(&mut tx, &name).await.unwrap();
                    tx.commit().await.unwrap();
                    name
                })
            });
            if hasty.await.expect("no panic") {
                told.push(format!("hasty {n:03}"));
            }
            for patient in patient {
                told.push(patient.await.expect("no error for who stays"));
            }
        }
        let found = names(&db).await;
        for name in &told {
            assert!(found.contains(name), "{name} was told that it is committed");
        }
    }

    /// A writer may be dropped after its first statement was made and before it was
    /// sent: those who come next begin anew.
    async fn who_never_sends_leaves_nothing_half_begun(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut silent = db.write().await.unwrap();
        drop(silent.query("DELETE FROM companies"));
        let stays = async {
            let mut tx = db.write().await.unwrap();
            insert(&mut tx, "stays").await.unwrap();
            tx.commit().await
        };
        let gives_up = async {
            let mut tx = db.write().await.unwrap();
            insert(&mut tx, "gives up").await.unwrap();
        };
        let (told, (), ()) = tokio::join!(stays, gives_up, async { drop(silent) });
        told.expect("it is committed, and told so");
        assert_eq!(names(&db).await, ["stays"]);
    }

    async fn a_writer_does_not_wait_for_company(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "alone").await.unwrap();
        // Nobody else writes: were it to wait for others, it would wait for ever.
        let committed = tokio::time::timeout(Duration::from_secs(20), tx.commit());
        committed.await.expect("at once").unwrap();
        assert_eq!(names(&db).await, ["alone"]);
    }

    async fn numbers_taken_by_many_have_no_gap(engine: Engine) {
        let (_place, db) = open(engine).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "counter").await.unwrap();
        tx.commit().await.unwrap();
        let db = Arc::new(db);
        let takers = (0..40).map(|_| {
            let db = Arc::clone(&db);
            tokio::spawn(async move {
                let mut tx = db.write().await.unwrap();
                // `name` serves as the counter: its length goes up by one each time.
                let sql = "UPDATE companies SET name = name || 'x' RETURNING CAST(LENGTH(name) AS BIGINT)";
                let (length,): (i64,) = tx.query(sql).one().await.unwrap();
                tx.commit().await.unwrap();
                length
            })
        });
        let mut taken = Vec::new();
        for taker in takers.collect::<Vec<_>>() {
            taken.push(taker.await.expect("no panic"));
        }
        taken.sort_unstable();
        assert_eq!(taken, (8..48).collect::<Vec<_>>());
    }
}

/// Writers do not stop to write SQLite's log back, and yet it is.
#[test]
fn the_log_is_written_back_beside_the_writers() {
    crate::harness::run(async {
        let (place, db) = open(Engine::Sqlite).await;
        let path = place.database_url.strip_prefix("sqlite:").expect("a file").to_owned();
        let path = path.split('?').next().expect("a path").to_owned();
        let mut tx = db.write().await.unwrap();
        // Less than makes a writer do it.
        let name = "n".repeat(1 << 20);
        for _ in 0..8 {
            insert(&mut tx, &name).await.unwrap();
        }
        tx.commit().await.unwrap();
        let patience = tokio::time::Instant::now() + Duration::from_mins(1);
        while std::fs::metadata(&path).expect("the database").len() < 8 << 20 {
            assert!(tokio::time::Instant::now() < patience, "it is still in the log only");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(count(&mut db.read().await.unwrap()).await, 8);
    });
}

enum Told {
    Committed,
    GaveUp,
    Nothing,
}

async fn one_writer(db: &Db, n: u32) -> Told {
    let mut tx = db.write().await.unwrap();
    insert(&mut tx, &format!("writer {n:03}")).await.unwrap();
    match n % 5 {
        0 => {
            drop(tx);
            Told::GaveUp
        }
        1 => {
            // A statement that fails, then giving up.
            assert!(tx.query("SELECT no_such_column FROM companies").run().await.is_err());
            Told::GaveUp
        }
        2 => {
            let patience = Duration::from_micros(u64::from(n) * 10);
            match tokio::time::timeout(patience, tx.commit()).await {
                Ok(committed) => {
                    committed.unwrap();
                    Told::Committed
                }
                Err(_) => Told::Nothing,
            }
        }
        _ => {
            tx.commit().await.unwrap();
            Told::Committed
        }
    }
}

async fn open(engine: Engine) -> (Place, Db) {
    let place = Place::new(engine).await;
    let db = Db::open(&place.database_url).await.expect("a database");
    (place, db)
}

async fn insert(tx: &mut Tx, name: &str) -> Result<u64> {
    let clock = Clock::default();
    tx.query("INSERT INTO companies (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(clock.id::<Uuid>())
        .bind(name)
        .bind(clock.now())
        .run()
        .await
}

async fn count(tx: &mut Tx) -> i64 {
    let (count,): (i64,) = tx.query("SELECT COUNT(*) FROM companies").one().await.unwrap();
    count
}

async fn names(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.unwrap();
    let rows: Vec<(String,)> =
        tx.query("SELECT name FROM companies ORDER BY name").all().await.unwrap();
    rows.into_iter().map(|(name,)| name).collect()
}
