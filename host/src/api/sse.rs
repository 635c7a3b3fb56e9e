//! What all event streams have in common: how they begin, how long they wait for a
//! client, and how their lines become an answer.

use crate::clock::Clock;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

/// A sign of life when nothing happens (contract §7).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client may leave a line unread, when nothing is on its way before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes on their way to one client: what the system's buffers do not take. A longer line
/// goes alone.
const ROOM: usize = 128 << 10;

/// Bytes in a second that the slowest client takes of what is on its way: a bad mobile
/// connection.
const SLOWEST: u64 = 16 << 10;

/// How long a stream lives, in seconds from the operator's: spread by a tenth, so that
/// streams that began together do not come back together.
pub(super) fn life(clock: &Clock, seconds: u64) -> Duration {
    let dice = u32::from(u16::from_le_bytes(clock.random()));
    let mean = Duration::from_secs(seconds);
    // 0.9 to 1.1 in steps of 0.2 / 65536.
    mean * 9 / 10 + mean / 5 * dice / 65_536
}

/// Where a stream of numbered things begins.
pub(super) struct Start {
    pub(super) after: i64,
    /// The client asked for a place that is none: it is told so, and begins at the end.
    pub(super) unknown: bool,
}

impl Start {
    /// Behind what `Last-Event-ID` names, else behind `after`, else at the end.
    pub(super) fn of(headers: &HeaderMap, after: Option<String>, last_seq: i64) -> Self {
        let wanted = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("").to_owned());
        let Some(wanted) = wanted.or(after) else {
            return Self { after: last_seq, unknown: false };
        };
        match wanted.trim().parse() {
            Ok(after) if (0..=last_seq).contains(&after) => Self { after, unknown: false },
            _ => Self { after: last_seq, unknown: true },
        }
    }
}

/// When those come back whom a restart has cut off: not before another process can have
/// taken over, and so far apart that ten thousand are a thousand a second.
const SOONEST_MILLIS: u64 = 1_000;
const LATEST_MILLIS: u64 = 11_000;

/// Lines on their way to the connection.
const LINES: usize = 32;

/// Why a stream ends.
pub(super) enum End {
    /// There is nothing more to come, or the client may no longer see it.
    Over,
    /// It has lived for long enough; the client may come back at once.
    Old,
    Stopping,
    /// The client is gone or too slow.
    Gone,
    Failed,
}

/// The end of a stream at which lines are put in. It keeps none for a client that
/// does not read: such a client is cut and may come back with its position.
pub(super) struct Out {
    lines: mpsc::Sender<Line>,
    room: Arc<Semaphore>,
}

/// A line that all its readers share, and its place among what is on its way, which it
/// gives back when it was written to the connection.
struct Line {
    text: Arc<str>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Out {
    /// With the answer that carries what is put in.
    pub(super) fn new() -> (Self, Response) {
        let (out, lines) = mpsc::channel(LINES);
        (Self { lines: out, room: Arc::new(Semaphore::new(ROOM)) }, response(lines))
    }

    /// The first lines. Clients that lost their connection are spread over some
    /// seconds, so that a restart does not bring everybody back at once.
    ///
    /// With the place where the stream begins, which is no event: a client that loses it
    /// before anything happens comes back with that.
    pub(super) async fn welcome(&self, clock: &Clock, place: Option<i64>) -> Result<(), End> {
        let jitter = u64::from(u16::from_le_bytes(clock.random())) % 3_000;
        let place = place.map(|place| format!("id: {place}\n")).unwrap_or_default();
        self.send(format!("retry: {}\n{place}: welcome\n\n", 2_000 + jitter).into()).await
    }

    /// The last line when the platform stops: come back, but not all at once.
    pub(super) async fn farewell(&self, clock: &Clock) -> Result<(), End> {
        let dice = u64::from(u16::from_le_bytes(clock.random()));
        let wait = SOONEST_MILLIS + dice * (LATEST_MILLIS - SOONEST_MILLIS) / 65_536;
        self.send(format!("retry: {wait}\n: restarting\n\n").into()).await
    }

    pub(super) async fn still_here(&self) -> Result<(), End> {
        self.send(": still here\n\n".into()).await
    }

    pub(super) async fn send(&self, line: Arc<str>) -> Result<(), End> {
        let room = self.room_for(line.len()).await?;
        let sent = timeout(PATIENCE, self.lines.send(Line { text: line, _room: room })).await;
        sent.ok().and_then(Result::ok).ok_or(End::Gone)
    }

    /// Waits until the client has taken enough for something more to be read for it.
    pub(super) async fn wants_more(&self) -> Result<(), End> {
        self.room_for(1).await.map(drop)
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, End> {
        let on_its_way = (ROOM - self.room.available_permits()) as u64;
        let patience = PATIENCE + Duration::from_secs(on_its_way / SLOWEST);
        let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        let room = timeout(patience, Arc::clone(&self.room).acquire_many_owned(bytes)).await;
        room.ok().and_then(Result::ok).ok_or(End::Gone)
    }

    /// Ready when the client is gone.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }
}

fn response(lines: mpsc::Receiver<Line>) -> Response {
    let body = futures::stream::unfold(lines, async |mut lines| {
        let line = lines.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from_owner(line)), lines))
    });
    let mut response = Body::from_stream(body).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
