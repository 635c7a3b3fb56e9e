//! A librarian: it counts what was shared with it, and keeps books about itself.
//!
//! This agent has no use but one: it calls every function an agent may call, so
//! it shows how, and the host's tests learn from its answers whether they work.
//! An ordinary message is answered by [`survey`]; a few words, listed in
//! [`Librarian::on_message`], make it misbehave or tidy up instead.
//!
//! Answers hold nothing that differs from run to run (no times, no ids); such
//! things go to the log.

wit_bindgen::generate!({ world: "agent", path: "../../wit" });

use std::sync::Once;

use aiybiz::agent::{
    config, delivery,
    files::{self, FileError, Reader, Writer},
    log::{self, Level},
    secrets::{self, SecretError},
    session::{self, HistoryError, ReplyError, ReplyStream},
    state::{self, StateError},
    types::{EndReason, Failure, FileInfo, Message},
};
use exports::aiybiz::agent::handler::Guest;

const COUNT: &str = "count";
const STARTED: &str = "started";
const REPORT: &str = "reports/summary.txt";

/// How much of a file is in memory at a time.
const RANGE: u32 = 64 * 1024;

/// With less time than this left, stopping is better than being stopped.
const MARGIN_MS: u32 = 50;

struct Librarian;

impl Guest for Librarian {
    fn on_session_started() -> Result<(), Failure> {
        log_panics();
        let started = session::started_at().to_string();
        state::set(STARTED, started.as_bytes())?;
        note(
            "session started",
            &[("session", &session::id()), ("started-at", &started)],
        );
        Ok(())
    }

    fn on_message(message: Message) -> Result<(), Failure> {
        log_panics();
        note(
            "message",
            &[
                ("event", &delivery::event_id()),
                ("attempt", &delivery::attempt().to_string()),
                ("remaining-ms", &delivery::remaining_ms().to_string()),
                ("attachments", &message.attachments.len().to_string()),
            ],
        );
        // Counted at once, so that a test can see the count taken back when the
        // event fails.
        let number = count()? + 1;
        state::set(COUNT, number.to_string().as_bytes())?;

        match message.content.as_str() {
            "fail" => Err(Failure::Retry("asked to".into())),
            "refuse" => Err(Failure::Permanent("asked to".into())),
            "panic" => {
                session::reply("about to panic")?;
                panic!("asked to")
            }
            "forget" => forget(),
            "rm" => remove_report(),
            "abandon" => abandon(),
            _ => survey(number),
        }
    }

    fn on_session_ended(reason: EndReason) -> Result<(), Failure> {
        log_panics();
        note(
            "session ended",
            &[
                ("reason", reason_name(reason)),
                ("messages", &count()?.to_string()),
            ],
        );
        Ok(())
    }
}

export!(Librarian);

/// Answers with what there is. Each line is sent when it is known, so the client
/// reads along; an error on the way drops the stream, which tells the client
/// that the reply failed.
fn survey(number: u64) -> Result<(), Failure> {
    session::send_typing();
    let reply = session::begin_reply()?;
    let greeting = config::get("greeting").unwrap_or_else(|| "Hello".into());
    reply.write(&format!("{greeting}! message #{number}"))?;

    let shared = shared_files()?;
    let (mut total, mut report) = (Tally::default(), String::new());
    for file in &shared {
        let tally = tally(file)?;
        report += &format!(
            "{}: {} bytes, {} lines\n",
            file.path, tally.bytes, tally.lines
        );
        total.bytes += tally.bytes;
        total.lines += tally.lines;
    }
    let summary = format!(
        "{} files, {} bytes, {} lines",
        shared.len(),
        total.bytes,
        total.lines
    );
    reply.write(&format!("\n{summary}"))?;
    reply.write(&format!("\nhistory: {}", history_length()?))?;

    report += &format!("{summary}\n");
    reply.write(&match write_report(&report) {
        Ok(info) => format!("\nreport: {} ({} bytes)", info.path, info.size),
        // Both are the client's to change, so the client is told.
        Err(FileError::NoFolder) => "\nreport: none, the session has no folder".into(),
        Err(FileError::QuotaExceeded(limit)) => {
            format!("\nreport: none, larger than {limit} bytes")
        }
        Err(error) => return Err(error.into()),
    })?;

    if let Some(length) = signature_length()? {
        reply.write(&format!("\nsignature: {length} bytes"))?;
    }
    ReplyStream::finish(reply)?;
    Ok(())
}

/// The size of something written in lines; a line is counted where it ends.
#[derive(Default)]
struct Tally {
    bytes: u64,
    lines: u64,
}

fn tally(file: &FileInfo) -> Result<Tally, Failure> {
    let reader: Reader = files::open(&file.id, 0)?;
    let mut tally = Tally::default();
    loop {
        if delivery::remaining_ms() < MARGIN_MS {
            return Err(Failure::Retry(format!("out of time in {}", file.path)));
        }
        let range = reader.read(RANGE)?;
        if range.is_empty() {
            break;
        }
        tally.bytes += range.len() as u64;
        tally.lines += range.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    note(
        "file read",
        &[
            ("path", &file.path),
            ("size", &reader.info().size.to_string()),
            ("read", &tally.bytes.to_string()),
        ],
    );
    Ok(tally)
}

/// All pages of the listing, without the agent's own files.
fn shared_files() -> Result<Vec<FileInfo>, Failure> {
    let mut shared = Vec::new();
    let mut cursor = None;
    loop {
        let page = files::list(cursor.as_deref())?;
        shared.extend(page.files.into_iter().filter(|file| !file.writable));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(shared);
        }
    }
}

fn history_length() -> Result<usize, Failure> {
    let mut length = 0;
    let mut cursor = None;
    loop {
        let page = session::history(cursor.as_deref(), 100)?;
        length += page.messages.len();
        cursor = page.next;
        if cursor.is_none() {
            return Ok(length);
        }
    }
}

fn write_report(text: &str) -> Result<FileInfo, FileError> {
    let writer = files::create(REPORT, Some("text/plain"))?;
    for line in text.split_inclusive('\n') {
        writer.write(line.as_bytes())?;
    }
    Writer::finish(writer)
}

/// A secret is used, here only measured, and never shown.
fn signature_length() -> Result<Option<usize>, Failure> {
    match secrets::get("signature").and_then(|secret| secret.reveal()) {
        Ok(value) => Ok(Some(value.len())),
        Err(SecretError::NotFound) => Ok(None),
        Err(SecretError::Unavailable(why)) => Err(Failure::Retry(format!("secrets: {why}"))),
    }
}

/// `forget`: empties the state, this message's count included.
fn forget() -> Result<(), Failure> {
    let keys = state::keys("")?;
    for key in &keys {
        state::delete(key)?;
    }
    session::reply(&format!("forgot: {}", keys.join(", ")))?;
    Ok(())
}

/// `rm`: removes the report.
fn remove_report() -> Result<(), Failure> {
    let answer = match files::find(REPORT) {
        Ok(info) => {
            files::remove(&info.id)?;
            format!("removed {}", info.path)
        }
        Err(FileError::NotFound) => "no report".into(),
        Err(error) => return Err(error.into()),
    };
    session::reply(&answer)?;
    Ok(())
}

/// `abandon`: begins a reply and a file and finishes neither, and still succeeds.
fn abandon() -> Result<(), Failure> {
    let reply = session::begin_reply()?;
    reply.write("this will never be fin")?;
    drop(reply);

    match files::create("lost.txt", None) {
        Ok(lost) => Ok(lost.write(b"nobody will read this")?),
        Err(FileError::NoFolder) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn count() -> Result<u64, Failure> {
    let Some(bytes) = state::get(COUNT)? else {
        return Ok(0);
    };
    str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::Permanent("the count is not a number".into()))
}

fn note(message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    log::write(Level::Info, message, &fields);
}

fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Expired => "expired",
        EndReason::Terminated => "terminated",
    }
}

/// This target has no standard error, so the text of a panic would be lost. An
/// instance may begin with any event, hence the call in each.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            log::write(Level::Error, &info.to_string(), &[])
        }))
    });
}

// What each error means for the event: may the same call succeed later?

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::RateLimited(_) | ReplyError::Unavailable(_) => {
                Self::Retry(format!("reply: {error:?}"))
            }
            ReplyError::Ended | ReplyError::InvalidLength(_) => {
                Self::Permanent(format!("reply: {error:?}"))
            }
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            // A file that is gone was removed since it was listed: list again.
            FileError::Unavailable(_) | FileError::NotFound => {
                Self::Retry(format!("files: {error:?}"))
            }
            _ => Self::Permanent(format!("files: {error:?}")),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Unavailable(_) => Self::Retry(format!("state: {error:?}")),
            _ => Self::Permanent(format!("state: {error:?}")),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Unavailable(_) => Self::Retry(format!("history: {error:?}")),
            HistoryError::InvalidCursor => Self::Permanent(format!("history: {error:?}")),
        }
    }
}
