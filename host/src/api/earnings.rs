//! What a builder has earned.

use super::{
    caller::Builder,
    input::Params,
    page::{self, Listed, Page},
};
use crate::{
    billing::{
        earnings::{self, Earnings, Transfer},
        ledger::{self, Account, Line},
        payees,
    },
    error::Result,
    host::Host,
    id::TransferId,
    payments::CURRENCY,
};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(statement))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EarningsPage {
    #[serde(flatten)]
    earnings: Earnings,
    /// `usd`.
    currency: &'static str,
    account: PayoutAccount,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
    transfers: Vec<Transfer>,
    /// Asks for the next page of transfers; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The builder's account at the payment provider.
#[derive(Serialize, ToSchema)]
struct PayoutAccount {
    /// There is one.
    connected: bool,
    /// The builder has told the provider who he is.
    submitted: bool,
    /// It can be paid.
    active: bool,
}

/// Shows what the builder has earned: sums, the account they go to, and a page of transfers,
/// newest first.
#[utoipa::path(
    get, path = "/builder/earnings", params(Page),
    responses((status = 200, body = EarningsPage)),
)]
async fn show(
    State(host): State<Host>,
    Builder(builder): Builder,
    Params(page): Params<Page>,
) -> Result<Json<EarningsPage>> {
    let (limit, before) = (page.limit()?, page.cursor::<TransferId>()?);
    let mut tx = host.db.read().await?;
    let earnings = earnings::of(&mut tx, builder).await?;
    let payee = payees::of(&mut tx, builder).await?;
    let mut transfers = earnings::transfers(&mut tx, builder, before, limit + 1).await?;
    let more = transfers.len() as i64 > limit;
    transfers.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_cursor = transfers.last().filter(|_| more).map(|row| row.id.to_string());
    let account = PayoutAccount {
        connected: payee.is_some(),
        submitted: payee.as_ref().is_some_and(|payee| payee.submitted),
        active: payee.as_ref().is_some_and(|payee| payee.payable),
    };
    let gateway = host.payments.name();
    let currency = CURRENCY;
    Ok(Json(EarningsPage { earnings, currency, account, gateway, transfers, next_cursor }))
}

/// Lists what is owed to the builder, entry by entry, newest first, with what it came to
/// each time.
#[utoipa::path(
    get, path = "/builder/earnings/statement", params(Page),
    responses((status = 200, body = Listed<Line>)),
)]
async fn statement(
    State(host): State<Host>,
    Builder(builder): Builder,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.look().await?;
    let owed = Account::Payable(builder);
    let found = ledger::statement(&mut tx, owed, before, limit + 1).await?;
    Ok(page::answer(found, limit, |line| line.number.to_string(), |line| json!(line)))
}
