//! Seats: what they cost, and a company's subscription to them.

use super::{
    caller::{Admin, Caller},
    input::{self, Body, Params},
    page::{self, Listed, Page},
    stripe::{self, ProviderPage, ReturnTo},
};
use crate::{
    accounts,
    billing::{
        plans::{self, Plan},
        subscriptions::{self, Rank, Subscription, What},
    },
    error::{Error, Kind, Result},
    host::Host,
    id::{CompanyId, PlanId},
    payments::{Done, Failure, NewPrice, NewSubscription, wire},
    work::{seats::as_known, told},
};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(show, change, cancel))
        .routes(routes!(portal))
}

/// Seats of one company: beyond, somebody should talk.
const SEATS: std::ops::RangeInclusive<i64> = 1..=10_000;

/// Lists the plans that are offered, newest first.
#[utoipa::path(get, path = "/plans", params(Page), responses((status = 200, body = Listed<Plan>)))]
async fn list(
    State(host): State<Host>,
    Caller(_): Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<PlanId>()?);
    let found = plans::list(&mut host.db.look().await?, before, limit + 1).await?;
    Ok(page::answer(found, limit, |plan| plan.id.to_string(), |plan| json!(plan)))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSeats {
    #[schema(value_type = PlanId)]
    plan_id: String,
    /// Seats.
    #[schema(minimum = 1, maximum = 10_000)]
    quantity: i64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BegunSubscription {
    #[serde(flatten)]
    subscription: Subscription,
    /// With which a browser confirms the first payment; null when there is nothing to
    /// confirm.
    #[schema(required)]
    client_secret: Option<String>,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
}

/// Begins a subscription. It is good when its first invoice is paid. Asked for again under
/// the same `Idempotency-Key`, it is the same subscription, not only for 24 hours.
#[utoipa::path(
    post, path = "/stripe/subscriptions/create", security(("user" = ["admin"])),
    request_body = NewSeats,
    params((
        "Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
        pattern = "^[ -~]+$", description = "A name of your own for this subscription.",
    )),
    responses(
        (status = 201, body = BegunSubscription),
        (status = 400, description = "idempotency_key_required"),
        (status = 404, description = "not_found"),
        (status = 409, description = "subscription_exists"),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn create(
    State(host): State<Host>,
    Admin(caller): Admin,
    headers: HeaderMap,
    Body(new): Body<NewSeats>,
) -> Result<(StatusCode, Json<BegunSubscription>)> {
    let seats = quantity(new.quantity)?;
    let id = new.plan_id.parse().map_err(|_| Error::field("/planId", "is not an id"))?;
    let key = stripe::request_key(&headers)?;
    let company = caller.company_id;
    let mut tx = host.db.write().await?;
    let plan = plans::offered(&mut tx, id).await?;
    let asked = subscriptions::ask(&mut tx, &host.clock, company, key, (plan.id, seats)).await?;
    tx.commit().await?;
    if asked.provider_id.is_some() {
        return Ok((StatusCode::CREATED, begun(&host, asked)));
    }
    let price = price(&host, &plan).await?;
    let customer = customer(&host, company).await?;
    let new = NewSubscription {
        subscription: asked.id,
        company,
        customer: &customer,
        price: &price,
        interval: &plan.interval,
        seats,
    };
    let done = match host.payments.subscribe(&format!("sub_{}", asked.id), new).await {
        Ok(done) => done,
        Err(failure) => {
            if let Failure::Refused { .. } = failure {
                let mut tx = host.db.write().await?;
                subscriptions::refused(&mut tx, asked.id).await?;
                tx.commit().await?;
            }
            return Err(stripe::not_done(failure));
        }
    };
    let mut tx = host.db.write().await?;
    let (state, secret) = (&done.value.state, done.value.client_secret.as_deref());
    subscriptions::begun(&mut tx, &host.clock, asked.id, state, secret).await?;
    stripe::keep(&mut tx, &host, &done.told).await?;
    tx.commit().await?;
    told::apply_these(&host, &done.told).await?;
    let is = the(&host, company).await?;
    Ok((StatusCode::CREATED, begun(&host, is)))
}

fn quantity(seats: i64) -> Result<i64> {
    if SEATS.contains(&seats) {
        return Ok(seats);
    }
    let (least, most) = (SEATS.start(), SEATS.end());
    Err(Error::field("/quantity", format!("is {seats}, and must be {least} to {most}")))
}

fn begun(host: &Host, is: Subscription) -> Json<BegunSubscription> {
    let client_secret = is.client_secret.clone();
    Json(BegunSubscription { subscription: is, client_secret, gateway: host.payments.name() })
}

/// The provider's name for a plan's price, made when somebody first wants it.
async fn price(host: &Host, plan: &Plan) -> Result<String> {
    if let Some(price) = &plan.price_id {
        return Ok(price.clone());
    }
    let new = NewPrice {
        plan: plan.id,
        name: &plan.name,
        interval: &plan.interval,
        cents: plan.price_per_seat_cents,
    };
    let made = host.payments.price(&format!("price_{}", plan.id), new).await;
    let made = made.map_err(stripe::not_done)?;
    let mut tx = host.db.write().await?;
    let plan = plans::priced(&mut tx, plan.id, &made.value).await?;
    tx.commit().await?;
    Ok(plan.price_id.unwrap_or(made.value))
}

/// The company as the provider knows it, made when it first pays for something.
async fn customer(host: &Host, company: CompanyId) -> Result<String> {
    let mut tx = host.db.look().await?;
    if let Some(known) = subscriptions::customer(&mut tx, company).await? {
        return Ok(known);
    }
    let (name, email) = accounts::payer(&mut tx, company).await?;
    drop(tx);
    let key = format!("customer_{company}");
    let made = host.payments.customer(&key, company, &name, &email).await;
    let made = made.map_err(stripe::not_done)?;
    let mut tx = host.db.write().await?;
    let known = subscriptions::made_customer(&mut tx, company, &made.value).await?;
    tx.commit().await?;
    Ok(known)
}

async fn the(host: &Host, company: CompanyId) -> Result<Subscription> {
    let found = subscriptions::of(&mut host.db.look().await?, company).await?;
    found.ok_or(Error::not_found("subscription"))
}

#[derive(Serialize, ToSchema)]
struct CurrentSubscription {
    #[serde(flatten)]
    subscription: Subscription,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
}

/// Shows the company's subscription; the last one, when it has ended.
#[utoipa::path(
    get, path = "/subscription",
    responses(
        (status = 200, body = CurrentSubscription),
        (status = 404, description = "not_found"),
    ),
)]
async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
) -> Result<Json<CurrentSubscription>> {
    let subscription = the(&host, caller.company_id).await?;
    Ok(Json(CurrentSubscription { subscription, gateway: host.payments.name() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubscriptionChange {
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, value_type = Option<PlanId>)]
    plan_id: Option<String>,
    /// Seats.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 1, maximum = 10_000)]
    quantity: Option<i64>,
    /// The same as `quantity`; one of them is given, not both.
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false, minimum = 1, maximum = 10_000)]
    seats: Option<i64>,
    #[serde(default, deserialize_with = "input::given")]
    #[schema(nullable = false)]
    cancel_at_period_end: Option<bool>,
}

/// Changes plan, seats, or whether it ends with its period. What that costs for the rest of
/// the period, the provider works out and bills with the next. Sessions that run must fit
/// the seats that are left.
#[utoipa::path(
    patch, path = "/subscription", security(("user" = ["admin"])),
    request_body = SubscriptionChange,
    responses(
        (status = 200, body = Subscription),
        (status = 404, description = "not_found"),
        (status = 409, description = "seats_in_use, subscription_incomplete"),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn change(
    State(host): State<Host>,
    Admin(caller): Admin,
    Body(change): Body<SubscriptionChange>,
) -> Result<Json<Subscription>> {
    if change.quantity.is_some() && change.seats.is_some() {
        return Err(Error::field("/quantity", "is the same as seats; give one of them"));
    }
    let was = standing(&host, caller.company_id).await?;
    let mut tx = host.db.look().await?;
    let plan = match &change.plan_id {
        Some(id) => {
            let id = id.parse().map_err(|_| Error::field("/planId", "is not an id"))?;
            plans::offered(&mut tx, id).await?
        }
        None => plans::find(&mut tx, was.plan_id).await?,
    };
    let seats = change.quantity.or(change.seats).map_or(Ok(was.seats), quantity)?;
    let running = subscriptions::running(&mut tx, caller.company_id).await?;
    drop(tx);
    if running > plan.max_active_sessions.saturating_mul(seats) {
        let detail = format!("{running} sessions run, more than {seats} of its seats are good for");
        return Err(Error::conflict("seats_in_use", detail));
    }
    let mut to = was.clone();
    (to.plan_id, to.seats) = (plan.id, seats);
    to.cancel_at_period_end = change.cancel_at_period_end.unwrap_or(was.cancel_at_period_end);
    set(&host, &to, plan).await
}

/// Cancels the subscription. It goes on to the end of what is paid; one of which nothing
/// was paid ends now.
#[utoipa::path(
    delete, path = "/subscription", security(("user" = ["admin"])),
    responses(
        (status = 200, body = Subscription),
        (status = 404, description = "not_found"),
        (status = 409, description = "subscription_incomplete"),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn cancel(State(host): State<Host>, Admin(caller): Admin) -> Result<Json<Subscription>> {
    let mut to = standing(&host, caller.company_id).await?;
    let plan = plans::find(&mut host.db.look().await?, to.plan_id).await?;
    if to.status == "incomplete" {
        // Nothing was paid: it ends now.
        let done = host.payments.cancel(&format!("cancel_{}", to.id), as_known(&to, &plan)).await;
        return take_in(&host, to.company_id, done.map_err(stripe::not_done)?, Rank::Deleted).await;
    }
    to.cancel_at_period_end = true;
    set(&host, &to, plan).await
}

/// One that the provider has, and that has not ended.
async fn standing(host: &Host, company: CompanyId) -> Result<Subscription> {
    let found = the(host, company).await?;
    if found.status == "canceled" {
        return Err(Error::new(Kind::NotFound, "not_found", "the subscription has ended"));
    }
    if found.provider_id.is_none() {
        let detail = "the subscription is being made; ask for it again under the same name";
        return Err(Error::conflict("subscription_incomplete", detail));
    }
    Ok(found)
}

async fn set(host: &Host, to: &Subscription, mut plan: Plan) -> Result<Json<Subscription>> {
    plan.price_id = Some(price(host, &plan).await?);
    // Asked for what it is to be, it is that however often it is asked.
    let key = format!("change_{}_{}", to.id, host.clock.id::<uuid::Uuid>());
    let done = host.payments.change(&key, as_known(to, &plan)).await;
    take_in(host, to.company_id, done.map_err(stripe::not_done)?, Rank::Updated).await
}

async fn take_in(
    host: &Host,
    company: CompanyId,
    done: Done<wire::Subscription>,
    rank: Rank,
) -> Result<Json<Subscription>> {
    let at = host.clock.now().to_second();
    let mut tx = host.db.write().await?;
    let told = subscriptions::Told { at, what: What::State(&done.value, rank) };
    subscriptions::told(&mut tx, &host.clock, told).await?;
    stripe::keep(&mut tx, host, &done.told).await?;
    tx.commit().await?;
    told::apply_these(host, &done.told).await?;
    Ok(Json(the(host, company).await?))
}

/// Opens the page where an admin sees the company's payments and changes its card. It is
/// the payment provider's; send the browser there at once. The body may be left out.
#[utoipa::path(
    post, path = "/stripe/portal", security(("user" = ["admin"])),
    request_body = Option<ReturnTo>,
    responses(
        (status = 200, body = ProviderPage),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn portal(
    State(host): State<Host>,
    Admin(caller): Admin,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<ProviderPage>> {
    let back = stripe::back(&host, &headers, stripe::return_to(request, &host).await?)?;
    let customer = customer(&host, caller.company_id).await?;
    let link = host.payments.portal(&customer, &back).await.map_err(stripe::not_done)?;
    Ok(Json(ProviderPage { url: link.value, gateway: host.payments.name() }))
}
