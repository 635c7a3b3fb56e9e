//! The event stream of a session.
//!
//! A stream is a position in the log. It listens first, then reads the log from
//! where the client left off, then goes on with what it hears; whenever it is
//! unsure it looks at the log again, so nothing is missed and nothing comes twice.
//! It keeps no events for a client that does not read: such a client is cut and
//! may come back with its position.

use super::{
    caller, input,
    input::Params,
    sse::{End, HEARTBEAT, Out, Start, life},
};
use crate::{
    accounts,
    bus::{BACKLOG, Listener, Signal},
    error::{Error, Kind, Result},
    host::Host,
    id::{CompanyId, EventId, SessionId},
    sessions::{self, Session, lines, log, tickets},
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
};
use tokio::time::sleep;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Entries read from the log at once, and bytes, beyond which no further one is read:
/// thousands may come back at the same time, and read slowly.
const PAGE: i64 = 100;
const PAGE_BYTES: i64 = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(stream))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Query {
    /// The number of the entry behind which to begin, where there is no `Last-Event-ID`; 0 is
    /// the whole log. Of one that the log does not have, the stream says `stream_reset`.
    after: Option<String>,
    /// Instead of a token or a cookie, and described as one.
    #[param(ignore)]
    ticket: Option<String>,
}

/// Follows a session's log as a stream of events.
///
/// An event of the log has its number as `id` and a JSON object as `data`, with the event's
/// name as `type`: `session_started`, `message`, `session`, `direct_message`, `shared_item`,
/// `message_failed`, `delivery_failed`, `delivery_recovered`, `session_ended`. Without an id
/// come `message_delta` and `message_snapshot` (replies that are being written), `typing` and
/// `presence`. Without `Last-Event-ID` and `after` the stream begins now; `stream_reset` says
/// that the place which was asked for is none. A comment is sent every 15 seconds.
///
/// Whoever reads too slowly is cut, and may come back with the last id. The stream ends with
/// the session. Whoever comes back then and has seen all of it is answered 204, which stops an
/// EventSource.
#[utoipa::path(
    get, path = "/sessions/{session}/stream", security(("user" = []), ("ticket" = [])),
    params(
        Query,
        (
            "Last-Event-ID" = Option<String>, Header, nullable = false,
            description = "The number of the last entry that was read.",
        ),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 204),
        (status = 429, description = "too_many_streams"),
    ),
)]
async fn stream(
    State(host): State<Host>,
    Path(id): Path<String>,
    Params(query): Params<Query>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let id: SessionId = input::id(&id, "session")?;
    let listener = host.bus.listen(id);
    let (session, via) = admitted(&host, id, query.ticket.as_deref(), &uri, &headers).await?;
    let most = host.config.web.streams_per_company;
    let place = host.streams.open(session.company_id, most).ok_or_else(|| {
        let detail = format!("this company has {most} event streams open; close some");
        Error::new(Kind::TooMany(10), "too_many_streams", detail)
    })?;
    let given = headers.contains_key("last-event-id");
    let start = Start::of(&headers, query.after, session.last_seq);
    if session.over() && start.after >= session.last_seq && !start.unknown {
        // Nothing will ever come: the one answer that stops an EventSource.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (out, response) = Out::new();
    let over = session.over() && start.unknown;
    let (shown, told) = (BTreeMap::new(), VecDeque::new());
    // Who comes for the first time takes an agent to be there. Who comes back may have
    // heard otherwise.
    let presence = if given && start.after > 0 { "" } else { "online" };
    let (company, last) = (session.company_id, start.after);
    let reader =
        Reader { host: host.clone(), listener, company, via, last, shown, told, presence, out };
    host.tasks.spawn(async move {
        let _place = place;
        // It ends when the client is gone, too slow, or has seen the session's end.
        let _ = reader.run(start.unknown, over).await;
    });
    Ok(response)
}

/// The session, if the caller shows a token of its company or a ticket for it; and what he
/// has shown.
async fn admitted(
    host: &Host,
    id: SessionId,
    ticket: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Session, Uuid)> {
    if let Some(ticket) = ticket {
        let mut tx = host.db.write().await?;
        let via = tickets::redeem(&mut tx, &host.clock, id, ticket).await?;
        let via = via.ok_or_else(|| {
            Error::unauthenticated("the ticket is used, too old, or for another session")
        })?;
        let session = sessions::find(&mut tx, id).await?.ok_or(Error::not_found("session"))?;
        let still = accounts::still(&mut tx, via, session.company_id, host.clock.now()).await?;
        tx.commit().await?;
        if !still {
            return Err(Error::unauthenticated("whoever asked for the ticket is signed out"));
        }
        return Ok((session, via));
    }
    if caller::token(host, &Method::GET, headers)?.is_none() {
        let detail = "send a token, or ?ticket= from POST …/stream-ticket";
        return Err(Error::unauthenticated(detail));
    }
    let identity = caller::identity(host, &Method::GET, uri.path(), headers).await?;
    let mut tx = host.db.read().await?;
    let session = sessions::owned_by(&mut tx, id, identity.company_id).await?;
    Ok((session, identity.via.id()))
}

struct Reader {
    host: Host,
    listener: Listener,
    company: CompanyId,
    /// What the client has shown of himself.
    via: Uuid,
    /// The number of the last entry that was sent.
    last: i64,
    /// How much was shown of the newest replies that are being written.
    shown: BTreeMap<EventId, u64>,
    /// The newest entries that were read from the log: their pieces may still be in
    /// the ear, which holds no more than so many.
    told: VecDeque<EventId>,
    /// What the client was last told of its agent.
    presence: &'static str,
    out: Out,
}

impl Reader {
    async fn run(mut self, unknown: bool, over: bool) -> Result<Infallible, End> {
        self.out.welcome(&self.host.clock, Some(self.last)).await?;
        if unknown {
            self.send(lines::reset(self.last)).await?;
        }
        if over {
            return Err(End::Over);
        }
        self.look().await?;
        for (id, text) in self.listener.writing() {
            self.snapshot(id, &text).await?;
        }
        let stopping = self.host.stopping.clone();
        let old = sleep(life(&self.host.clock, self.host.config.stream_seconds));
        let mut old = pin!(old);
        loop {
            let signal = tokio::select! {
                signal = self.listener.next() => signal,
                () = stopping.cancelled() => {
                    self.out.farewell(&self.host.clock).await?;
                    return Err(End::Stopping);
                }
                () = self.out.closed() => return Err(End::Gone),
                () = &mut old => return Err(End::Old),
                () = sleep(HEARTBEAT) => {
                    self.admitted().await?;
                    self.out.still_here().await?;
                    // Also a look at the log.
                    Signal::News
                }
            };
            match signal {
                Signal::Piece { id, offset, end, line } => {
                    self.piece(id, offset, end, line).await?;
                }
                Signal::Passing(line) => self.send(line).await?,
                Signal::Entry { seq, line } if seq == self.last + 1 => {
                    self.entry(seq, line).await?;
                }
                Signal::Entry { seq, .. } if seq <= self.last => {}
                Signal::Entry { .. } | Signal::News => self.look().await?,
                Signal::Presence => self.presence().await?,
            }
        }
    }

    /// Whoever is signed out, or has left the company, hears nothing more.
    async fn admitted(&self) -> Result<(), End> {
        let still = asking(async {
            let mut tx = self.host.db.look().await?;
            accounts::still(&mut tx, self.via, self.company, self.host.clock.now()).await
        });
        if still.await.map_err(failed)? { Ok(()) } else { Err(End::Over) }
    }

    /// Sends all that the database knows and the client does not.
    async fn look(&mut self) -> Result<(), End> {
        self.catch_up().await?;
        self.presence().await
    }

    async fn presence(&mut self) -> Result<(), End> {
        let presence = asking(async {
            let mut tx = self.host.db.look().await?;
            sessions::presence(&mut tx, self.listener.session()).await
        });
        match presence.await.map_err(failed)? {
            // What becomes known later is news, also that it is there.
            None => self.presence = "",
            Some(presence) if presence == self.presence => {}
            Some(presence) => {
                self.presence = presence;
                self.send(lines::presence(self.listener.session(), presence)).await?;
            }
        }
        Ok(())
    }

    /// Sends what the log has beyond the last entry that was sent.
    async fn catch_up(&mut self) -> Result<(), End> {
        loop {
            self.out.wants_more().await?;
            let page = asking(async {
                let mut tx = self.host.db.look().await?;
                log::after(&mut tx, self.listener.session(), self.last, PAGE, PAGE_BYTES).await
            });
            let page = page.await.map_err(failed)?;
            for entry in page.entries {
                let (seq, id, line) = (entry.seq, entry.id, entry.line());
                // While the client takes its time, one copy is enough.
                drop(entry);
                self.entry(seq, line).await?;
                self.told.push_back(id);
                if self.told.len() > BACKLOG {
                    self.told.pop_front();
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Shows a reply as it is, unless the whole of it was told already.
    async fn snapshot(&mut self, id: EventId, text: &str) -> Result<(), End> {
        if !self.told.contains(&id) {
            self.send(lines::snapshot(id, text)).await?;
            self.grown(id, text.encode_utf16().count() as u64);
        }
        Ok(())
    }

    /// Shows a piece where it goes on from what was shown. When what is before it was
    /// not, because another process took it or the ear was full, the reply is shown as
    /// it is; one that is whole by now comes from the log.
    async fn piece(
        &mut self,
        id: EventId,
        offset: u64,
        end: u64,
        line: Arc<str>,
    ) -> Result<(), End> {
        match offset.cmp(&self.shown.get(&id).copied().unwrap_or(0)) {
            _ if self.told.contains(&id) => {}
            Ordering::Less => {}
            Ordering::Equal => {
                self.send(line).await?;
                self.grown(id, end);
            }
            Ordering::Greater => {
                let writing = self.listener.writing().into_iter().find(|(other, _)| *other == id);
                if let Some((id, text)) = writing {
                    self.snapshot(id, &text).await?;
                }
            }
        }
        Ok(())
    }

    fn grown(&mut self, id: EventId, end: u64) {
        self.shown.insert(id, end);
        // One that is older and still grows is shown as it is once more.
        if self.shown.len() > BACKLOG {
            self.shown.pop_first();
        }
    }

    async fn entry(&mut self, seq: i64, line: Arc<str>) -> Result<(), End> {
        let last = line.contains("\nevent: session_ended\n");
        self.send(line).await?;
        self.last = seq;
        if last { Err(End::Over) } else { Ok(()) }
    }

    async fn send(&self, line: Arc<str>) -> Result<(), End> {
        self.out.send(line).await
    }
}

/// A question to the database takes some kilobytes, which a stream that waits, as nearly
/// all do nearly always, need not have.
fn asking<T>(question: impl Future<Output = T>) -> Pin<Box<impl Future<Output = T>>> {
    Box::pin(question)
}

fn failed(error: Error) -> End {
    tracing::error!(%error, "a stream could not read the database");
    End::Failed
}
