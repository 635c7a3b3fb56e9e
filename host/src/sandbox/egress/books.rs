//! The books of one event's outbound HTTP: three budgets, what each call did, and
//! lines for the log.

use super::{failure::Failure, host_of};
use crate::sandbox::{guest::Stop, limits::Limits};
use serde::Serialize;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

/// Calls that a receipt tells one by one. The default budget is 50.
const TOLD: usize = 100;

/// The longest host a receipt repeats, in bytes: a name, a colon and a port.
const HOST: usize = 260;

/// Lines that wait for the guest's log, which is bounded itself.
const LINES: usize = 100;

/// The longest method a receipt repeats, in bytes; the standard's have seven.
const METHOD: usize = 20;

/// One request, as the receipt tells it. Its path, query, headers and body may hold
/// what is nobody's business, so they are not in it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCall {
    pub method: String,
    /// With the port where it is not the scheme's own.
    pub host: String,
    /// None when there was no answer.
    pub status: Option<u16>,
    /// A code that says what went wrong, be it in the middle of the answer.
    pub error: Option<&'static str>,
    /// From the request to the end of its answer, as far as it was read.
    pub millis: u64,
    /// Bodies only.
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// Why a call that nobody heard the end of has no status.
const UNFINISHED: &str = "unfinished";

/// What an event used of its budgets.
#[derive(Default)]
pub(in crate::sandbox) struct Used {
    pub(in crate::sandbox) count: u64,
    pub(in crate::sandbox) bytes_out: u64,
    pub(in crate::sandbox) bytes_in: u64,
    pub(in crate::sandbox) waited: Duration,
    pub(in crate::sandbox) calls: Vec<HttpCall>,
}

/// Shared by an event's calls, which run beside the guest.
pub(super) struct Books {
    limits: Arc<Limits>,
    pages: Mutex<Pages>,
    /// There may be something to tell the guest.
    news: AtomicBool,
}

#[derive(Default)]
struct Pages {
    count: u64,
    bytes_out: u64,
    bytes_in: u64,
    /// Calls that wait for the other side, and since when one of them does.
    waiting: u32,
    since: Option<Instant>,
    waited: Duration,
    exhausted: Option<(&'static str, u64)>,
    /// The event is over.
    closed: bool,
    lines: Vec<String>,
    told: Vec<(HttpCall, Instant)>,
}

impl Books {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self { limits, pages: Mutex::default(), news: AtomicBool::new(false) }
    }

    /// Writes down that a request is about to be made.
    pub(super) fn begin<B>(books: &Arc<Self>, request: &http::Request<B>) -> Call {
        let (mut pages, begun) = (books.pages(), Instant::now());
        pages.count += 1;
        if pages.count > books.limits.http_calls {
            books.exhaust(&mut pages, "httpCalls", books.limits.http_calls);
        }
        let number = pages.told.len();
        if number < TOLD {
            let call = HttpCall {
                method: request.method().as_str().chars().take(METHOD).collect(),
                host: host_of(request.uri()).chars().take(HOST).collect(),
                status: None,
                error: Some(pages.exhausted.map_or(UNFINISHED, |_| Failure::Budget.code())),
                millis: 0,
                bytes_out: 0,
                bytes_in: 0,
            };
            pages.told.push((call, begun));
        }
        Call { books: Arc::clone(books), number }
    }

    /// Lines for the guest's log since the last call, and whether it is over. None,
    /// at the cost of a glance, when nothing happened.
    pub(super) fn news(&self) -> Option<(Vec<String>, Option<Stop>)> {
        if !self.news.load(Ordering::Relaxed) {
            return None;
        }
        let mut pages = self.pages();
        let over = pages.over();
        // What is over stays so.
        self.news.store(over.is_some(), Ordering::Relaxed);
        Some((std::mem::take(&mut pages.lines), over))
    }

    pub(super) fn close(&self) {
        self.pages().closed = true;
    }

    pub(super) fn used(&self) -> Used {
        let pages = self.pages();
        let as_told = |(call, begun): &(HttpCall, Instant)| {
            let mut call = call.clone();
            if call.error == Some(UNFINISHED) {
                call.millis = millis(begun.elapsed());
            }
            call
        };
        Used {
            count: pages.count,
            bytes_out: pages.bytes_out,
            bytes_in: pages.bytes_in,
            waited: pages.waited(),
            calls: pages.told.iter().map(as_told).collect(),
        }
    }

    fn exhaust(&self, pages: &mut Pages, name: &'static str, limit: u64) {
        pages.exhausted.get_or_insert((name, limit));
        self.news.store(true, Ordering::Relaxed);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn over(&self) -> Option<Stop> {
        self.exhausted.map(|(name, limit)| Stop::Budget(name, limit))
    }

    /// Time during which at least one call waited.
    fn waited(&self) -> Duration {
        self.waited + self.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn tell(&mut self, number: usize, change: impl FnOnce(&mut HttpCall)) {
        if let Some((call, begun)) = self.told.get_mut(number) {
            call.millis = millis(begun.elapsed());
            change(call);
        }
    }
}

/// One call's line in the books. Cheap to clone.
#[derive(Clone)]
pub(super) struct Call {
    books: Arc<Books>,
    number: usize,
}

impl Call {
    /// May it be made, or go on?
    pub(super) fn permitted(&self) -> Result<(), Failure> {
        let pages = self.books.pages();
        match pages.exhausted {
            Some(_) => Err(Failure::Budget),
            None if pages.closed => Err(Failure::Past),
            None => Ok(()),
        }
    }

    pub(super) fn sent(&self, bytes: usize) -> Result<(), Failure> {
        self.carried(bytes as u64, 0)
    }

    pub(super) fn received(&self, bytes: usize) -> Result<(), Failure> {
        self.carried(0, bytes as u64)
    }

    fn carried(&self, bytes_out: u64, bytes_in: u64) -> Result<(), Failure> {
        let mut pages = self.books.pages();
        pages.bytes_out += bytes_out;
        pages.bytes_in += bytes_in;
        pages.tell(self.number, |call| {
            call.bytes_out += bytes_out;
            call.bytes_in += bytes_in;
        });
        let limit = self.books.limits.http_bytes;
        if pages.bytes_out + pages.bytes_in > limit {
            self.books.exhaust(&mut pages, "httpBytes", limit);
            return Err(Failure::Budget);
        }
        Ok(())
    }

    pub(super) fn answered(&self, status: http::StatusCode) {
        self.books.pages().tell(self.number, |call| {
            call.status = Some(status.as_u16());
            call.error = None;
        });
    }

    /// The answer is there to its end.
    pub(super) fn ended(&self) {
        self.books.pages().tell(self.number, |_| ());
    }

    /// Writes down why there is no answer, or no more of it.
    pub(super) fn failed(&self, failure: Failure) -> Error {
        let mut pages = self.books.pages();
        // What is over broke off whatever else went on.
        let failure = if pages.exhausted.is_some() { Failure::Budget } else { failure };
        pages.tell(self.number, |call| call.error = Some(failure.code()));
        if let Some(line) = failure.line().filter(|_| pages.lines.len() < LINES) {
            pages.lines.push(line);
            self.books.news.store(true, Ordering::Relaxed);
        }
        failure.into()
    }

    /// Begins to wait for the other side; ready when that took too long.
    pub(super) fn wait(&self, limit: Duration) -> Wait {
        let mut pages = self.books.pages();
        let budget = Duration::from_millis(self.books.limits.http_millis);
        let left = budget.saturating_sub(pages.waited());
        pages.waiting += 1;
        pages.since.get_or_insert_with(Instant::now);
        let (span, late) = if left <= limit { (left, Late::Budget) } else { (limit, Late::Call) };
        let sleep = Box::pin(tokio::time::sleep(span));
        Wait { books: Arc::clone(&self.books), sleep, late }
    }
}

/// What ran out first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Late {
    Budget,
    Call,
}

/// A call that waits. Ends when it is dropped.
pub(super) struct Wait {
    books: Arc<Books>,
    sleep: Pin<Box<Sleep>>,
    late: Late,
}

impl Future for Wait {
    type Output = Late;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Late> {
        std::task::ready!(self.sleep.as_mut().poll(cx));
        if let Late::Budget = self.late {
            let books = &self.books;
            books.exhaust(&mut books.pages(), "httpMillis", books.limits.http_millis);
        }
        Poll::Ready(self.late)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut pages = self.books.pages();
        pages.waiting -= 1;
        if pages.waiting == 0 {
            pages.waited = pages.waited();
            pages.since = None;
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
