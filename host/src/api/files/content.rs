//! Bytes in and out, through links that open by themselves.
//!
//! Nothing here is signed in: the link is all. But every use of one looks again whether
//! its owner could still make it, so that what is taken back is taken back at once.

use crate::{
    api::input::Params,
    error::{Error, Kind, Result},
    files::{
        self, Node, doomed,
        link::{Link, Right},
        uploads, usage,
    },
    host::Host,
    id::NodeId,
    sessions,
    storage::Tx,
    work::library::body::{self, Next},
};
use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::ops::Range;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(receive)).routes(routes!(serve))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Token {
    /// As the link has it.
    token: Option<String>,
}

/// The link, if it is one of ours, for this, and has not expired.
fn opened(host: &Host, right: Right, id: &str, token: Token) -> Result<Link> {
    let wrong = || Error::forbidden("bad_link", "the link is not one that the platform made");
    let link = token.token.and_then(|token| Link::read(&host.key, &token)).ok_or_else(wrong)?;
    if link.right != right || id.parse() != Ok(link.node) {
        return Err(wrong());
    }
    if link.until <= host.clock.now() {
        return Err(Error::forbidden("link_expired", "the link has expired; ask for another"));
    }
    Ok(link)
}

/// An agent's links are dead with its token.
async fn alive(tx: &mut Tx, link: Link) -> Result<()> {
    let Some(session) = link.session else { return Ok(()) };
    let session = sessions::find(tx, session).await?;
    if session.is_some_and(|session| !session.over()) {
        return Ok(());
    }
    Err(Error::forbidden("session_ended", "the link was for a session that is over"))
}

/// Takes the bytes of an upload, through the link that was given for it.
///
/// Nobody need be signed in. Any Content-Type will do. Bytes may be sent anew until the upload
/// is completed: the last ones count.
#[utoipa::path(
    put, path = "/f/u/{node}", security(()), params(Token),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200),
        (status = 400, description = "body_incomplete, body_stalled"),
        (status = 403, description = "bad_link, link_expired, session_ended"),
        (status = 410, description = "upload_over"),
        (status = 413, description = "quota_exceeded"),
    ),
)]
async fn receive(
    State(host): State<Host>,
    Path(id): Path<String>,
    Params(token): Params<Token>,
    request: Request,
) -> Result<StatusCode> {
    let link = opened(&host, Right::Put, &id, token)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let (key, room) = admitted(&host, link, length).await?;
    let kept = keep(&host, link.node, &key, room, request.into_body()).await;
    if kept.is_err() {
        // It is doomed already; there is no need to wait for its day.
        let mut tx = host.db.write().await?;
        doomed::hurry(&mut tx, &key, host.clock.now()).await?;
        tx.commit().await?;
    }
    kept.map(|()| StatusCode::OK)
}

/// Where the bytes are to be kept, and how many there is room for.
async fn admitted(host: &Host, link: Link, length: Option<u64>) -> Result<(String, u64)> {
    let quota = host.config.quota;
    let mut tx = host.db.write().await?;
    alive(&mut tx, link).await?;
    let upload = uploads::find(&mut tx, link.node).await?;
    let upload = upload.filter(|upload| upload.expires_at > host.clock.now());
    let upload = upload.ok_or_else(uploads::over)?;
    let room = usage::room(&mut tx, quota, upload.company_id, upload.session_id).await?;
    // What came before makes room for what comes.
    let had = upload.bytes.and_then(|had| u64::try_from(had).ok()).unwrap_or(0);
    let room = (room + had).min(quota.file);
    if let Some(length) = length.filter(|length| *length > room) {
        return Err(usage::exceeded(length, room));
    }
    let key = uploads::object_key(&host.clock, upload.company_id, link.node);
    doomed::writing(&mut tx, &host.clock, &key).await?;
    tx.commit().await?;
    Ok((key, room))
}

/// Writes a body into the store as it comes, and makes it the upload's.
async fn keep(host: &Host, node: NodeId, key: &str, room: u64, body: Body) -> Result<()> {
    let mut upload = host.objects.upload(key)?;
    let mut body = body.into_data_stream();
    loop {
        let piece = match body::next(&mut body).await {
            Next::Piece(piece) => piece,
            Next::End => break,
            Next::Broken(why) => return Err(why),
        };
        let bytes = upload.size() + piece.len() as u64;
        if bytes > room {
            return Err(usage::exceeded(bytes, room));
        }
        upload.write(piece).await?;
    }
    let bytes = upload.size();
    upload.finish().await?;
    let mut tx = host.db.write().await?;
    uploads::stored(&mut tx, &host.clock, host.config.quota, node, key, bytes).await?;
    Ok(tx.commit().await?)
}

/// Sends the bytes of a file, through the link that was given for it.
///
/// Nobody need be signed in. They have the file's own media type, and a browser saves them
/// rather than showing them. One range can be asked for. HEAD is answered the same, without
/// the bytes.
#[utoipa::path(
    get, path = "/f/d/{node}", security(()),
    params(
        Token,
        ("Range" = Option<String>, Header, nullable = false, description = "`bytes=0-1023`"),
        (
            "If-Range" = Option<String>, Header, nullable = false,
            description = "An `ETag`: if the file has another, all of it is sent.",
        ),
        (
            "If-None-Match" = Option<String>, Header, nullable = false,
            description = "An `ETag`: if the file has it, nothing is sent.",
        ),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String), ("Accept-Ranges" = String), ("Content-Disposition" = String),
        )),
        (status = 206, body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String), ("Content-Range" = String), ("Content-Disposition" = String),
        )),
        (status = 304, headers(("ETag" = String))),
        (status = 403, description = "bad_link, link_expired, session_ended"),
        (status = 404, description = "not_found"),
        (status = 416, description = "range_not_satisfiable"),
    ),
)]
async fn serve(
    State(host): State<Host>,
    Path(id): Path<String>,
    Params(token): Params<Token>,
    headers: HeaderMap,
) -> Result<Response> {
    let link = opened(&host, Right::Get, &id, token)?;
    let node = {
        let mut tx = host.db.read().await?;
        alive(&mut tx, link).await?;
        let found = match link.session {
            Some(session) => files::agent::seen(&mut tx, session, link.node).await?,
            None => files::tree::ready(&mut tx, link.node).await?,
        };
        found.filter(|node| node.kind == "file").ok_or(Error::not_found("file"))?
    };
    let size = node.file_size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    // What a node has never changes: its name is a strong validator.
    let etag = format!("\"{}\"", node.id);
    let mut response = if matches(&headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match range(&headers, size, &etag) {
            Asked::Whole => whole(&host, &node, size).await?,
            Asked::Part(part) => part_of(&host, &node, part, size).await?,
            Asked::Nothing => {
                let detail = format!("the file has {size} bytes");
                let mut response =
                    Error::new(Kind::Range, "range_not_satisfiable", detail).into_response();
                let all = format!("bytes */{size}");
                set(&mut response, header::CONTENT_RANGE, &all);
                return Ok(response);
            }
        }
    };
    dress(&mut response, &node, &etag);
    Ok(response)
}

async fn whole(host: &Host, node: &Node, size: u64) -> Result<Response> {
    let bytes = host.objects.stream(node.key().unwrap_or_default(), 0..size).await?;
    let mut response = Body::from_stream(bytes).into_response();
    set(&mut response, header::CONTENT_LENGTH, &size.to_string());
    Ok(response)
}

async fn part_of(host: &Host, node: &Node, part: Range<u64>, size: u64) -> Result<Response> {
    let bytes = host.objects.stream(node.key().unwrap_or_default(), part.clone()).await?;
    let mut response = (StatusCode::PARTIAL_CONTENT, Body::from_stream(bytes)).into_response();
    let place = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    set(&mut response, header::CONTENT_RANGE, &place);
    set(&mut response, header::CONTENT_LENGTH, &(part.end - part.start).to_string());
    Ok(response)
}

/// A browser shows none of it as a page of ours, whatever it is.
fn dress(response: &mut Response, node: &Node, etag: &str) {
    let kind = node.mime_type.as_deref().unwrap_or("application/octet-stream");
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-site"),
        (header::CONTENT_DISPOSITION, &files::disposition(&node.name)),
    ] {
        set(response, name, value);
    }
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Does a list of validators name this one?
fn matches(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    let named = |one: &str| one == "*" || one.trim_start_matches("W/") == etag;
    lists.flat_map(|list| list.split(',')).any(|one| named(one.trim()))
}

enum Asked {
    Whole,
    Part(Range<u64>),
    /// There is no such part.
    Nothing,
}

/// One range, as RFC 9110 §14 has it. Several at once, or what is none, get the whole.
fn range(headers: &HeaderMap, size: u64, etag: &str) -> Asked {
    if headers.contains_key(header::IF_RANGE) && !matches(headers, header::IF_RANGE, etag) {
        return Asked::Whole;
    }
    let text = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) = text
        .and_then(|text| text.trim().strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>());
    let part = match (first, last) {
        ("", "") => return Asked::Whole,
        ("", last) => match number(last) {
            Some(last) => size.saturating_sub(last.unwrap_or(u64::MAX))..size,
            None => return Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), _) if last.is_empty() => first.unwrap_or(u64::MAX)..size,
            (Some(first), Some(last)) => {
                let (first, last) = (first.unwrap_or(u64::MAX), last.unwrap_or(u64::MAX));
                if last < first {
                    return Asked::Whole;
                }
                first..size.min(last.saturating_add(1))
            }
            _ => return Asked::Whole,
        },
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Nothing }
}
