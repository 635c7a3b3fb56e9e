//! Large files, sent piece by piece: tus 1.0 (<https://tus.io/protocols/resumable-upload>)
//! with creation, termination, expiration and checksum.
//!
//! A file is there by itself when its last byte has come.

use crate::{
    api::{
        caller::{self, Caller},
        input,
    },
    error::{Error, Kind, Result},
    files::{self, resumable},
    host::Host,
    id::{CompanyId, NodeId},
    work::library::resume::{self, At, Checksum, Piece},
};
use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    collections::HashMap,
    time::{Duration, UNIX_EPOCH},
};
use utoipa_axum::{router::OpenApiRouter, routes};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,termination,expiration,checksum";
const ALGORITHMS: &str = "sha1,sha256";

/// Of `Upload-Metadata`: a name, a type, an id, and what clients add for themselves.
const METADATA_BYTES: usize = 4_096;

/// The media type of a piece.
const PIECE: &str = "application/offset+octet-stream";

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(create, discover))
        .routes(routes!(other, at, receive, terminate, discover_one))
        .layer(middleware::from_fn(versioned))
}

/// Both sides say which version they speak.
async fn versioned(request: Request, next: Next) -> Response {
    let spoken = caller::text(request.headers(), "tus-resumable");
    let mut response = if request.method() == Method::OPTIONS || spoken == Some(VERSION) {
        next.run(request).await
    } else {
        let detail = format!("Tus-Resumable: must be {VERSION}");
        Error::new(Kind::Precondition, "tus_version", detail).into_response()
    };
    if response.status() == StatusCode::PRECONDITION_FAILED {
        set(&mut response, "tus-version", VERSION);
    }
    set(&mut response, "tus-resumable", VERSION);
    response
}

/// Tells what resumable uploads can do here.
///
/// Nobody need be signed in to know.
#[utoipa::path(
    options, path = "/files/tus", security(()),
    responses((status = 204, headers(
        ("Tus-Resumable" = String), ("Tus-Version" = String), ("Tus-Extension" = String),
        ("Tus-Checksum-Algorithm" = String), ("Tus-Max-Size" = u64),
    ))),
)]
async fn discover(State(host): State<Host>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in [
        ("tus-version", VERSION),
        ("tus-extension", EXTENSIONS),
        ("tus-checksum-algorithm", ALGORITHMS),
        ("tus-max-size", &host.config.quota.file.to_string()),
    ] {
        set(&mut response, name, value);
    }
    response
}

/// Tells what resumable uploads can do here.
///
/// It is the same for every upload. Nobody need be signed in to know.
#[utoipa::path(
    options, path = "/files/tus/{upload}", security(()),
    responses((status = 204, headers(
        ("Tus-Resumable" = String), ("Tus-Version" = String), ("Tus-Extension" = String),
        ("Tus-Checksum-Algorithm" = String), ("Tus-Max-Size" = u64),
    ))),
)]
async fn discover_one(host: State<Host>) -> Response {
    discover(host).await
}

/// Begins a resumable upload: tus 1.0. `Location` says where it is.
///
/// There is room for all of it from now on. It expires when nothing comes for a day. The file
/// is in the library by itself when its last byte has come.
#[utoipa::path(
    post, path = "/files/tus",
    params(
        ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$"),
        ("Upload-Length" = u64, Header, description = "Bytes of the whole file."),
        (
            "Upload-Metadata" = String, Header, max_length = 4_096,
            description = "`key BASE64,key BASE64`: `filename`, which must be there; `filetype`; \
                `parentId`, the folder to put it into.",
            example = "filename cmVwb3J0LnBkZg==,filetype YXBwbGljYXRpb24vcGRm",
        ),
    ),
    responses(
        (status = 201, headers(
            ("Location" = String), ("Tus-Resumable" = String), ("Upload-Offset" = u64),
            ("Upload-Expires" = String),
        )),
        (status = 400, description = "invalid_field"),
        (status = 404, description = "not_found"),
        (status = 409, description = "name_taken, too_deep"),
        (status = 412, description = "tus_version"),
        (status = 413, description = "too_many_nodes, quota_exceeded"),
        (status = 423, description = "being_written"),
        (status = 429, description = "too_many_uploads"),
    ),
)]
async fn create(
    State(host): State<Host>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Result<Response> {
    if headers.contains_key("upload-defer-length") {
        let detail = "is not supported: say Upload-Length";
        return Err(Error::field("Upload-Defer-Length", detail));
    }
    let length = number(&headers, "Upload-Length")?;
    let text = caller::text(&headers, "upload-metadata").unwrap_or_default();
    let mut told = metadata(text)?;
    let name = told.remove("filename").unwrap_or_default();
    let name = files::checked("Upload-Metadata: filename", &name)?;
    let mime_type = told.remove("filetype").filter(|kind| !kind.is_empty());
    let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let mime_type = files::media_type("Upload-Metadata: filetype", &mime_type)?;
    let parent = told.remove("parentId").filter(|id| !id.is_empty());
    let parent = parent.map(|id| input::id(&id, "file or folder")).transpose()?;
    let new = resumable::New { parent, name: &name, mime_type, length, metadata: text };
    let (company, quota) = (caller.company_id, host.config.quota);
    let mut tx = host.db.write().await?;
    let node = resumable::begin(&mut tx, &host.clock, quota, company, new).await?;
    tx.commit().await?;
    // Of no bytes: there is nothing to wait for.
    let at = resume::at(&host, company, node.id).await?;
    let mut response = StatusCode::CREATED.into_response();
    // Relative, as only the caller knows how he came here.
    set(&mut response, header::LOCATION.as_str(), &format!("tus/{}", node.id));
    tell(&mut response, &at);
    Ok(response)
}

/// Tells how far an upload is.
///
/// Whoever is sending stops: he who asks wants to go on.
#[utoipa::path(
    head, path = "/files/tus/{upload}",
    params(("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$")),
    responses(
        (status = 200, headers(
            ("Tus-Resumable" = String), ("Upload-Offset" = u64), ("Upload-Length" = u64),
            ("Upload-Metadata" = String), ("Upload-Expires" = String),
        )),
        (status = 412, description = "tus_version"),
        (status = 423, description = "being_written"),
    ),
)]
async fn at(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let at = resume::at(&host, caller.company_id, input::id(&id, "upload")?).await?;
    let mut response = StatusCode::OK.into_response();
    set(&mut response, "upload-length", &at.length.to_string());
    if let Some(upload) = at.upload.as_ref().filter(|upload| !upload.metadata.is_empty()) {
        set(&mut response, "upload-metadata", &upload.metadata);
    }
    set(&mut response, header::CACHE_CONTROL.as_str(), "no-store");
    tell(&mut response, &at);
    Ok(response)
}

/// Takes a piece of an upload. The last one makes the file.
///
/// When the line breaks, what came before is kept, unless there is a checksum for the piece. If
/// there is a file of that name by then, this one has the end of its id in its name.
#[utoipa::path(
    patch, path = "/files/tus/{upload}",
    params(
        ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$"),
        ("Upload-Offset" = u64, Header, description = "How many bytes came before."),
        (
            "Upload-Checksum" = Option<String>, Header, nullable = false,
            description = "`sha1` or `sha256`, a blank, and the digest in base64.",
        ),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, headers(
            ("Tus-Resumable" = String), ("Upload-Offset" = u64), ("Upload-Expires" = String),
        )),
        (status = 400, description = "invalid_field, body_incomplete, body_stalled"),
        (status = 409, description = "wrong_offset"),
        (status = 410, description = "upload_over"),
        (status = 412, description = "tus_version"),
        (status = 413, description = "beyond_length"),
        (status = 415, description = "not_a_piece"),
        (status = 423, description = "being_written"),
        (status = 460, description = "checksum_mismatch"),
        (status = 503, description = "stopping"),
    ),
)]
async fn receive(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    send(&host, caller.company_id, &id, request).await
}

/// Stores a piece. It goes on to the end although the line breaks, so that what came
/// before is kept.
async fn send(host: &Host, company: CompanyId, id: &str, request: Request) -> Result<Response> {
    let id: NodeId = input::id(id, "upload")?;
    let headers = request.headers();
    if caller::text(headers, header::CONTENT_TYPE.as_str()) != Some(PIECE) {
        let detail = format!("send the piece as Content-Type: {PIECE}");
        return Err(Error::new(Kind::Unsupported, "not_a_piece", detail));
    }
    let offset = number(headers, "Upload-Offset")?;
    let length = caller::text(headers, header::CONTENT_LENGTH.as_str());
    let length = length.and_then(|length| length.parse().ok());
    let piece = Piece { offset, length, checksum: checksum(headers)? };
    let (own, body) = (host.clone(), request.into_body().into_data_stream());
    let receiving = async move { resume::receive(&own, company, id, piece, body).await };
    let at = host.tasks.spawn(receiving).await.map_err(Error::internal)??;
    let mut response = StatusCode::NO_CONTENT.into_response();
    tell(&mut response, &at);
    Ok(response)
}

/// Gives an upload up: what came of it is deleted.
#[utoipa::path(
    delete, path = "/files/tus/{upload}",
    params(("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$")),
    responses(
        (status = 204),
        (status = 410, description = "upload_over"),
        (status = 412, description = "tus_version"),
        (status = 423, description = "being_written"),
    ),
)]
async fn terminate(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    resume::terminate(&host, caller.company_id, input::id(&id, "upload")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does what `X-HTTP-Method-Override` names: PATCH, DELETE or HEAD.
///
/// It is for clients behind something that does not let these pass. Headers, body and answers
/// are those of the method that is named.
#[utoipa::path(
    post, path = "/files/tus/{upload}",
    params(
        ("Tus-Resumable" = String, Header, pattern = "^1\\.0\\.0$"),
        ("X-HTTP-Method-Override" = String, Header, pattern = "^(PATCH|DELETE|HEAD)$"),
        (
            "Upload-Offset" = Option<u64>, Header, nullable = false,
            description = "How many bytes came before.",
        ),
        (
            "Upload-Checksum" = Option<String>, Header, nullable = false,
            description = "`sha1` or `sha256`, a blank, and the digest in base64.",
        ),
    ),
    request_body(content_type = "application/offset+octet-stream"),
    responses(
        (status = 200, headers(
            ("Tus-Resumable" = String), ("Upload-Offset" = u64), ("Upload-Length" = u64),
            ("Upload-Metadata" = String), ("Upload-Expires" = String),
        )),
        (status = 204, headers(
            ("Tus-Resumable" = String), ("Upload-Offset" = u64), ("Upload-Expires" = String),
        )),
        (status = 400, description = "invalid_field, body_incomplete, body_stalled"),
        (status = 408, description = "body_too_slow"),
        (status = 409, description = "wrong_offset"),
        (status = 410, description = "upload_over"),
        (status = 412, description = "tus_version"),
        (status = 413, description = "beyond_length, body_too_large"),
        (status = 415, description = "not_a_piece"),
        (status = 423, description = "being_written"),
        (status = 460, description = "checksum_mismatch"),
        (status = 503, description = "stopping"),
    ),
)]
async fn other(
    State(host): State<Host>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    match caller::text(request.headers(), "x-http-method-override") {
        Some("PATCH") => send(&host, caller.company_id, &id, request).await,
        Some("DELETE") => {
            let ended = terminate(State(host), Caller(caller), Path(id)).await?;
            Ok(ended.into_response())
        }
        Some("HEAD") => at(State(host), Caller(caller), Path(id)).await,
        _ => {
            let detail = "must be PATCH, DELETE or HEAD";
            Err(Error::field("X-HTTP-Method-Override", detail))
        }
    }
}

/// Where an upload stands, and until when it waits.
fn tell(response: &mut Response, at: &At) {
    set(response, "upload-offset", &at.offset.to_string());
    if let Some(upload) = at.upload.as_ref().filter(|_| at.offset < at.length) {
        let seconds = u64::try_from(upload.expires_at.as_secs()).unwrap_or(0);
        let until = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        set(response, "upload-expires", &until);
    }
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<u64> {
    let text = caller::text(headers, name).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|n| digits && i64::try_from(*n).is_ok());
    number.ok_or_else(|| Error::field(name, "must be a number of bytes"))
}

/// `key BASE64,key BASE64`: what the client says of the file.
fn metadata(text: &str) -> Result<HashMap<String, String>> {
    let wrong = |detail: String| Error::field("Upload-Metadata", detail);
    if text.len() > METADATA_BYTES {
        return Err(wrong(format!("has {} bytes, at most {METADATA_BYTES}", text.len())));
    }
    let mut told = HashMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64_STANDARD.decode(value).ok().and_then(|v| String::from_utf8(v).ok());
        let value = value.ok_or_else(|| wrong(format!("{key} is not base64 of UTF-8")))?;
        if told.insert(key.to_owned(), value).is_some() {
            return Err(wrong(format!("{key} comes twice")));
        }
    }
    Ok(told)
}

fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>> {
    let Some(text) = headers.get("upload-checksum") else { return Ok(None) };
    let wrong = |detail| Error::field("Upload-Checksum", detail);
    let (algorithm, digest) = text
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| wrong("must be an algorithm, a blank, and base64".to_owned()))?;
    let digest = BASE64_STANDARD.decode(digest.trim());
    let digest = digest.map_err(|_| wrong("is not base64".to_owned()))?;
    match (algorithm, digest.len()) {
        ("sha1", 20) => Ok(Some(Checksum::Sha1(digest))),
        ("sha256", 32) => Ok(Some(Checksum::Sha256(digest))),
        ("sha1" | "sha256", bytes) => {
            Err(wrong(format!("has {bytes} bytes, which {algorithm} has not")))
        }
        _ => Err(wrong(format!("the algorithms are {ALGORITHMS}"))),
    }
}

fn set(response: &mut Response, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}
