//! What a company has with the platform, and what it came from and went for.

use super::{
    caller::Caller,
    input::Params,
    page::{self, Listed, Page},
};
use crate::{
    billing::wallet::{self, Transaction, Wallet},
    error::Result,
    host::Host,
    id::TransactionId,
};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(transactions))
}

#[derive(Serialize, ToSchema)]
struct WalletStanding {
    #[serde(flatten)]
    wallet: Wallet,
    /// A payment into it is disputed: it pays for nothing until that is settled.
    frozen: bool,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
}

/// Shows what the company has. What is held for sessions that run is part of the balance.
#[utoipa::path(get, path = "/wallet", responses((status = 200, body = WalletStanding)))]
async fn show(State(host): State<Host>, Caller(caller): Caller) -> Result<Json<WalletStanding>> {
    let mut tx = host.db.read().await?;
    let wallet = wallet::of(&mut tx, caller.company_id).await?;
    let frozen = !wallet::open(&mut tx, caller.company_id).await?;
    Ok(Json(WalletStanding { wallet, frozen, gateway: host.payments.name() }))
}

/// Lists what has come into the wallet and gone out of it, newest first. A session is one
/// line, when it is over; what is held for it meanwhile is none.
#[utoipa::path(
    get, path = "/wallet/transactions", params(Page),
    responses((status = 200, body = Listed<Transaction>)),
)]
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
