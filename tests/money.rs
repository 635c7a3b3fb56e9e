//! Money beyond the wallet: builders are paid, clients are paid back, charges are disputed,
//! seats are rented; and whatever the provider does, every cent is where it should be.

mod disputes;
mod gateways;
mod payouts;
mod random;
mod refunds;
mod seats;
mod steps;
mod stripe;
mod told;

use crate::harness::{
    Engine, Moody, Person, Platform, Value, json,
    people::Id,
    webhook::{Reply, WebhookAgent},
};
use aiybiz_host::{billing::check, clock::Clock, config::Config, payments::Told, work};
use std::time::Duration;

/// Cents per hour of the agent.
const PRICE: i64 = 1_000;

pub struct Shop {
    pub platform: Platform,
    pub moody: Moody,
    pub bea: Person,
    pub agent: String,
    pub cleo: Person,
    pub olga: Person,
    _hook: WebhookAgent,
}

impl Shop {
    /// Cleo has paid in so much.
    pub async fn open(engine: Engine, cents: i64) -> Self {
        Self::with(engine, cents, |_| ()).await
    }

    pub async fn with(engine: Engine, cents: i64, change: impl FnOnce(&mut Config)) -> Self {
        let (platform, moody) = Platform::provided(engine, change).await;
        let bea = Person::penniless(&platform.url, "Bea").await;
        bea.becomes_builder("Bea").await;
        let hook = WebhookAgent::that(&platform.url, |_| Reply::Status(200)).await;
        let (agent, _) = bea.publish_webhook("Clerk", &hook.address, "none").await;
        let cleo = Person::penniless(&platform.url, "Cleo").await;
        if cents > 0 {
            cleo.pays_in(cents).await;
        }
        let olga = platform.operator("Olga").await;
        Self { platform, moody, bea, agent, cleo, olga, _hook: hook }
    }

    /// A session of so many minutes; says what was billed.
    pub async fn session(&self, minutes: u64) -> i64 {
        let (session, _events) = self.cleo.starts(&self.agent).await;
        self.platform.clock.advance(Duration::from_mins(minutes));
        self.cleo.ends(&session).await["billedCents"].as_i64().expect("cents")
    }

    pub async fn works(&self) {
        works(&self.platform).await;
    }

    /// Lets time pass, and does what is due.
    pub async fn waits(&self, span: Duration) {
        self.platform.clock.advance(span);
        self.works().await;
    }

    pub async fn company(&self) -> String {
        self.cleo.get("/me").await.ok()["company"].id()
    }

    /// The provider tells, and it is applied.
    pub async fn told(&self, kind: &str, object: Value) {
        let told = tells(kind, object, &self.platform.clock);
        let mut tx = self.platform.host.db.write().await.expect("a transaction");
        let kept = aiybiz_host::billing::events::keep(&mut tx, &self.platform.clock, &told).await;
        assert!(kept.expect("it is kept"), "it is new");
        tx.commit().await.expect("it is kept");
        work::told::apply_these(&self.platform.host, &[told]).await.expect("it is applied");
    }

    pub async fn earnings(&self) -> Value {
        self.bea.get("/builder/earnings").await.ok()
    }

    /// Available, held.
    pub async fn wallet(&self) -> (i64, i64) {
        let wallet = self.cleo.get("/wallet").await.ok();
        let cents = |name: &str| wallet[name].as_i64().expect("cents");
        (cents("availableCents"), cents("heldCents"))
    }

    pub async fn is_right(&self) {
        let mut tx = self.platform.host.db.read().await.expect("a look");
        for check in check::check(&mut tx).await.expect("it looks") {
            assert!(check.ok, "{check:?}");
        }
    }

    /// The names of the payment that Cleo made first: intent, charge.
    pub async fn first_payment(&self) -> (String, String) {
        let mut tx = self.platform.host.db.look().await.expect("a look");
        let company: aiybiz_host::id::CompanyId = self.company().await.parse().expect("an id");
        let sql = "SELECT intent_id, charge_id FROM lots WHERE company_id = $1 ORDER BY id LIMIT 1";
        tx.query(sql).bind(company).one().await.expect("one")
    }
}

/// Does everything that is due, and waits for what is being done.
pub async fn works(platform: &Platform) {
    loop {
        work::check(&platform.host).await.expect("it works");
        let mut tx = platform.host.db.look().await.expect("a look");
        // What another is about to claim is still due.
        let sql = "SELECT 1 FROM transfers WHERE state = 'claimed' OR due_at <= $1
                   UNION ALL SELECT 1 FROM refunds WHERE state = 'claimed' OR due_at <= $1";
        let asked = tx.query(sql).bind(platform.clock.now());
        if asked.all::<(i32,)>().await.expect("a look").is_empty() {
            return;
        }
    }
}

/// As Stripe tells it.
pub fn tells(kind: &str, object: Value, clock: &Clock) -> Told {
    let (at, id) = (clock.now(), format!("evt_{}", clock.id::<uuid::Uuid>().simple()));
    let payload = json!({
        "id": id, "object": "event", "type": kind, "created": at.as_secs(), "livemode": false,
        "data": { "object": object },
    });
    Told { id, kind: kind.to_owned(), payload: payload.to_string(), at }
}
