//! What a builder has earned.

use super::{
    caller::Builder,
    input::Params,
    page::{self, Page},
};
use crate::{
    billing::{
        earnings,
        ledger::{self, Account},
        payees,
    },
    error::Result,
    host::Host,
    id::TransferId,
    payments::CURRENCY,
};
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new()
        .route("/builder/earnings", get(show))
        .route("/builder/earnings/statement", get(statement))
}

/// Sums, the account they go to, and a page of transfers.
async fn show(
    State(host): State<Host>,
    Builder(builder): Builder,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<TransferId>()?);
    let mut tx = host.db.read().await?;
    let mut shown = json!(earnings::of(&mut tx, builder).await?);
    let payee = payees::of(&mut tx, builder).await?;
    let found = earnings::transfers(&mut tx, builder, before, limit + 1).await?;
    let Json(page) = page::answer(found, limit, |row| row.id.to_string(), |row| json!(row));
    shown["currency"] = json!(CURRENCY);
    shown["account"] = json!({
        "connected": payee.is_some(),
        "submitted": payee.as_ref().is_some_and(|payee| payee.submitted),
        "active": payee.as_ref().is_some_and(|payee| payee.payable),
    });
    shown["gateway"] = json!(host.payments.name());
    shown["transfers"] = page["data"].clone();
    shown["nextCursor"] = page["nextCursor"].clone();
    Ok(Json(shown))
}

/// What is owed to the builder, entry by entry, with what it came to each time.
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
