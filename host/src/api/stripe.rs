//! Where money comes in and goes out: payments into wallets, builders' accounts, and what
//! the payment provider tells.

use super::{
    caller::{self, Admin, Builder, Caller},
    input::{self, Body},
};
use crate::{
    accounts,
    billing::{events, payees, topups},
    error::{Error, Kind, Result},
    host::Host,
    id::BuilderId,
    payments::{
        Failure, NewPayment, Payment, Told,
        signature::{self, Rejected},
    },
    storage::Tx,
    work::told,
};
use axum::{
    Json,
    extract::{Request, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(top_up)).routes(routes!(onboard)).routes(routes!(webhook))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopUp {
    /// From 100 to 1 000 000, unless this platform is set otherwise.
    #[schema(minimum = 1, examples(5000))]
    amount_cents: i64,
}

/// A payment that a browser now confirms.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BegunPayment {
    /// With which a browser confirms it.
    client_secret: String,
    /// The provider's name for it.
    payment_intent_id: String,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    gateway: &'static str,
}

/// Begins a payment into the wallet. It is credited when the provider says that it has the
/// money. Asked for again under the same `Idempotency-Key`, it is the same payment, not only
/// for 24 hours.
#[utoipa::path(
    post, path = "/stripe/wallet/topup", security(("user" = ["admin"])), request_body = TopUp,
    params((
        "Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
        pattern = "^[ -~]+$", description = "A name of your own for this payment.",
    )),
    responses(
        (status = 200, body = BegunPayment),
        (status = 400, description = "idempotency_key_required"),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn top_up(
    State(host): State<Host>,
    Admin(caller): Admin,
    headers: HeaderMap,
    Body(asked): Body<TopUp>,
) -> Result<Json<BegunPayment>> {
    let cents = asked.amount_cents;
    let (least, most) = (host.config.money.topup_least_cents, host.config.money.topup_most_cents);
    if !(least..=most).contains(&cents) {
        let detail = format!("is {cents}, and must be {least} to {most}");
        return Err(Error::field("/amountCents", detail));
    }
    let key = request_key(&headers)?;
    let (clock, company) = (&host.clock, caller.company_id);
    let mut tx = host.db.write().await?;
    let topup = topups::ask(&mut tx, clock, company, key, cents).await?;
    tx.commit().await?;
    if let (Some(id), Some(client_secret)) = (topup.intent_id, topup.client_secret) {
        return Ok(shown(&host, Payment { id, client_secret }));
    }
    let new = NewPayment { topup: topup.id, company, cents };
    let begun = host.payments.pay(&format!("topup_{}", topup.id), new).await;
    let mut tx = host.db.write().await?;
    match begun {
        Ok(done) => {
            topups::begun(&mut tx, clock, topup.id, &done.value).await?;
            keep(&mut tx, &host, &done.told).await?;
            tx.commit().await?;
            host.told.notify_one();
            Ok(shown(&host, done.value))
        }
        Err(failure) => {
            if let Failure::Refused { .. } = failure {
                topups::refused(&mut tx, topup.id).await?;
                tx.commit().await?;
            }
            Err(not_done(failure))
        }
    }
}

fn shown(host: &Host, payment: Payment) -> Json<BegunPayment> {
    let Payment { id: payment_intent_id, client_secret } = payment;
    Json(BegunPayment { client_secret, payment_intent_id, gateway: host.payments.name() })
}

/// Under what name the caller asks, so that it is done once.
pub(super) fn request_key(headers: &HeaderMap) -> Result<&str> {
    let key = caller::text(headers, "idempotency-key").map(str::trim).unwrap_or_default();
    if key.is_empty() {
        let detail = "send a name of your own for this payment as Idempotency-Key, and the same \
                      one when you ask again";
        return Err(Error::new(Kind::Invalid, "idempotency_key_required", detail));
    }
    if key.len() > topups::KEY_BYTES {
        let detail = format!("Idempotency-Key has at most {} bytes", topups::KEY_BYTES);
        return Err(Error::new(Kind::Invalid, "invalid_idempotency_key", detail));
    }
    Ok(key)
}

/// Keeps what came with an answer.
pub(super) async fn keep(tx: &mut Tx, host: &Host, told: &[Told]) -> Result<()> {
    for told in told {
        events::keep(tx, &host.clock, told).await?;
    }
    Ok(())
}

/// What the caller is told when the provider did not do it.
pub(super) fn not_done(failure: Failure) -> Error {
    match failure {
        Failure::Refused { code, message } => {
            let detail = format!("the payment provider refuses: {message} ({code})");
            Error::new(Kind::Refused, "payment_refused", detail)
        }
        Failure::Unknown(why) => {
            let detail = "the payment provider did not answer; ask again under the same name";
            let mut error = Error::new(Kind::Unavailable(5), "provider_away", detail);
            error.cause = Some(anyhow::anyhow!(why));
            error
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReturnTo {
    /// Where the browser goes afterwards: an http or https address. To this platform, when
    /// it is not given.
    #[schema(max_length = 2_000, pattern = "^https?://")]
    return_url: Option<String>,
}

/// A page of the payment provider's, for a browser.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderPage {
    pub(super) url: String,
    /// Who takes payments: `stripe`, or `test`, where no money is real.
    pub(super) gateway: &'static str,
}

/// Opens the page where the builder tells the payment provider who he is, so that he can be
/// paid. Its address is good once and for minutes; asked again, there is another. The body
/// may be left out.
#[utoipa::path(
    post, path = "/stripe/connect/onboard", request_body = Option<ReturnTo>,
    responses(
        (status = 200, body = ProviderPage),
        (status = 422, description = "payment_refused"),
        (status = 503, description = "provider_away"),
    ),
)]
async fn onboard(
    State(host): State<Host>,
    Builder(builder): Builder,
    Caller(caller): Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<ProviderPage>> {
    let back = back(&host, &headers, return_to(request, &host).await?)?;
    let mut tx = host.db.look().await?;
    let known = payees::of(&mut tx, builder).await?;
    let email = accounts::user(&mut tx, caller.user_id).await?.email;
    drop(tx);
    let account = match known {
        Some(payee) => payee.account_id,
        None => open_account(&host, builder, &email).await?,
    };
    let link = host.payments.onboarding(&account, builder, &back).await.map_err(not_done)?;
    let mut tx = host.db.write().await?;
    keep(&mut tx, &host, &link.told).await?;
    tx.commit().await?;
    told::apply_these(&host, &link.told).await?;
    Ok(Json(ProviderPage { url: link.value, gateway: host.payments.name() }))
}

async fn open_account(host: &Host, builder: BuilderId, email: &str) -> Result<String> {
    let key = format!("account_{builder}");
    let made = host.payments.account(&key, builder, email).await.map_err(not_done)?;
    let mut tx = host.db.write().await?;
    let payee = payees::made(&mut tx, builder, &made.value).await?;
    tx.commit().await?;
    Ok(payee.account_id)
}

/// Where to return to, says a body that may be left out.
pub(super) async fn return_to(request: Request, host: &Host) -> Result<Option<String>> {
    let said = input::said_json(request.headers());
    let bytes = input::bytes(request, host, super::BODY_BYTES).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    said?;
    Ok(input::parse::<ReturnTo>(&bytes)?.return_url)
}

/// Where the provider sends a browser back to: as it says, or to this platform.
pub(super) fn back(host: &Host, headers: &HeaderMap, asked: Option<String>) -> Result<String> {
    let Some(asked) = asked else {
        let here = host.config.money.public_url.clone();
        return Ok(here.unwrap_or_else(|| caller::known_as(headers)));
    };
    let url = url::Url::parse(&asked).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.as_str().len() <= 2_000);
    url.map(String::from).ok_or_else(|| {
        Error::field("/returnUrl", "must be an http or https address of at most 2000 bytes")
    })
}

#[derive(Serialize, ToSchema)]
struct Received {
    received: bool,
}

/// Takes an event of the payment provider's. It is known by its signature, which is over the
/// bytes of the body. It is kept before it is answered, and applied afterwards, once however
/// often it comes.
#[utoipa::path(
    post, path = "/stripe/webhook", security(()),
    request_body(
        content = serde_json::Value, content_type = "application/json",
        description = "The event, byte for byte as the provider has signed it.",
    ),
    params((
        "Stripe-Signature" = String, Header,
        description = "`t=…,v1=…`, made within the last 5 minutes.",
    )),
    responses(
        (status = 200, body = Received),
        (status = 400, description = "bad_signature, stale_signature"),
        (status = 503, description = "webhook_not_configured"),
    ),
)]
async fn webhook(State(host): State<Host>, request: Request) -> Result<Json<Received>> {
    let secrets = &host.config.money.stripe_webhook_secret;
    if secrets.is_empty() {
        let detail = "this platform has no secret to know the provider by";
        return Err(Error::new(Kind::Unavailable(3_600), "webhook_not_configured", detail));
    }
    let header = caller::text(request.headers(), "stripe-signature").unwrap_or_default().to_owned();
    let bytes = input::bytes(request, &host, super::BODY_BYTES).await?;
    let rejected = |code, detail| Error::new(Kind::Invalid, code, detail);
    let signature = || rejected("bad_signature", "Stripe-Signature is missing or is not ours");
    let payload = std::str::from_utf8(&bytes).map_err(|_| signature())?;
    let told = signature::told(payload, &header, secrets, host.clock.now());
    let told = told.map_err(|why| match why {
        Rejected::Signature => signature(),
        Rejected::Time => rejected("stale_signature", "it was signed more than 5 minutes from now"),
    })?;
    let mut tx = host.db.write().await?;
    keep(&mut tx, &host, &[told]).await?;
    tx.commit().await?;
    host.told.notify_one();
    Ok(Json(Received { received: true }))
}
