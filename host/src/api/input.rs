//! Reading what a caller sent, strictly: a field of the wrong type, an unknown one
//! or a missing one is named by its JSON pointer.

use crate::{
    error::{Error, Kind, Result},
    host::Host,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use std::{ops::RangeInclusive, str::FromStr, time::Duration};

/// How long a body that is read as a whole may take: a mebibyte at the pace of a bad mobile
/// connection.
const BODY_TIME: Duration = Duration::from_mins(1);

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Host> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, host: &Host) -> Result<Self> {
        said_json(request.headers())?;
        parse(&bytes(request, host, super::BODY_BYTES).await?).map(Self)
    }
}

/// 415 when the body is said to be something else.
pub(super) fn said_json(headers: &HeaderMap) -> Result<()> {
    let kind = super::caller::text(headers, header::CONTENT_TYPE.as_str());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json") {
        return Ok(());
    }
    let detail = "send the body as Content-Type: application/json";
    Err(Error::new(Kind::Unsupported, "not_json", detail))
}

/// A body of at most `most` bytes, whatever it is.
pub(super) async fn bytes(request: Request, host: &Host, most: usize) -> Result<Bytes> {
    let read = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, host)).await;
    let read = read.map_err(|_| {
        let detail = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
        Error::new(Kind::Slow, "body_too_slow", detail)
    })?;
    read.map_err(|rejected| {
        if rejected.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            return Error::new(
                Kind::TooLarge,
                "body_too_large",
                format!("the body is larger than {most} bytes"),
            );
        }
        Error::new(Kind::Invalid, "body_incomplete", "the body broke off")
    })
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // Serde takes a list for the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::field("", "must be an object, not a list"));
    }
    // Says where the text itself is broken, before its meaning is looked at.
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let detail = error.inner().to_string();
        if error.inner().is_data() {
            return Error::field(&pointer(error.path(), &detail), detail);
        }
        Error::new(Kind::Invalid, "not_json", format!("the body is not JSON: {detail}"))
    })?;
    let rest = json.end();
    rest.map_err(|error| {
        Error::new(Kind::Invalid, "not_json", format!("the body is not JSON: {error}"))
    })?;
    Ok(value)
}

/// Where it is; for a field that is missing or comes twice, with its own name.
fn pointer(path: &serde_path_to_error::Path, detail: &str) -> String {
    use serde_path_to_error::Segment;
    let mut names: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    if detail.starts_with("missing field") || detail.starts_with("duplicate field") {
        names.extend(detail.split('`').nth(1).map(str::to_owned));
    }
    names.iter().map(|name| format!("/{name}")).collect::<Vec<_>>().concat()
}

/// Query parameters.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Host> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self> {
        // No parameter has a use for NUL, and PostgreSQL takes it in no text.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Error::new(Kind::Invalid, "invalid_query", "must not contain NUL"));
        }
        let query = Query::from_request_parts(parts, host).await;
        let Query(params) =
            query.map_err(|error| Error::new(Kind::Invalid, "invalid_query", error.body_text()))?;
        Ok(Self(params))
    }
}

/// An id in a path. One that cannot be an id names nothing.
pub(super) fn id<T: FromStr>(text: &str, what: &'static str) -> Result<T> {
    text.parse().map_err(|_| Error::not_found(what))
}

/// A text for people: not blank, within its length in characters, without control
/// characters but line breaks and tabs. Returned without blanks around it.
pub(super) fn text(pointer: &str, value: &str, length: RangeInclusive<usize>) -> Result<String> {
    let value = value.trim();
    if !length.contains(&value.chars().count()) {
        let (min, max) = (length.start(), length.end());
        return Err(Error::field(pointer, format!("must have {min} to {max} characters")));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::field(pointer, "must not contain control characters"));
    }
    Ok(value.to_owned())
}

/// A name of somebody or something: a line of 1 to 200 characters, none of which moves
/// others about or hides between them.
pub(super) fn name(pointer: &str, value: &str) -> Result<String> {
    let name = text(pointer, value, 1..=200)?;
    if name.chars().any(|c| c.is_control() || hides(c)) {
        return Err(Error::field(pointer, "must be one line of visible characters"));
    }
    if name.chars().all(|c| c.is_whitespace() || joins(c)) {
        return Err(Error::field(pointer, "must have something to see"));
    }
    Ok(name)
}

/// What is only seen in what is beside it: joiners, and what chooses between variants.
fn joins(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// Bidirectional controls (UAX #9), zero-width characters, line separators, tags.
fn hides(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// What someone says in a conversation: not blank, at most `most` bytes.
pub(super) fn content(value: &str, most: usize) -> Result<()> {
    if value.trim().is_empty() {
        return Err(Error::field("/content", "must not be blank"));
    }
    within(value, most)
}

pub(super) fn within(value: &str, most: usize) -> Result<()> {
    if value.len() > most {
        let why = format!("has {} bytes, at most {most}", value.len());
        let mut error = Error::field("/content", why);
        (error.kind, error.code) = (Kind::TooLarge, "content_too_large");
        return Err(error);
    }
    // PostgreSQL stores no NUL in text.
    if value.contains('\0') {
        return Err(Error::field("/content", "must not contain NUL"));
    }
    Ok(())
}

/// For a field of a PATCH that may be left out but not set to null.
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// For a field of a PATCH that may be set to null: absent, null or a value.
pub(super) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
