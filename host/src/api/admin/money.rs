//! What operators do with money: plans, refunds, frozen wallets, and whether all is right.

use crate::{
    api::{
        caller::Operator,
        input::{self, Body, Params},
        once::Once,
        page::{self, Listed, Page},
    },
    audit::{self, Decision},
    billing::{
        check::{self, Check},
        disputes,
        ledger::{self, Account, Line},
        plans::{self, Plan},
        reconcile::{self, Report},
        refunds::{self, Refund},
    },
    error::{Error, Result},
    host::Host,
    id::{CompanyId, PlanId, RefundId},
    timestamp::Timestamp,
    work::missed,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{ops::RangeInclusive, time::Duration};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(create_plan, plans))
        .routes(routes!(archive_plan))
        .routes(routes!(refund, refunds))
        .routes(routes!(unfreeze))
        .routes(routes!(check_ledger))
        .routes(routes!(reconcile))
        .routes(routes!(statement))
}

/// What a seat may cost, and be good for: more is a typing error.
const SEAT_CENTS: RangeInclusive<i64> = 0..=99_999_999;
const SEAT_SESSIONS: RangeInclusive<i64> = 1..=10_000;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPlan {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// How often it is billed.
    #[schema(pattern = "^(month|year)$")]
    interval: String,
    /// For one interval.
    #[schema(minimum = 0, maximum = 99_999_999)]
    price_per_seat_cents: i64,
    /// Of one seat, at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    max_active_sessions: i64,
}

/// Offers a plan. It never changes; another price is another plan.
#[utoipa::path(
    post, path = "/admin/plans", request_body = NewPlan,
    responses((status = 201, body = Plan)),
)]
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

/// Lists the plans that are offered, newest first.
#[utoipa::path(
    get, path = "/admin/plans", params(Page),
    responses((status = 200, body = Listed<Plan>)),
)]
async fn plans(
    State(host): State<Host>,
    _: Operator,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<PlanId>()?);
    let found = plans::list(&mut host.db.look().await?, before, limit + 1).await?;
    Ok(page::answer(found, limit, |plan| plan.id.to_string(), |plan| json!(plan)))
}

/// Archives a plan. It is offered to nobody any more; who has it keeps it.
#[utoipa::path(delete, path = "/admin/plans/{plan}", responses((status = 204)))]
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

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRefund {
    #[schema(minimum = 1)]
    amount_cents: i64,
}

#[derive(Serialize, ToSchema)]
struct BegunRefunds {
    data: Vec<Refund>,
}

/// Pays back what a company has not spent: one refund for each payment that it came from, the
/// newest first. It leaves the wallet at once, and comes back when the provider cannot pay it.
#[utoipa::path(
    post, path = "/admin/companies/{company}/refunds", request_body = NewRefund,
    responses(
        (status = 201, body = BegunRefunds),
        (status = 402, description = "insufficient_funds"),
        (status = 409, description = "not_that_much"),
    ),
)]
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
    let data = refunds::begin(&mut tx, &host.clock, company, cents).await?;
    let decision = Decision {
        actor: Some(operator.user_id),
        action: "company.refunded",
        target: &format!("company/{company}"),
        before: Value::Null,
        after: json!({ "amountCents": cents }),
    };
    audit::record(&mut tx, &host.clock, decision).await?;
    let answer = once.commit(tx, StatusCode::CREATED, json!(BegunRefunds { data })).await?;
    host.owed.notify_one();
    Ok(answer)
}

/// Lists what a company was paid back, newest first.
#[utoipa::path(
    get, path = "/admin/companies/{company}/refunds", params(Page),
    responses((status = 200, body = Listed<Refund>)),
)]
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

/// Lets a company go on whose wallet is frozen, as its payments were disputed. One that is
/// not frozen stays as it is.
#[utoipa::path(post, path = "/admin/companies/{company}/unfreeze", responses((status = 204)))]
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

#[derive(Serialize, ToSchema)]
struct LedgerState {
    /// All of them are.
    ok: bool,
    checks: Vec<Check>,
}

/// Asks the ledger everything it can be asked: whether its sums are right, and whether it
/// goes together with sessions, invoices, transfers and refunds.
#[utoipa::path(get, path = "/admin/ledger/check", responses((status = 200, body = LedgerState)))]
async fn check_ledger(
    State(host): State<Host>,
    Operator(_): Operator,
) -> Result<Json<LedgerState>> {
    let checks = check::check(&mut host.db.read().await?).await?;
    let ok = checks.iter().all(|check| check.ok);
    Ok(Json(LedgerState { ok, checks }))
}

/// Whose account, of which kind.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// `wallet`, `hold`, `refunding`, `disputed` of a company; `payable`, `in_flight` of a
    /// builder; `fees`, `provider`, `provider_fees` are nobody's.
    #[param(
        pattern = "^(wallet|hold|refunding|disputed|payable|in_flight|fees|provider(_fees)?)$"
    )]
    account: String,
    /// The company or the builder.
    #[param(value_type = Option<uuid::Uuid>)]
    owner: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Lists an account's entries, newest first, with what it came to each time.
#[utoipa::path(
    get, path = "/admin/ledger/statement", params(Which),
    responses((status = 200, body = Listed<Line>)),
)]
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

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Since {
    /// Three unless it is given.
    #[param(minimum = 1, maximum = 90)]
    days: Option<u64>,
}

/// Stripe keeps books for ever; a report of more than a quarter is for its own tools.
const MOST_DAYS: u64 = 90;

#[derive(Serialize, ToSchema)]
struct Reconciliation {
    #[serde(flatten)]
    report: Report,
    since: Timestamp,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
}

/// Compares the ledger with the payment provider's books of the last days.
#[utoipa::path(
    get, path = "/admin/ledger/reconcile", params(Since),
    responses(
        (status = 200, body = Reconciliation),
        (status = 503, description = "provider_away"),
    ),
)]
async fn reconcile(
    State(host): State<Host>,
    Operator(_): Operator,
    Params(Since { days }): Params<Since>,
) -> Result<Json<Reconciliation>> {
    let days = days.unwrap_or(3);
    if !(1..=MOST_DAYS).contains(&days) {
        let detail = format!("days must be 1 to {MOST_DAYS}");
        return Err(Error::new(crate::error::Kind::Invalid, "invalid_query", detail));
    }
    let now = host.clock.now();
    let since = now - Duration::from_hours(24 * days);
    let lines = missed::books(&host, since).await?;
    let mut tx = host.db.read().await?;
    let report = reconcile::compare(&mut tx, now, since, &lines).await?;
    Ok(Json(Reconciliation { report, since, gateway: host.payments.name() }))
}
