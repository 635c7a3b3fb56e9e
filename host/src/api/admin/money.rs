//! What operators do with money: plans, refunds, frozen wallets, and whether all is right.

use crate::{
    api::{
        caller::Operator,
        input::{self, Body, Params},
        once::Once,
        page::{self, Page},
    },
    audit::{self, Decision},
    billing::{
        check, disputes,
        ledger::{self, Account},
        plans, reconcile, refunds,
    },
    error::{Error, Result},
    host::Host,
    id::{CompanyId, PlanId, RefundId},
    work::missed,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{ops::RangeInclusive, time::Duration};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/admin/plans", post(create_plan).get(plans))
        .route("/admin/plans/{plan}", axum::routing::delete(archive_plan))
        .route("/admin/companies/{company}/refunds", post(refund).get(refunds))
        .route("/admin/companies/{company}/unfreeze", post(unfreeze))
        .route("/admin/ledger/check", get(check_ledger))
        .route("/admin/ledger/reconcile", get(reconcile))
        .route("/admin/ledger/statement", get(statement))
}

/// What a seat may cost, and be good for: more is a typing error.
const SEAT_CENTS: RangeInclusive<i64> = 0..=99_999_999;
const SEAT_SESSIONS: RangeInclusive<i64> = 1..=10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPlan {
    name: String,
    interval: String,
    price_per_seat_cents: i64,
    max_active_sessions: i64,
}

async fn create_plan(
    State(host): State<Host>,
    Operator(operator): Operator,
    once: Once,
    Body(new): Body<NewPlan>,
) -> Result<(StatusCode, Json<Value>)> {
    let name = input::text("/name", &new.name, 1..=200)?;
    if !["month", "year"].contains(&&*new.interval) {
        return Err(Error::field("/interval", "must be month or year"));
    }
    let (price_per_seat_cents, max_active_sessions) =
        (new.price_per_seat_cents, new.max_active_sessions);
    within("/pricePerSeatCents", price_per_seat_cents, &SEAT_CENTS)?;
    within("/maxActiveSessions", max_active_sessions, &SEAT_SESSIONS)?;
    let new =
        plans::New { name, interval: new.interval, price_per_seat_cents, max_active_sessions };
    let mut tx = host.db.write().await?;
    let plan = plans::create(&mut tx, &host.clock, &new).await?;
    let decision = Decision {
        actor: Some(operator.user_id),
        action: "plan.created",
        target: &format!("plan/{}", plan.id),
        before: Value::Null,
        after: json!(plan),
    };
    audit::record(&mut tx, &host.clock, decision).await?;
    once.commit(tx, StatusCode::CREATED, json!(plan)).await
}

fn within(pointer: &str, value: i64, range: &RangeInclusive<i64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::field(pointer, format!("is {value}, and must be {least} to {most}")))
}

async fn plans(
    State(host): State<Host>,
    _: Operator,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<PlanId>()?);
    let found = plans::list(&mut host.db.look().await?, before, limit + 1).await?;
    Ok(page::answer(found, limit, |plan| plan.id.to_string(), |plan| json!(plan)))
}

/// It is offered to nobody any more; who has it keeps it.
async fn archive_plan(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id: PlanId = input::id(&id, "plan")?;
    let mut tx = host.db.write().await?;
    plans::archive(&mut tx, &host.clock, id).await?;
    let decision = Decision {
        actor: Some(operator.user_id),
        action: "plan.archived",
        target: &format!("plan/{id}"),
        before: Value::Null,
        after: Value::Null,
    };
    audit::record(&mut tx, &host.clock, decision).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRefund {
    amount_cents: i64,
}

/// Pays back what a company has not spent: one refund for each payment that it came from.
async fn refund(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
    once: Once,
    Body(new): Body<NewRefund>,
) -> Result<(StatusCode, Json<Value>)> {
    let company: CompanyId = input::id(&id, "company")?;
    let cents = new.amount_cents;
    if cents <= 0 {
        return Err(Error::field("/amountCents", "must be more than 0"));
    }
    let mut tx = host.db.write().await?;
    crate::accounts::company(&mut tx, company).await?;
    let refunds = refunds::begin(&mut tx, &host.clock, company, cents).await?;
    let decision = Decision {
        actor: Some(operator.user_id),
        action: "company.refunded",
        target: &format!("company/{company}"),
        before: Value::Null,
        after: json!({ "amountCents": cents }),
    };
    audit::record(&mut tx, &host.clock, decision).await?;
    let answer = once.commit(tx, StatusCode::CREATED, json!({ "data": refunds })).await?;
    host.owed.notify_one();
    Ok(answer)
}

async fn refunds(
    State(host): State<Host>,
    _: Operator,
    Path(id): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let company: CompanyId = input::id(&id, "company")?;
    let (limit, before) = (page.limit()?, page.cursor::<RefundId>()?);
    let mut tx = host.db.read().await?;
    crate::accounts::company(&mut tx, company).await?;
    let found = refunds::list(&mut tx, company, before, limit + 1).await?;
    Ok(page::answer(found, limit, |refund| refund.id.to_string(), |refund| json!(refund)))
}

/// A company whose payments were disputed goes on.
async fn unfreeze(
    State(host): State<Host>,
    Operator(operator): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let company: CompanyId = input::id(&id, "company")?;
    let mut tx = host.db.write().await?;
    crate::accounts::company(&mut tx, company).await?;
    if disputes::unfreeze(&mut tx, company).await? {
        let decision = Decision {
            actor: Some(operator.user_id),
            action: "company.unfrozen",
            target: &format!("company/{company}"),
            before: json!({ "frozen": true }),
            after: json!({ "frozen": false }),
        };
        audit::record(&mut tx, &host.clock, decision).await?;
        tx.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Asks the ledger everything it can be asked.
async fn check_ledger(State(host): State<Host>, Operator(_): Operator) -> Result<Json<Value>> {
    let checks = check::check(&mut host.db.read().await?).await?;
    let ok = checks.iter().all(|check| check.ok);
    Ok(Json(json!({ "ok": ok, "checks": checks })))
}

/// Whose account, of which kind: `wallet`, `hold`, `refunding`, `disputed` of a company,
/// `payable`, `in_flight` of a builder; `fees`, `provider`, `provider_fees` are nobody's.
#[derive(Deserialize)]
struct Which {
    account: String,
    owner: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// An account's entries, newest first, with what it came to each time.
async fn statement(
    State(host): State<Host>,
    Operator(_): Operator,
    Params(which): Params<Which>,
) -> Result<Json<Value>> {
    let page = Page::new(which.limit, which.cursor);
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let wrong = |detail| Error::new(crate::error::Kind::Invalid, "invalid_query", detail);
    let owner = which.owner.as_deref().unwrap_or("00000000-0000-0000-0000-000000000000");
    let owner = owner.parse().map_err(|_| wrong("owner is not an id"))?;
    let account = Account::named(&which.account, owner);
    let account = account.ok_or_else(|| wrong("there is no such kind of account"))?;
    let mut tx = host.db.look().await?;
    let found = ledger::statement(&mut tx, account, before, limit + 1).await?;
    Ok(page::answer(found, limit, |line| line.number.to_string(), |line| json!(line)))
}

#[derive(Deserialize)]
struct Since {
    days: Option<u64>,
}

/// Stripe keeps books for ever; a report of more than a quarter is for its own tools.
const MOST_DAYS: u64 = 90;

/// The ledger beside the provider's books of the last days, three unless told.
async fn reconcile(
    State(host): State<Host>,
    Operator(_): Operator,
    Query(Since { days }): Query<Since>,
) -> Result<Json<Value>> {
    let days = days.unwrap_or(3);
    if !(1..=MOST_DAYS).contains(&days) {
        let detail = format!("days must be 1 to {MOST_DAYS}");
        return Err(Error::new(crate::error::Kind::Invalid, "invalid_query", detail));
    }
    let now = host.clock.now();
    let since = now - Duration::from_hours(24 * days);
    let lines = missed::books(&host, since).await?;
    let mut tx = host.db.read().await?;
    let mut report = json!(reconcile::compare(&mut tx, now, since, &lines).await?);
    report["since"] = json!(since);
    report["gateway"] = json!(host.payments.name());
    Ok(Json(report))
}
