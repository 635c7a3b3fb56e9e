//! The ledger, held against what TigerBeetle and Formance promise of theirs: each of these
//! is one of the invariants by which such ledgers are judged.

use crate::{
    both_engines,
    harness::{Engine, Place},
};
use aiybiz_host::{
    billing::{
        check::check,
        ledger::{self, Account, Movement, Posted, Posting},
    },
    clock::Clock,
    error::{Kind, Result},
    id::{BuilderId, CompanyId},
    storage::Db,
};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashMap;
use uuid::Uuid;

struct Books {
    db: Db,
    clock: Clock,
    place: Place,
}

impl Books {
    async fn open(engine: Engine) -> Self {
        let place = Place::new(engine).await;
        let db = Db::open(&place.database_url).await.expect("a database");
        Self { db, clock: Clock::default(), place }
    }

    async fn post(&self, key: &str, movements: &[Movement]) -> Result<Posted> {
        let mut tx = self.db.write().await?;
        let posting = Posting { key, kind: "test", session: None, movements };
        let posted = ledger::post(&mut tx, &self.clock, posting).await?;
        tx.commit().await?;
        Ok(posted)
    }

    async fn has(&self, account: Account) -> i64 {
        let mut tx = self.db.look().await.expect("a look");
        ledger::balance(&mut tx, account).await.expect("a balance")
    }

    /// Names of the checks that do not hold.
    async fn wrong(&self) -> Vec<&'static str> {
        let checks = check(&mut self.db.read().await.expect("a look")).await.expect("it looks");
        let wrong = checks.into_iter().filter(|check| !check.ok);
        wrong.map(|check| check.name).collect()
    }

    /// Whether the database lets a statement pass.
    async fn takes(&self, sql: &'static str) -> bool {
        let mut tx = self.db.write().await.expect("a transaction");
        tx.query(sql).run().await.is_ok()
    }

    async fn damage(&self, sql: &'static str) {
        let mut tx = self.db.write().await.expect("a transaction");
        tx.query(sql).run().await.expect("it is damaged");
        tx.commit().await.expect("it is damaged");
    }
}

fn company(n: u128) -> CompanyId {
    CompanyId(Uuid::from_u128(n))
}

fn pays(from: Account, to: Account, cents: i64) -> Movement {
    Movement { from, to, cents }
}

fn tops_up(n: u128, cents: i64) -> [Movement; 1] {
    [pays(Account::Provider, Account::Wallet(company(n)), cents)]
}

both_engines! {
    async fn what_is_posted_is_there_once(engine: Engine) {
        let books = Books::open(engine).await;
        let wallet = Account::Wallet(company(1));
        assert_eq!(books.has(wallet).await, 0);
        assert!(matches!(books.post("topup:1", &tops_up(1, 1_000)).await, Ok(Posted::Now(_))));
        // Said again, even of other money: it happened once.
        for cents in [1_000, 5] {
            assert_eq!(books.post("topup:1", &tops_up(1, cents)).await.expect("it is known"), Posted::Before);
        }
        assert_eq!((books.has(wallet).await, books.has(Account::Provider).await), (1_000, -1_000));
        let settled = [
            pays(wallet, Account::Payable(BuilderId(Uuid::from_u128(7))), 150),
            pays(wallet, Account::Fees, 17),
        ];
        books.post("settle:1", &settled).await.expect("there is enough");
        assert_eq!(books.has(wallet).await, 833);
        let mut tx = books.db.look().await.expect("a look");
        let lines = ledger::statement(&mut tx, wallet, None, 10).await.expect("a statement");
        let told: Vec<_> = lines.iter().map(|l| (l.number, &*l.key, l.cents, l.balance)).collect();
        assert_eq!(told, [(3, "settle:1", -17, 833), (2, "settle:1", -150, 850), (1, "topup:1", 1_000, 1_000)]);
        let page = ledger::statement(&mut tx, wallet, Some(3), 1).await.expect("a statement");
        assert_eq!(page, lines[1..2]);
        drop(tx);
        assert_eq!(books.wrong().await, [""; 0]);
    }

    async fn nobody_spends_what_he_has_not(engine: Engine) {
        let books = Books::open(engine).await;
        let (wallet, hold) = (Account::Wallet(company(1)), Account::Hold(company(1)));
        books.post("topup:1", &tops_up(1, 100)).await.expect("it is posted");
        let refused = books.post("hold:1", &[pays(wallet, hold, 101)]).await.expect_err("too much");
        assert_eq!((refused.kind, refused.code), (Kind::Payment, "insufficient_funds"));
        // What was refused did not happen: with enough, it does.
        books.post("topup:2", &tops_up(1, 1)).await.expect("it is posted");
        assert!(matches!(books.post("hold:1", &[pays(wallet, hold, 101)]).await, Ok(Posted::Now(_))));
        // In one posting, what comes may be spent, in whatever order it is written.
        let through = [pays(wallet, Account::Fees, 5), pays(Account::Provider, wallet, 5)];
        books.post("through", &through).await.expect("together it is nothing");
        assert_eq!((books.has(wallet).await, books.has(hold).await), (0, 101));
        for movements in [&[][..], &[pays(wallet, wallet, 1)], &[pays(wallet, hold, 0)], &[pays(wallet, hold, -5)]] {
            let wrong = books.post("wrong", movements).await.expect_err("it is no posting");
            assert_eq!(wrong.kind, Kind::Internal);
        }
        let most = [pays(Account::Provider, Account::Wallet(company(2)), i64::MAX)];
        books.post("most", &most).await.expect_err("with what was there it is more than can be");
        assert_eq!(books.wrong().await, [""; 0]);
    }

    async fn all_at_once(engine: Engine) {
        let books = Books::open(engine).await;
        let (wallet, hold) = (Account::Wallet(company(1)), Account::Hold(company(1)));
        // 64 copies of one: it happens once.
        let five = [pays(Account::Provider, wallet, 500)];
        let copies = join_all((0..64).map(|_| books.post("topup:1", &five)));
        let now = copies.await.into_iter().filter(|posted| matches!(posted, Ok(Posted::Now(_)))).count();
        assert_eq!((now, books.has(wallet).await), (1, 500));
        // 500 that differ: nothing is lost.
        let keys: Vec<_> = (0..500).map(|n| format!("credit:{n}")).collect();
        let one = [pays(Account::Provider, wallet, 1)];
        for posted in join_all(keys.iter().map(|key| books.post(key, &one))).await {
            posted.expect("it is posted");
        }
        assert_eq!(books.has(wallet).await, 1_000);
        // 200 race for what is enough for ten.
        let keys: Vec<_> = (0..200).map(|n| format!("hold:{n}")).collect();
        let hour = [pays(wallet, hold, 100)];
        let racing = join_all(keys.iter().map(|key| books.post(key, &hour))).await;
        assert_eq!(racing.iter().filter(|posted| posted.is_ok()).count(), 10);
        assert_eq!((books.has(wallet).await, books.has(hold).await), (0, 1_000));
        // Back and forth between two: nobody waits for the other for ever.
        let back = [pays(hold, wallet, 1)];
        let forth = [pays(wallet, hold, 1)];
        books.post("some", &[pays(hold, wallet, 500)]).await.expect("it is posted");
        let keys: Vec<_> = (0..100).map(|n| format!("swing:{n}")).collect();
        let swings = keys.iter().enumerate().map(|(n, key)| books.post(key, if n % 2 == 0 { &back } else { &forth }));
        for posted in join_all(swings).await {
            posted.expect("it is posted");
        }
        assert_eq!((books.has(wallet).await, books.has(hold).await), (500, 500));
        assert_eq!(books.wrong().await, [""; 0]);
    }

    /// Whoever gets at the database, by mistake or not.
    async fn the_database_itself_holds_it(engine: Engine) {
        let books = Books::open(engine).await;
        books.post("topup:1", &tops_up(1, 100)).await.expect("it is posted");
        for sql in [
            "UPDATE ledger_entries SET cents = 5",
            "UPDATE ledger_entries SET cents = cents",
            "DELETE FROM ledger_entries",
            "UPDATE ledger_postings SET key = 'other'",
            "DELETE FROM ledger_postings",
            "UPDATE ledger_accounts SET balance = -1 WHERE kind = 'wallet'",
            "UPDATE ledger_accounts SET kind = 'purse'",
            "INSERT INTO ledger_entries SELECT posting_id, 1, from_account, from_account, 5, 0, 0, 8, 9 FROM ledger_entries",
            "INSERT INTO ledger_entries SELECT posting_id, 1, from_account, to_account, 0, 0, 0, 8, 9 FROM ledger_entries",
            "INSERT INTO ledger_entries SELECT posting_id, 1, from_account, to_account, 5, 0, 0, 1, 9 FROM ledger_entries",
        ] {
            assert!(!books.takes(sql).await, "{sql}");
        }
        assert_eq!(books.wrong().await, [""; 0]);
        // It still is so when the database is opened once more.
        let again = Db::open(&books.place.database_url).await.expect("a database");
        let mut tx = again.write().await.expect("a transaction");
        assert!(tx.query("DELETE FROM ledger_entries").run().await.is_err());
    }

    /// Each kind of damage is found, by the check that is there for it.
    async fn damage_is_found(engine: Engine) {
        for (damage, found) in [
            (
                "UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'wallet'",
                &["all accounts together are nothing", "every account has what its entries come to"][..],
            ),
            (
                "UPDATE ledger_accounts SET entries = entries + 1 WHERE kind = 'wallet'",
                &["every account has what its entries come to"],
            ),
            (
                "INSERT INTO ledger_entries SELECT posting_id, 1, from_account, to_account, 5, 0, 0, 8, 9 FROM ledger_entries",
                &["every account has what its entries come to", "an account's entries are numbered without gaps"],
            ),
        ] {
            let books = Books::open(engine).await;
            books.post("topup:1", &tops_up(1, 100)).await.expect("it is posted");
            books.damage(damage).await;
            assert_eq!(books.wrong().await, found, "{damage}");
        }
        let books = Books::open(engine).await;
        let mut tx = books.db.write().await.expect("a transaction");
        let sql = "INSERT INTO ledger_postings (id, key, kind, created_at) VALUES ($1, 'empty', 'test', $2)";
        tx.query(sql).bind(Uuid::from_u128(1)).bind(books.clock.now()).run().await.expect("it is there");
        tx.commit().await.expect("it is there");
        assert_eq!(books.wrong().await, ["every posting moves something"]);
    }

    /// Thousands of movements at random beside the simplest ledger there is.
    async fn it_is_what_a_simple_one_would_be(engine: Engine) {
        let seed = std::env::var("AIYBIZ_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u64>);
        println!("AIYBIZ_TEST_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let books = Books::open(engine).await;
        let accounts: Vec<Account> = (1..=3)
            .flat_map(|n| [Account::Wallet(company(n)), Account::Hold(company(n)), Account::Disputed(company(n))])
            .chain([Account::Provider, Account::Fees, Account::ProviderFees])
            .collect();
        let mut simple: HashMap<Account, i64> = HashMap::new();
        let mut keys = std::collections::HashSet::new();
        for _ in 0..600 {
            let key = format!("random:{}", random.random_range(0..500));
            let movements: Vec<Movement> = (0..random.random_range(1..4))
                .map(|_| {
                    let from = random.random_range(0..accounts.len());
                    let to = (from + random.random_range(1..accounts.len())) % accounts.len();
                    pays(accounts[from], accounts[to], random.random_range(1..200))
                })
                .collect();
            let mut after = simple.clone();
            for movement in &movements {
                *after.entry(movement.from).or_default() -= movement.cents;
                *after.entry(movement.to).or_default() += movement.cents;
            }
            let owes = |account: &Account| {
                matches!(account, Account::Provider | Account::ProviderFees | Account::Disputed(_))
            };
            let enough = after.iter().all(|(account, balance)| *balance >= 0 || owes(account));
            match books.post(&key, &movements).await {
                Ok(Posted::Before) => assert!(keys.contains(&key)),
                Ok(Posted::Now(_)) => {
                    assert!(enough && keys.insert(key));
                    simple = after;
                }
                Err(error) => assert!(error.code == "insufficient_funds" && !enough && !keys.contains(&key)),
            }
        }
        for account in accounts {
            assert_eq!(books.has(account).await, simple.get(&account).copied().unwrap_or(0), "{account:?}");
        }
        assert_eq!(books.wrong().await, [""; 0]);
    }
}
