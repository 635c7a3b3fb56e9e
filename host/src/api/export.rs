//! All that a company has here, as one stream of lines of JSON: what it is, its people,
//! sessions with all that was said in them, files by name, and money.
//!
//! Each line says as `object` what it is, and has the fields that the API has for it. The
//! last one is `{"object":"end"}`: where it is missing, the export broke off.

use super::caller::Admin;
use crate::{
    accounts::{self, invitations, members},
    billing::{invoices, refunds, subscriptions, wallet},
    error::{Error, Result},
    files::tree::{self, Where},
    host::Host,
    id::CompanyId,
    sessions::{self, Session, log, shared},
};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use serde_json::json;
use std::{io, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Read at once.
const PAGE: i64 = 200;

/// Bytes of a session's log that are read at once.
const LOG_BYTES: i64 = 1 << 20;

/// Lines on their way to the client.
const LINES: usize = 64;

/// How long a client may leave them unread.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything the company has here, as lines of JSON. Each has an `object` that says what it
/// is: `company`, `member`, `invitation`, `session`, `event`, `shared_item`, `file`,
/// `transaction`, `invoice`, `refund`, `subscription`, and at last `end`. What files contain
/// is fetched one by one.
#[utoipa::path(
    get, path = "/company/export", security(("user" = ["admin"])),
    responses((status = 200, body = String, content_type = "application/x-ndjson")),
)]
async fn export(State(host): State<Host>, Admin(caller): Admin) -> Result<Response> {
    let (sender, lines) = mpsc::channel(LINES);
    let out = Out { lines: sender };
    let worker = host.clone();
    host.tasks.spawn(async move {
        let written = write(&worker, caller.company_id, &out).await;
        if let Err(error) = written
            && !out.lines.is_closed()
        {
            tracing::error!(%error, "an export broke off");
            let _ = out.lines.send(Err(io::Error::other("the export broke off"))).await;
        }
    });
    let lines = stream::unfold(lines, async |mut lines: mpsc::Receiver<_>| {
        let line = lines.recv().await?;
        Some((line, lines))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"company.ndjson\""),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

struct Out {
    lines: mpsc::Sender<io::Result<Bytes>>,
}

impl Out {
    /// Sends a line; an error when nobody reads it any more.
    async fn say(&self, object: &str, what: &impl Serialize) -> Result<()> {
        let mut line = json!({ "object": object });
        if let (Some(line), serde_json::Value::Object(fields)) = (line.as_object_mut(), json!(what))
        {
            line.extend(fields);
        }
        let sent = timeout(PATIENCE, self.lines.send(Ok(format!("{line}\n").into()))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::internal(anyhow::anyhow!("nobody reads it"))),
        }
    }
}

/// Does something with each of a list, which is read page by page, each in a transaction of its
/// own. The next page begins at what the last one of a page is known by.
macro_rules! each {
    ($host:ident, |$tx:ident, $from:ident| $page:expr, |$one:ident| $place:expr, $do:expr) => {{
        let mut $from = None;
        loop {
            let mut $tx = $host.db.look().await?;
            let page: Vec<_> = $page.await?;
            drop($tx);
            for $one in &page {
                $do
            }
            match page.last() {
                Some($one) if page.len() as i64 == PAGE => $from = Some($place),
                _ => break,
            }
        }
    }};
}

/// Tells each of a list.
macro_rules! tell {
    ($host:ident, $out:ident, $object:literal, |$tx:ident, $from:ident| $page:expr, $place:ident) => {
        each!($host, |$tx, $from| $page, |one| one.$place, $out.say($object, one).await?)
    };
}

async fn write(host: &Host, id: CompanyId, out: &Out) -> Result<()> {
    out.say("company", &accounts::company(&mut host.db.look().await?, id).await?).await?;
    let now = host.clock.now();
    tell!(host, out, "member", |tx, from| members::list(&mut tx, id, from, PAGE), id);
    tell!(host, out, "invitation", |tx, from| invitations::list(&mut tx, now, id, from, PAGE), id);
    each!(
        host,
        |tx, from| sessions::list(&mut tx, id, from, PAGE),
        |session| session.id,
        tell_session(host, session, out).await?
    );
    tell!(host, out, "file", |tx, from| tree::list(&mut tx, id, Where::All, from, PAGE), id);
    tell!(host, out, "transaction", |tx, from| wallet::transactions(&mut tx, id, from, PAGE), id);
    tell!(host, out, "invoice", |tx, from| invoices::list(&mut tx, id, from, PAGE), number);
    tell!(host, out, "refund", |tx, from| refunds::list(&mut tx, id, from, PAGE), id);
    let subscription = subscriptions::of(&mut host.db.look().await?, id).await?;
    if let Some(subscription) = subscription {
        out.say("subscription", &subscription).await?;
    }
    out.say("end", &json!({})).await
}

/// A session, followed by its log and by what it was handed.
async fn tell_session(host: &Host, session: &Session, out: &Out) -> Result<()> {
    out.say("session", session).await?;
    let (id, mut after) = (session.id, 0);
    loop {
        let mut tx = host.db.look().await?;
        let log = log::after(&mut tx, id, after, PAGE, LOG_BYTES).await?;
        drop(tx);
        for entry in &log.entries {
            out.say("event", &entry.json()).await?;
            after = entry.seq;
        }
        if !log.more {
            break;
        }
    }
    let (key, reader) = (&host.key, shared::Reader::Client);
    tell!(
        host,
        out,
        "shared_item",
        |tx, from| shared::list(&mut tx, key, id, reader, from, PAGE),
        id
    );
    Ok(())
}
