//! What a company has with the platform, and what it came from and went for.

use super::{
    caller::Caller,
    input::Params,
    page::{self, Page},
};
use crate::{billing::wallet, error::Result, host::Host, id::TransactionId};
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Host> {
    Router::new().route("/wallet", get(show)).route("/wallet/transactions", get(transactions))
}

async fn show(State(host): State<Host>, Caller(caller): Caller) -> Result<Json<Value>> {
    let mut tx = host.db.read().await?;
    let mut shown = json!(wallet::of(&mut tx, caller.company_id).await?);
    shown["frozen"] = json!(!wallet::open(&mut tx, caller.company_id).await?);
    shown["gateway"] = json!(host.payments.name());
    Ok(Json(shown))
}

async fn transactions(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<TransactionId>()?);
    let mut tx = host.db.look().await?;
    let found = wallet::transactions(&mut tx, caller.company_id, before, limit + 1).await?;
    Ok(page::answer(found, limit, |told| told.id.to_string(), |told| json!(told)))
}
