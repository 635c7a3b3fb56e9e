//! Following one's notifications live: an event `notification` for each, whose id is its
//! `seq`. The data is the notification as the list has it, so that `type` is its kind.
//!
//! A stream is a position among the user's notifications, as that of a session is one in
//! its log: it looks whenever it is woken and with each heartbeat, and sends what is
//! beyond.

use crate::{
    accounts,
    api::{
        caller::{self, Caller},
        input::Params,
        sse::{End, HEARTBEAT, Out, Start, life},
    },
    bus::Ear,
    error::{Error, Kind, Result},
    host::Host,
    id::UserId,
    notifications::{self, Notification},
    sessions::lines,
};
use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;
use std::{convert::Infallible, pin::pin, sync::Arc};
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::IntoParams;

/// Read at once.
const PAGE: i64 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Following {
    /// Behind which `seq` it begins; at the end, when it is left out.
    after: Option<String>,
}

/// Follows the user's notifications live, as server-sent events.
///
/// An event `notification` for each: its id is the `seq`, its data the notification as the
/// list has it. The stream begins behind `Last-Event-ID`, else behind `after`, else at the
/// end; asked for a place that is none, it begins at the end as well, with an event
/// `stream_reset`. It ends after a while: come back with the last id.
#[utoipa::path(
    get, path = "/notifications/stream",
    params(
        Following,
        (
            "Last-Event-ID" = Option<String>, Header, nullable = false,
            description = "The id of the last event that came; it goes before `after`."
        ),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 429, description = "too_many_streams"),
    ),
)]
pub(super) async fn follow(
    State(host): State<Host>,
    Caller(caller): Caller,
    Params(query): Params<Following>,
    headers: HeaderMap,
) -> Result<Response> {
    let user = caller.user_id;
    let ear = host.inboxes.listen(user).ok_or_else(|| {
        let detail = "too many streams of notifications are open; close one and try again";
        Error::new(Kind::TooMany(10), "too_many_streams", detail)
    })?;
    let newest = notifications::last_seq(&mut host.db.look().await?, user).await?;
    let start = Start::of(&headers, query.after, newest);
    let token = caller::token(&host, &Method::GET, &headers)?.unwrap_or_default().to_owned();
    let (out, response) = Out::new();
    let tasks = host.tasks.clone();
    let reader = Reader { host, user, token, ear, last: start.after, out };
    tasks.spawn(async move {
        // It ends when the client is gone, too slow, or no longer signed in.
        let _ = reader.run(start.unknown).await;
    });
    Ok(response)
}

struct Reader {
    host: Host,
    user: UserId,
    token: String,
    ear: Ear,
    /// The number of the last one that was sent.
    last: i64,
    out: Out,
}

impl Reader {
    async fn run(mut self, unknown: bool) -> Result<Infallible, End> {
        self.out.welcome(&self.host.clock, Some(self.last)).await?;
        if unknown {
            self.out.send(lines::reset(self.last)).await?;
        }
        let stopping = self.host.stopping.clone();
        let mut old = pin!(sleep(life(&self.host.clock, self.host.config.stream_seconds)));
        let mut beat = Instant::now() + HEARTBEAT;
        loop {
            self.catch_up().await?;
            tokio::select! {
                () = self.ear.news() => {}
                () = sleep_until(beat) => {
                    beat = Instant::now() + HEARTBEAT;
                    if !self.admitted().await.map_err(failed)? {
                        return Err(End::Over);
                    }
                    self.out.still_here().await?;
                }
                () = &mut old => return Err(End::Old),
                () = stopping.cancelled() => {
                    self.out.farewell(&self.host.clock).await?;
                    return Err(End::Stopping);
                }
                () = self.out.closed() => return Err(End::Gone),
            }
        }
    }

    /// Sends what there is beyond the last one that was sent.
    async fn catch_up(&mut self) -> Result<(), End> {
        loop {
            let page = async {
                let mut tx = self.host.db.look().await?;
                notifications::after(&mut tx, self.user, self.last, PAGE).await
            };
            let page = page.await.map_err(failed)?;
            for told in &page {
                self.out.send(line(told)).await?;
                self.last = told.seq;
            }
            if (page.len() as i64) < PAGE {
                return Ok(());
            }
        }
    }

    /// Is whoever asked still signed in?
    async fn admitted(&self) -> Result<bool> {
        let mut tx = self.host.db.look().await?;
        let found = accounts::identify(&mut tx, &self.token, self.host.clock.now()).await?;
        Ok(found.is_some())
    }
}

fn failed(error: Error) -> End {
    tracing::error!(%error, "notifications could not be followed");
    End::Failed
}

fn line(told: &Notification) -> Arc<str> {
    format!("id: {}\nevent: notification\ndata: {}\n\n", told.seq, json!(told)).into()
}
