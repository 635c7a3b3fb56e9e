//! Whatever happens to money, in whatever order: after every step every cent is where it
//! should be, and in the end everybody has what is his.
//!
//! `AIYBIZ_TEST_RUNS` says how many runs there are, `AIYBIZ_TEST_SEED` which is the first: a
//! run that fails names its own.

use super::tells;
use crate::{
    both_engines,
    harness::{Engine, Moody, Place, Value, json, moody::Mood, program},
};
use aiybiz_host::{
    accounts::{self, SignUp, sign_ins},
    billing::{check, events, ledger, payees, refunds, transfers},
    catalog::{self, Listing, Template},
    clock::Clock,
    config::Config,
    host::Host,
    id::{AgentId, CompanyId, MemberId, SessionId},
    payments::Told,
    sessions::{self, Opening},
    work,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Steps of one run.
const STEPS: usize = 40;

/// Runs on one database: the checks look at all of it.
const BATCH: u64 = 20;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A client and a builder, and nobody who does anything by himself.
struct Market {
    host: Host,
    moody: Moody,
    company: CompanyId,
    member: MemberId,
    template: Template,
    account: String,
    running: Vec<SessionId>,
    /// Payments: intent and cents.
    paid: Vec<(String, i64)>,
    disputes: Vec<(String, String, i64)>,
    told: Vec<Told>,
    dice: StdRng,
}

impl Market {
    async fn open(host: &Host, moody: &Moody, seed: u64) -> Self {
        let clock = &host.clock;
        let mut tx = host.db.write().await.expect("a transaction");
        let mut enter = async |name: &str| {
            let new = SignUp {
                email: format!("{name}-{seed}@example.com"),
                name: name.into(),
                company: name.into(),
                password_hash: String::new(),
            };
            let user = accounts::sign_up(&mut tx, clock, new).await.expect("a user");
            let token = sign_ins::begin(&mut tx, clock, user.id, &sign_ins::From::default())
                .await
                .expect("a token");
            accounts::identify(&mut tx, &token, clock.now()).await.expect("somebody").expect("him")
        };
        let (client, maker) = (enter("cleo").await, enter("bea").await);
        let builder = accounts::become_builder(&mut tx, clock, maker.user_id, "Bea").await;
        let builder = builder.expect("a builder").id;
        let account = format!("acct_{builder}");
        payees::made(&mut tx, builder, &account).await.expect("an account");
        let listing = Listing {
            name: "Clerk".into(),
            description: String::new(),
            logo_emoji: None,
            themes: Vec::new(),
            tools: Vec::new(),
            capabilities: Vec::new(),
            price_cents_per_hour: 1_999,
            max_sessions: None,
            delivery: "webhook".into(),
            retry_policy: "none".into(),
            webhook_url: Some("http://127.0.0.1:9/".into()),
            pin_sessions: false,
        };
        let id: AgentId = clock.id();
        let template = catalog::create(&mut tx, clock, builder, &listing, None, id).await;
        tx.commit().await.expect("it is kept");
        Self {
            host: host.clone(),
            moody: moody.clone(),
            company: client.company_id,
            member: client.member_id,
            template: template.expect("a template"),
            account,
            running: Vec::new(),
            paid: Vec::new(),
            disputes: Vec::new(),
            told: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
        }
    }

    /// One thing that may happen; says what it was.
    async fn step(&mut self) -> &'static str {
        match self.dice.random_range(0..22) {
            0..3 => self.pays().await,
            3..6 => self.opens().await,
            6..8 => self.ends().await,
            8..11 => self.waits().await,
            11 => self.asks_back().await,
            12 => self.disputes().await,
            13 => self.closes().await,
            14 => self.refunded_elsewhere().await,
            15 => self.reversed().await,
            16 => self.moves_account().await,
            17 => self.hears_again().await,
            18 => self.dies_asking().await,
            19 => {
                let moods = [
                    Mood::Refuses("balance_insufficient"),
                    Mood::Refuses("account_invalid"),
                    Mood::Swallows,
                    Mood::Sleeps,
                    Mood::Does,
                ];
                self.moody.will(moods.choose(&mut self.dice).cloned());
                "the provider has a mood"
            }
            20 => {
                work::payouts::send(&self.host).await.expect("it sends");
                "one is sent"
            }
            _ => {
                self.works().await;
                "it works"
            }
        }
    }

    async fn works(&self) {
        let host = &self.host;
        while work::told::apply(host).await.expect("it hears") {}
        work::hours::check(host).await.expect("it holds");
        let mut tx = host.db.write().await.expect("a transaction");
        transfers::release(&mut tx, host.clock.now()).await.expect("it lets go");
        tx.commit().await.expect("it is kept");
        while work::payouts::send(host).await.expect("it sends") {}
    }

    /// It comes, now or with something later, perhaps twice.
    async fn tells(&mut self, kind: &str, object: Value) {
        let told = tells(kind, object, &self.host.clock);
        self.told.push(told.clone());
        if self.dice.random_bool(0.7) {
            self.hears(&told).await;
        }
    }

    async fn hears(&self, told: &Told) {
        let mut tx = self.host.db.write().await.expect("a transaction");
        events::keep(&mut tx, &self.host.clock, told).await.expect("it is kept");
        tx.commit().await.expect("it is kept");
        let _ = work::told::apply_these(&self.host, std::slice::from_ref(told)).await;
    }

    async fn hears_again(&mut self) -> &'static str {
        if let Some(told) = self.told.choose(&mut self.dice).cloned() {
            self.hears(&told).await;
        }
        "something is told again, or late"
    }

    async fn pays(&mut self) -> &'static str {
        let (id, cents) =
            (self.host.clock.id::<uuid::Uuid>().simple(), self.dice.random_range(100..6_000));
        let intent = format!("pi_{id}");
        let succeeded = self.dice.random_bool(0.8);
        let kind =
            if succeeded { "payment_intent.succeeded" } else { "payment_intent.payment_failed" };
        let object = json!({
            "id": intent, "amount": cents, "amount_received": if succeeded { cents } else { 0 },
            "currency": "usd", "latest_charge": format!("ch_{id}"),
            "metadata": { "company": self.company },
        });
        if succeeded {
            self.paid.push((intent, cents));
        }
        self.tells(kind, object).await;
        "pays"
    }

    async fn opens(&mut self) -> &'static str {
        let mut tx = self.host.db.write().await.expect("a transaction");
        let opening = Opening {
            company: self.company,
            member: self.member,
            lease: self.host.lease(),
            free: false,
            fresh: false,
            least_cents: 0,
        };
        let clock = &self.host.clock;
        let Ok((session, _)) = sessions::open(&mut tx, clock, &self.template, opening).await else {
            return "has too little";
        };
        if self.dice.random_bool(0.8) {
            sessions::activate(&mut tx, clock, session.id).await.expect("it is active");
        }
        if self.dice.random_bool(0.1) {
            return "dies opening";
        }
        tx.commit().await.expect("it is kept");
        self.running.push(session.id);
        "opens"
    }

    async fn ends(&mut self) -> &'static str {
        let Some(session) = self.running.choose(&mut self.dice).copied() else { return "nothing" };
        let mut tx = self.host.db.write().await.expect("a transaction");
        let lease = self.host.lease();
        let ended = sessions::end(&mut tx, &self.host.clock, session, "client", lease).await;
        ended.expect("it ends");
        if self.dice.random_bool(0.2) {
            return "dies ending";
        }
        tx.commit().await.expect("it is kept");
        "ends"
    }

    async fn waits(&mut self) -> &'static str {
        let seconds = match self.dice.random_range(0..10) {
            0..4 => self.dice.random_range(1..120),
            4..8 => self.dice.random_range(120..7_200),
            _ => self.dice.random_range(7_200..200_000),
        };
        self.host.clock.advance(Duration::from_secs(seconds));
        if self.dice.random_bool(0.7) {
            work::hours::check(&self.host).await.expect("it holds");
        }
        "waits"
    }

    async fn asks_back(&mut self) -> &'static str {
        let cents = self.dice.random_range(1..3_000);
        let mut tx = self.host.db.write().await.expect("a transaction");
        if refunds::begin(&mut tx, &self.host.clock, self.company, cents).await.is_ok() {
            tx.commit().await.expect("it is kept");
        }
        "asks money back"
    }

    fn charge(intent: &str) -> String {
        intent.replacen("pi_", "ch_", 1)
    }

    async fn disputes(&mut self) -> &'static str {
        let Some((intent, cents)) = self.paid.choose(&mut self.dice).cloned() else {
            return "nothing";
        };
        let (id, charge) =
            (format!("dp_{}", self.host.clock.id::<uuid::Uuid>().simple()), Self::charge(&intent));
        let object =
            json!({ "id": id, "amount": cents, "charge": charge, "status": "needs_response" });
        self.disputes.push((id, charge, cents));
        self.tells("charge.dispute.created", object).await;
        "disputes"
    }

    async fn closes(&mut self) -> &'static str {
        let Some((id, charge, cents)) = self.disputes.choose(&mut self.dice).cloned() else {
            return "nothing";
        };
        let status = if self.dice.random_bool(0.7) { "won" } else { "lost" };
        let object = json!({ "id": id, "amount": cents, "charge": charge, "status": status });
        self.tells("charge.dispute.closed", object).await;
        "a dispute is closed"
    }

    async fn refunded_elsewhere(&mut self) -> &'static str {
        let Some((intent, cents)) = self.paid.choose(&mut self.dice).cloned() else {
            return "nothing";
        };
        let some = self.dice.random_range(1..=cents);
        let object = json!({ "id": Self::charge(&intent), "amount_refunded": some });
        self.tells("charge.refunded", object).await;
        "is refunded elsewhere"
    }

    async fn reversed(&mut self) -> &'static str {
        let sent = self.moody.sent();
        let Some(sent) = sent.choose(&mut self.dice) else { return "nothing" };
        let taken = self.dice.random_range(1..=sent.cents);
        let object = json!({ "id": sent.id, "amount": sent.cents, "amount_reversed": taken });
        self.tells("transfer.reversed", object).await;
        "a transfer is taken back"
    }

    async fn moves_account(&mut self) -> &'static str {
        let enabled = self.dice.random_bool(0.7);
        let object =
            json!({ "id": self.account, "payouts_enabled": enabled, "details_submitted": true });
        self.tells("account.updated", object).await;
        "an account changes"
    }

    /// The process dies between asking and writing down what was answered.
    async fn dies_asking(&mut self) -> &'static str {
        let mut tx = self.host.db.write().await.expect("a transaction");
        if transfers::claim(&mut tx, &self.host.clock, [0; 8]).await.expect("a claim").is_some() {
            tx.commit().await.expect("it is kept");
        }
        "dies asking"
    }

    /// Everything calms down: everybody has what is his.
    async fn rests(&mut self) {
        self.moody.is_calm();
        for told in std::mem::take(&mut self.told) {
            self.hears(&told).await;
        }
        for session in std::mem::take(&mut self.running) {
            let mut tx = self.host.db.write().await.expect("a transaction");
            let lease = self.host.lease();
            let ended = sessions::end(&mut tx, &self.host.clock, session, "client", lease).await;
            ended.expect("it ends");
            tx.commit().await.expect("it is kept");
        }
        let object =
            json!({ "id": self.account, "payouts_enabled": true, "details_submitted": true });
        self.host.clock.advance(Duration::from_secs(2));
        let told = tells("account.updated", object, &self.host.clock);
        self.hears(&told).await;
        for _ in 0..12 {
            self.host.clock.advance(Duration::from_hours(7));
            self.works().await;
        }
        let mut tx = self.host.db.look().await.expect("a look");
        let hold = ledger::balance(&mut tx, ledger::Account::Hold(self.company)).await;
        assert_eq!(hold.expect("a balance"), 0, "nothing is held");
        let sql = "SELECT state, COUNT(*) FROM transfers WHERE builder_id = $1 GROUP BY state";
        let states = tx.query(sql).bind(self.template.builder_id).all::<(String, i64)>().await;
        let states = states.expect("a look");
        assert!(states.iter().all(|(state, _)| state == "done"), "{states:?}");
    }

    async fn is_right(&self, done: &str) {
        let mut tx = self.host.db.read().await.expect("a look");
        for check in check::check(&mut tx).await.expect("it looks") {
            assert!(check.ok, "after “{done}”: {check:?}");
        }
        let sent = self.moody.sent();
        let names: BTreeSet<_> = sent.iter().map(|sent| sent.transfer).collect();
        assert_eq!(names.len(), sent.len(), "after “{done}”: sent twice");
    }
}

both_engines! {
    async fn every_cent_is_where_it_should_be(engine: Engine) {
        let first = number("AIYBIZ_TEST_SEED", u64::from(rand::random::<u32>()));
        let runs = number("AIYBIZ_TEST_RUNS", 40);
        let mut seed = first;
        while seed < first + runs {
            let (place, clock) = (Place::new(engine).await, Clock::default());
            let config = Config::load(place.flags()).expect("sensible settings");
            let mut host = Host::open(config, clock.clone(), program()).await.expect("a host");
            let moody = Moody::new(clock);
            host.payments = Arc::new(moody.clone());
            for _ in 0..BATCH.min(first + runs - seed) {
                eprintln!("AIYBIZ_TEST_SEED={seed}");
                let mut market = Market::open(&host, &moody, seed).await;
                for _ in 0..STEPS {
                    let done = market.step().await;
                    market.is_right(done).await;
                }
                market.rests().await;
                market.is_right("rest").await;
                seed += 1;
            }
            host.stopping.cancel();
            host.db.close().await;
        }
    }
}
