//! Invoices: as data, and as a page that a browser prints.

use super::{
    caller::Caller,
    input::{self, Params},
    page::{self, Listed, Page},
};
use crate::{
    accounts,
    billing::invoices::{self, Invoice},
    error::Result,
    host::Host,
};
use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(html))
}

/// The page brings all it needs, and may load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Lists the company's invoices, newest first. There is one for each session that cost
/// something.
#[utoipa::path(
    get, path = "/invoices", params(Page),
    responses((status = 200, body = Listed<Invoice>)),
)]
async fn list(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.look().await?;
    let found = invoices::list(&mut tx, caller.company_id, before, limit + 1).await?;
    Ok(page::answer(found, limit, |invoice| invoice.number.to_string(), |invoice| json!(invoice)))
}

/// Shows an invoice.
#[utoipa::path(get, path = "/invoices/{invoice}", responses((status = 200, body = Invoice)))]
async fn show(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Invoice>> {
    let id = input::id(&id, "invoice")?;
    let mut tx = host.db.look().await?;
    Ok(Json(invoices::find(&mut tx, caller.company_id, id).await?))
}

/// Shows an invoice as a page to print. The page loads nothing else and runs no script.
#[utoipa::path(
    get, path = "/invoices/{invoice}/html",
    responses((status = 200, body = String, content_type = "text/html")),
)]
async fn html(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse> {
    let id = input::id(&id, "invoice")?;
    let mut tx = host.db.read().await?;
    let invoice = invoices::find(&mut tx, caller.company_id, id).await?;
    let company = accounts::company(&mut tx, caller.company_id).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    Ok((headers, written(&invoice, &company.name)))
}

fn written(invoice: &Invoice, company: &str) -> String {
    let date = invoice.created_at.to_string();
    let seconds = invoice.duration_millis / 1_000;
    let time = format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let [number, session] = [invoice.number.to_string(), invoice.session_id.to_string()];
    let [price, total] = [dollars(invoice.price_cents), dollars(invoice.total_cents)];
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Invoice {number}</title>\
         <style>body{{font:12pt/1.5 sans-serif;max-width:40em;margin:3em auto}}\
         table{{width:100%;border-collapse:collapse}}th{{text-align:left;font-weight:normal}}\
         td{{text-align:right}}th,td{{padding:.3em 0;border-bottom:1px solid #ccc}}\
         @page{{margin:2cm}}</style>\
         <h1>Invoice {number}</h1><p>{company}<br>{day}<br>Paid from the wallet</p>\
         <table><tr><th>Agent<td>{agent}<tr><th>Session<td>{session}\
         <tr><th>Time (h:mm:ss)<td>{time}<tr><th>Price per hour<td>{price}\
         <tr><th><b>Total</b><td><b>{total}</b></table></html>",
        company = escaped(company),
        agent = escaped(&invoice.agent_name),
        day = date.split('T').next().unwrap_or_default(),
    )
}

fn dollars(cents: i64) -> String {
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// Text that cannot be taken for anything else.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
