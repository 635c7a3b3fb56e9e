//! What an agent outside calls: prove its token or say that it is ready, reply whole or
//! in pieces, show that it is typing, read the conversation.

use super::{
    caller::{self, Agent},
    input::{self, Body, Params},
    page::{self, Listed, Page},
};
use crate::{
    bus::Signal,
    error::{Error, Kind, Result},
    host::Host,
    id::{EventId, SessionId},
    sandbox::REPLY_BYTES,
    sessions::{
        self, Session, drafts, lane, lines,
        log::{self, Entry, Message},
        replies::{self, Replied, ReplyKey, Speaker},
    },
    work::lane::announce,
};
use axum::{
    Json,
    extract::{FromRequest, Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The longest name of a reply in pieces, and the longest idempotency key.
const NAME_BYTES: usize = 128;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(auth))
        .routes(routes!(message))
        .routes(routes!(typing))
        .routes(routes!(activate))
        .routes(routes!(messages))
}

/// How an agent that sends no header shows who it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentToken {
    agent_auth_token: String,
}

/// The session whose agent is ready.
#[derive(Serialize, ToSchema)]
struct AgentReady {
    session: Session,
}

/// Proves who the agent is, and says that it is ready.
///
/// The token is in a header, or in the body. Whoever has a body is known by that alone. Saying
/// so again changes nothing and answers the session as it is.
#[utoipa::path(
    post, path = "/agent/{session}/auth", request_body = Option<AgentToken>,
    responses((status = 200, body = AgentReady)),
)]
async fn auth(
    State(host): State<Host>,
    Path(id): Path<String>,
    given: std::result::Result<Agent, Error>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<AgentReady>> {
    let length = headers.get("content-length");
    let bodiless =
        length.is_none_or(|length| length == "0") && !headers.contains_key("transfer-encoding");
    let session = if bodiless {
        given?.0
    } else {
        let Body(given) = Body::<AgentToken>::from_request(request, &host).await?;
        caller::agent(&host, &id, &given.agent_auth_token).await?
    };
    Ok(Json(AgentReady { session: ready(&host, session.id).await? }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activation {
    /// What the published SDK says that it can do; the catalogue has the builder's word.
    #[serde(default, rename = "capabilities")]
    _capabilities: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Activated {
    /// True.
    success: bool,
}

/// Says that the agent is ready, as the published SDK does.
///
/// Saying so again changes nothing.
#[utoipa::path(
    post, path = "/agent/sessions/{session}/activate", request_body = Activation,
    responses((status = 200, body = Activated)),
)]
async fn activate(
    State(host): State<Host>,
    Agent(session): Agent,
    Body(Activation { .. }): Body<Activation>,
) -> Result<Json<Activated>> {
    ready(&host, session.id).await?;
    Ok(Json(Activated { success: true }))
}

/// The agent is ready; the session as it is now. Saying so again changes nothing.
pub(super) async fn ready(host: &Host, id: SessionId) -> Result<Session> {
    let mut tx = host.db.write().await?;
    let activated = sessions::activate(&mut tx, &host.clock, id).await?;
    if activated.is_some() {
        lane::hurry(&mut tx, id, host.clock.now()).await?;
    }
    let session = sessions::find(&mut tx, id).await?.ok_or(Error::not_found("session"))?;
    tx.commit().await?;
    if let Some(entry) = activated {
        announce(host, &entry);
        host.due.notify_one();
    }
    Ok(session)
}

/// A reply, or a piece of one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reply {
    /// At most 256 KiB, all pieces together. Only the last piece may be empty, and no reply
    /// may be blank.
    #[serde(default)]
    #[schema(max_length = 262_144, pattern = "^[^\\x00]*$", examples("The second is cheaper."))]
    content: String,
    /// Names a reply that comes in pieces; a new one needs a new name.
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\x00]+$", examples("answer-1"))]
    stream_id: Option<String>,
    /// This piece is the last.
    #[serde(default)]
    done: bool,
}

/// A piece of a reply that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TakenPiece {
    /// The id that the message will have.
    message_id: EventId,
    stream_id: String,
}

/// Says something to the client: a whole reply, or a piece of one.
///
/// Without `streamId` the content is stored as a message. With one it is added to what came
/// under that name before, and shown to the client at once; the piece with `done` stores it
/// all as one message. Up to 16 replies may be open at a time. A whole reply that is sent
/// again with its `Idempotency-Key`, or a last piece, is stored once and answered the same,
/// for as long as the session lasts.
#[utoipa::path(
    post, path = "/agent/{session}/message", request_body = Reply,
    params((
        "Idempotency-Key" = Option<String>, Header, nullable = false,
        description = "Names a whole reply: sent again, it is stored once.",
        min_length = 1, max_length = 128, pattern = "^[ -~]+$",
    )),
    responses(
        (status = 201, body = Message, headers(
            ("Idempotent-Replayed" = String, description = "`true`: it was stored before."),
        )),
        (status = 202, body = TakenPiece),
        (status = 400, description = "invalid_header"),
        (status = 409, description = "stream_finished, too_many_streams"),
        (status = 413, description = "content_too_large, reply_too_long"),
        (status = 422, description = "idempotency_key_reused"),
    ),
)]
async fn message(
    State(host): State<Host>,
    Agent(session): Agent,
    headers: HeaderMap,
    Body(reply): Body<Reply>,
) -> Result<Response> {
    let key = idempotency_key(&headers)?;
    match &reply.stream_id {
        None if reply.done => {
            Err(Error::field("/done", "goes with streamId; a whole reply needs neither"))
        }
        None => whole(&host, session.id, &reply.content, key).await,
        Some(_) if key.is_some() => {
            let detail = "Idempotency-Key is for whole replies, not for pieces";
            Err(Error::new(Kind::Invalid, "invalid_header", detail))
        }
        Some(stream) => piece(&host, &session, stream, &reply).await,
    }
}

async fn whole(
    host: &Host,
    session: SessionId,
    content: &str,
    key: Option<ReplyKey>,
) -> Result<Response> {
    match say(host, session, content, key).await? {
        Replied::Before(entry) if entry.text("content") != content => {
            let detail = "this Idempotency-Key came before with another content";
            Err(Error::new(Kind::Refused, "idempotency_key_reused", detail))
        }
        Replied::Before(entry) => Ok(replayed(&entry)),
        replied => stored(replied),
    }
}

/// Stores a whole reply and shows it.
pub(super) async fn say(
    host: &Host,
    session: SessionId,
    content: &str,
    key: Option<ReplyKey>,
) -> Result<Replied> {
    input::content(content, REPLY_BYTES)?;
    let (clock, id) = (&host.clock, host.clock.id());
    let mut tx = host.db.write().await?;
    let replied = replies::reply(&mut tx, clock, session, Speaker::Token, id, content, key).await?;
    tx.commit().await?;
    if let Replied::Now(entry) = &replied {
        announce(host, entry);
    }
    Ok(replied)
}

/// The message that the same call stored before.
fn replayed(entry: &Entry) -> Response {
    let replayed = [("idempotent-replayed", "true")];
    (StatusCode::CREATED, replayed, Json(entry.json())).into_response()
}

/// Adds a piece to a reply; the last one stores it as one message.
async fn piece(host: &Host, session: &Session, stream: &str, reply: &Reply) -> Result<Response> {
    if stream.is_empty() || stream.len() > NAME_BYTES || stream.contains('\0') {
        return Err(Error::field("/streamId", format!("must have 1 to {NAME_BYTES} bytes")));
    }
    input::within(&reply.content, REPLY_BYTES)?;
    if reply.content.is_empty() && !reply.done {
        return Err(Error::field("/content", "must not be empty in a piece that is not the last"));
    }
    let clock = &host.clock;
    // The stream's name is its reply's key: the last piece may come again.
    let key = ReplyKey { text: format!("stream:{stream}"), maybe_used: true };
    let mut tx = host.db.write().await?;
    if let Some(entry) = replies::replied(&mut tx, session.id, &key).await? {
        if !reply.done {
            let detail = "the reply of this streamId is finished; a new one needs a new streamId";
            return Err(Error::conflict("stream_finished", detail));
        }
        return Ok(replayed(&entry));
    }
    let draft =
        drafts::append(&mut tx, clock, session.id, stream, &reply.content, REPLY_BYTES).await?;
    let replied = if reply.done {
        input::content(&draft.content, REPLY_BYTES)?;
        drafts::delete(&mut tx, session.id, stream).await?;
        let (id, text) = (draft.message_id, draft.content.as_str());
        let replied =
            replies::reply(&mut tx, clock, session.id, Speaker::Token, id, text, Some(key));
        Some(replied.await?)
    } else {
        None
    };
    tx.commit().await?;
    show(host, session.id, &draft, &reply.content);
    match replied {
        None => {
            let (message_id, stream_id) = (draft.message_id, stream.to_owned());
            let body = TakenPiece { message_id, stream_id };
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Some(replied) => {
            if let Replied::Now(entry) = &replied {
                announce(host, entry);
            }
            host.bus.written(session.id, draft.message_id);
            stored(replied)
        }
    }
}

/// Shows readers the piece that was just added.
fn show(host: &Host, session: SessionId, draft: &drafts::Draft, piece: &str) {
    if piece.is_empty() {
        return;
    }
    let before = &draft.content[..draft.content.len() - piece.len()];
    let offset = before.encode_utf16().count() as u64;
    let line = lines::delta(draft.message_id, offset, piece);
    host.bus.write(session, draft.message_id, Some(before), piece, (offset, line));
}

fn stored(replied: Replied) -> Result<Response> {
    match replied {
        Replied::Now(entry) | Replied::Before(entry) => {
            Ok((StatusCode::CREATED, Json(entry.json())).into_response())
        }
        Replied::Ended | Replied::Superseded => Err(Error::unauthenticated("the session is over")),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<ReplyKey>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let value = value.to_str().ok().filter(|key| (1..=NAME_BYTES).contains(&key.len()));
    let Some(key) = value else {
        let detail =
            format!("Idempotency-Key must have 1 to {NAME_BYTES} visible ASCII characters");
        return Err(Error::new(Kind::Invalid, "invalid_header", detail));
    };
    Ok(Some(ReplyKey { text: format!("key:{key}"), maybe_used: true }))
}

/// Shows the client that the agent is typing.
///
/// It is shown for a moment, and kept nowhere.
#[utoipa::path(post, path = "/agent/{session}/typing", responses((status = 204)))]
async fn typing(State(host): State<Host>, Agent(session): Agent) -> StatusCode {
    host.bus.wake(session.id, Signal::Passing(lines::typing()));
    StatusCode::NO_CONTENT
}

/// Lists what was said in the agent's session, newest first.
///
/// A page ends before its `limit` when it has a mebibyte of text.
#[utoipa::path(
    get, path = "/agent/sessions/{session}/messages", params(Page),
    responses((status = 200, body = Listed<Message>)),
)]
async fn messages(
    State(host): State<Host>,
    Agent(session): Agent,
    Params(page): Params<Page>,
) -> Result<Json<Value>> {
    let (limit, before) = (page.limit()?, page.cursor::<i64>()?);
    let mut tx = host.db.read().await?;
    let found = log::newest(&mut tx, session.id, "message", before, limit).await?;
    Ok(page::of(&found.entries, found.more, |entry| entry.seq.to_string(), Entry::json))
}
