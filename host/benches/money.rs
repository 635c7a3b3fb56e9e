//! How fast money moves: postings on one hot wallet beside bare commits of the same engine,
//! and sessions that all end at once.
//!
//! `cargo bench --bench money`. Nothing is asserted; rates are taken in turns.

#![expect(unreachable_pub, reason = "the harness is shared with the tests")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "figures/mod.rs"]
mod figures;
#[path = "../../tests/harness/mod.rs"]
mod harness;

use aiybiz_host::{
    accounts,
    billing::{
        events,
        ledger::{self, Account, Movement, Posting},
    },
    catalog::{self, Listing, Template},
    host::Host,
    id::{AgentId, CompanyId, MemberId, SessionId},
    payments::Told,
    sessions::{self, Opening},
    storage::Db,
    work,
};
use figures::{row, title};
use futures::{StreamExt, stream};
use harness::{Engine, Person, Platform, json, postgres};
use std::time::{Duration, Instant};

/// Writers at once, and what each round writes.
const WRITERS: usize = 64;
const WRITES: usize = 4_000;
const ROUNDS: usize = 5;

const SESSIONS: usize = 10_000;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    for (name, engine) in [("sqlite", Engine::Sqlite), ("postgres", Engine::Postgres)] {
        if engine == Engine::Postgres && !postgres::available() {
            continue;
        }
        harness::run(async {
            if wanted("postings") {
                title(&format!("{name}: one hot wallet, {WRITERS} writers"));
                postings(&Platform::start(engine).await).await;
            }
            if wanted("sessions") {
                title(&format!("{name}: {SESSIONS} sessions"));
                settle(&Platform::start(engine).await).await;
            }
        });
    }
}

/// Every second posting is a bare commit's turn.
async fn postings(platform: &Platform) {
    let host = &platform.host;
    let company: CompanyId = host.clock.id();
    let much = [Movement { from: Account::Provider, to: Account::Wallet(company), cents: 1 << 40 }];
    post(host, "topup", &much).await;
    bare_table(&host.db).await;
    let (mut bare, mut posted) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(rate(WRITES, |n| bare_commit(&host.db, round * WRITES + n)).await);
        posted.push(
            rate(WRITES, async |n| {
                let key = format!("hold:{round}:{n}");
                let to = Account::Hold(company);
                post(host, &key, &[Movement { from: Account::Wallet(company), to, cents: 1 }])
                    .await;
            })
            .await,
        );
    }
    let (bare, posted) = (median(bare), median(posted));
    row("bare commits, one row each", &format!("{bare:.0}/s"));
    row("postings", &format!("{posted:.0}/s   {:.2} of bare", posted / bare));
}

async fn rate(count: usize, work: impl AsyncFn(usize)) -> f64 {
    let begun = Instant::now();
    stream::iter(0..count).for_each_concurrent(WRITERS, |n| work(n)).await;
    count as f64 / begun.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn post(host: &Host, key: &str, movements: &[Movement]) {
    let mut tx = host.db.write().await.expect("a transaction");
    let posting = Posting { key, kind: "bench", session: None, movements };
    ledger::post(&mut tx, &host.clock, posting).await.expect("it is posted");
    tx.commit().await.expect("it is kept");
}

async fn bare_table(db: &Db) {
    let mut tx = db.write().await.expect("a transaction");
    tx.query("CREATE TABLE bare (n BIGINT PRIMARY KEY)").run().await.expect("a table");
    tx.commit().await.expect("it is kept");
}

async fn bare_commit(db: &Db, n: usize) {
    let mut tx = db.write().await.expect("a transaction");
    let made = tx.query("INSERT INTO bare (n) VALUES ($1)").bind(n as i64);
    made.run().await.expect("a row");
    tx.commit().await.expect("it is kept");
}

/// All of one client's sessions with one agent, which is the worst: one wallet, one payee.
async fn settle(platform: &Platform) {
    let host = &platform.host;
    let (company, member, template) = market(platform).await;
    let opened = opening(host, company, member, &template).await;
    host.clock.advance(Duration::from_mins(7));
    let begun = Instant::now();
    stream::iter(&opened)
        .for_each_concurrent(WRITERS, async |session| {
            let mut tx = host.db.write().await.expect("a transaction");
            let lease = host.lease();
            let ended = sessions::end(&mut tx, &host.clock, *session, "client", lease).await;
            ended.expect("it ends");
            tx.commit().await.expect("it is kept");
        })
        .await;
    let took = begun.elapsed();
    row("settled and ended", &format!("{:.0}/s, {took:.1?} in all", rate_of(took)));
    let begun = Instant::now();
    while work::payouts::send(host).await.expect("it sends") {}
    let took = begun.elapsed();
    row(
        "transfers sent to the test gateway",
        &format!("{:.0}/s, {took:.1?} in all", rate_of(took)),
    );
}

fn rate_of(took: Duration) -> f64 {
    SESSIONS as f64 / took.as_secs_f64()
}

async fn opening(
    host: &Host,
    company: CompanyId,
    member: MemberId,
    template: &Template,
) -> Vec<SessionId> {
    let begun = Instant::now();
    let opened = stream::iter(0..SESSIONS).map(async |_| {
        let mut tx = host.db.write().await.expect("a transaction");
        let lease = host.lease();
        let opening = Opening { company, member, lease, free: false, fresh: false, least_cents: 0 };
        let opened = sessions::open(&mut tx, &host.clock, template, opening).await;
        let (session, _) = opened.expect("it opens");
        sessions::activate(&mut tx, &host.clock, session.id).await.expect("it is active");
        tx.commit().await.expect("it is kept");
        session.id
    });
    let opened: Vec<_> = opened.buffer_unordered(WRITERS).collect().await;
    let took = begun.elapsed();
    row("opened and active", &format!("{:.0}/s, {took:.1?} in all", rate_of(took)));
    opened
}

async fn market(platform: &Platform) -> (CompanyId, MemberId, Template) {
    let host = &platform.host;
    let bea = Person::penniless(&platform.url, "Bea").await;
    bea.becomes_builder("Bea").await;
    let cleo = Person::penniless(&platform.url, "Cleo").await;
    let mut tx = host.db.write().await.expect("a transaction");
    let who = accounts::identify(&mut tx, &cleo.token, host.clock.now()).await;
    let cleo = who.expect("an answer").expect("she is known");
    let who = accounts::identify(&mut tx, &bea.token, host.clock.now()).await;
    let builder = who.expect("an answer").and_then(|bea| bea.builder_id).expect("a builder");
    let much = 20_000_000_000i64;
    let object = json!({ "id": "pi_much", "amount": much, "amount_received": much,
        "currency": "usd", "latest_charge": "ch_much", "metadata": { "company": cleo.company_id } });
    let payload = json!({ "id": "evt_much", "type": "payment_intent.succeeded",
        "data": { "object": object } });
    let told = Told {
        id: "evt_much".into(),
        kind: "payment_intent.succeeded".into(),
        payload: payload.to_string(),
        at: host.clock.now(),
    };
    events::keep(&mut tx, &host.clock, &told).await.expect("it is kept");
    let listing = listing();
    let id: AgentId = host.clock.id();
    let template = catalog::create(&mut tx, &host.clock, builder, &listing, None, id).await;
    tx.commit().await.expect("it is kept");
    work::told::apply_these(host, &[told]).await.expect("it is applied");
    (cleo.company_id, cleo.member_id, template.expect("a template"))
}

fn listing() -> Listing {
    Listing {
        name: "Clerk".into(),
        description: String::new(),
        logo_emoji: None,
        themes: Vec::new(),
        tools: Vec::new(),
        capabilities: Vec::new(),
        price_cents_per_hour: 1_000,
        max_sessions: None,
        delivery: "webhook".into(),
        retry_policy: "none".into(),
        webhook_url: Some("http://127.0.0.1:9/".into()),
        pin_sessions: false,
    }
}
