//! The socket that an agent keeps open instead of being called: the bridge of the
//! published SDK.
//!
//! One task has the socket. It stores what the agent says in the order in which it comes
//! (and reads no further meanwhile), writes what the session's lane hands over, and
//! pings. It sends nothing but clients' messages, because the SDK takes every frame for
//! one; whatever else the agent should know is in the code with which it is closed.

mod end;
mod frame;

use super::{agent, caller, input::Params};
use crate::{
    bus::Signal,
    delivery::socket::{Line, Order, Orders, Parting},
    error::{Error, Kind, Result},
    host::Host,
    id::{SessionId, SocketId},
    sessions::{
        lines,
        replies::Replied,
        sockets::{self, Attached, Status},
    },
    work,
};
use axum::{
    extract::{
        State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    http::HeaderMap,
    response::Response,
};
use end::{End, PARTING, close};
use frame::{BAD_FRAMES, FRAME_BYTES, Frame, READ_BYTES};
use serde::Deserialize;
use std::time::Duration;
use tokio::{sync::oneshot, time::timeout};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long the other side may leave unread what is written to it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a socket reads at once: thousands of idle ones cost little.
const BUFFER_BYTES: usize = 4 << 10;

pub(super) fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new().routes(routes!(open))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    /// The agent's session.
    #[param(value_type = SessionId)]
    session_id: String,
}

/// Opens a WebSocket for a session's agent, as the published SDK's bridge does.
///
/// While it is open, messages of the client come through it instead of a webhook, as
/// `{"type":"message","from":"client","id","content","createdAt"}`. The agent sends the frames
/// `ready`, `heartbeat`, `pulse` and `message`. It is closed with 4000 when a newer one takes
/// its place, with 4001 when the session is over, and with 4002 when nothing was heard for a
/// minute.
#[utoipa::path(
    get, path = "/agent/ws", params(Query),
    responses(
        (status = 101),
        (status = 400, description = "not_a_websocket"),
        (status = 409, description = "component_agent"),
    ),
)]
async fn open(
    State(host): State<Host>,
    Params(query): Params<Query>,
    headers: HeaderMap,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let session = caller::shown(&host, &query.session_id, &headers).await?;
    if session.delivery == "component" {
        let detail = "the session's events go to the agent's component, not through a socket";
        return Err(Error::conflict("component_agent", detail));
    }
    let upgrade = upgrade
        .map_err(|rejected| Error::new(Kind::Invalid, "not_a_websocket", rejected.body_text()))?;
    let upgrade = upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_frame_size(READ_BYTES)
        .max_message_size(READ_BYTES);
    Ok(upgrade.on_upgrade(move |socket| {
        let tasks = host.tasks.clone();
        tasks.track_future(talk(host, session.id, socket))
    }))
}

/// From the upgrade to the last byte.
async fn talk(host: Host, session: SessionId, socket: WebSocket) {
    let id: SocketId = host.clock.id();
    let opened = host.sockets.open(session, id, host.clock.now());
    let Some((line, mut orders)) = opened else {
        return close(socket, Some(End::Parted(Parting::Replaced))).await;
    };
    let mut talk = Talk {
        host,
        session,
        id,
        socket,
        line,
        bad: 0,
        pings: 0,
        unproven: None,
        status: Status::Online,
    };
    let end = match talk.attach().await {
        Ok(Attached::Here) => talk.listen(&mut orders).await,
        Ok(Attached::Superseded) => End::Parted(Parting::Replaced),
        Ok(Attached::Over) => End::Parted(Parting::Over),
        Err(error) => {
            tracing::error!(%error, %session, "a socket could not be attached");
            End::Failed
        }
    };
    tracing::debug!(%session, ?end, "a socket is closed");
    talk.detach(end).await;
    // Whoever waits for these looks for another way, and must not find this one.
    drop(orders);
    talk.part(end).await;
}

struct Talk {
    host: Host,
    session: SessionId,
    id: SocketId,
    socket: WebSocket,
    line: Line,
    /// Frames in a row that meant nothing.
    bad: u32,
    /// Pings so far: the last one's payload.
    pings: u64,
    /// A message that was written, and the ping behind it.
    unproven: Option<(u64, oneshot::Sender<()>)>,
    /// What it last said of itself.
    status: Status,
}

impl Talk {
    async fn attach(&mut self) -> Result<Attached> {
        let host = &self.host;
        let mut tx = host.db.write().await?;
        let now = host.clock.now();
        let attached = sockets::attach(&mut tx, self.session, self.id, host.node, now).await?;
        tx.commit().await?;
        if attached == Attached::Here {
            host.due.notify_one();
            // Readers see it; another process may have the one before it.
            host.bus.announce(self.session, Signal::Presence);
        }
        Ok(attached)
    }

    async fn listen(&mut self, orders: &mut Orders) -> End {
        let mut news = self.host.bus.listen(self.session);
        let stopping = self.host.stopping.clone();
        loop {
            let step = tokio::select! {
                message = self.socket.recv() => self.hear(message).await,
                order = orders.next() => match order {
                    Ok(order) => self.obey(order).await,
                    Err(why) => Err(End::Parted(why)),
                },
                signal = news.next() => match signal {
                    // From another process, or more than could be kept up with.
                    Signal::News => self.look().await,
                    _ => Ok(()),
                },
                // What is on its way may arrive.
                () = stopping.cancelled(), if self.unproven.is_none() => {
                    Err(End::Parted(Parting::Restart))
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Takes what came in.
    async fn hear(
        &mut self,
        message: Option<std::result::Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        let message = message.ok_or(End::Gone)??;
        // Nothing more is read meanwhile: its system tells it to slow down.
        self.host.pace.calls.wait(&self.session).await;
        self.line.hear(self.host.clock.now());
        let text = match message {
            Message::Text(text) if text.len() > FRAME_BYTES => return Err(End::TooLong),
            Message::Binary(bytes) if bytes.len() > FRAME_BYTES => return Err(End::TooLong),
            Message::Text(text) => text,
            Message::Binary(_) => return self.nonsense("binary"),
            Message::Pong(payload) => {
                self.prove(&payload);
                return Ok(());
            }
            // The library answers by itself.
            Message::Ping(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        match frame::read(&text) {
            Ok(frame) => {
                self.bad = 0;
                self.take(frame).await
            }
            Err(why) => self.nonsense(&why),
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), End> {
        let (host, session) = (self.host.clone(), self.session);
        let taken = async {
            match frame {
                Frame::Ready => agent::ready(&host, session).await.map(|_| ()),
                Frame::Heartbeat => Ok(()),
                Frame::Typing => {
                    host.bus.wake(session, Signal::Passing(lines::typing()));
                    Ok(())
                }
                Frame::Status(status) => self.status(status).await,
                Frame::Say(content) => match agent::say(&host, session, &content, None).await? {
                    Replied::Ended => {
                        self.line.close(Parting::Over);
                        Ok(())
                    }
                    _ => Ok(()),
                },
            }
        };
        taken.await.map_err(|error| {
            // There is no way to tell the agent but to hang up.
            tracing::error!(%error, %session, "what an agent said could not be taken");
            End::Failed
        })
    }

    /// A frame that means nothing is answered by nothing.
    fn nonsense(&mut self, why: &str) -> Result<(), End> {
        tracing::debug!(session = %self.session, why, "a frame that means nothing");
        self.bad += 1;
        if self.bad < BAD_FRAMES { Ok(()) } else { Err(End::Nonsense) }
    }

    async fn status(&mut self, status: Status) -> Result<()> {
        if self.status == status {
            return Ok(());
        }
        let mut tx = self.host.db.write().await?;
        sockets::set_status(&mut tx, self.session, self.id, status).await?;
        tx.commit().await?;
        self.status = status;
        self.host.bus.announce(self.session, Signal::Presence);
        Ok(())
    }

    /// The library on the other side has read everything up to this ping.
    fn prove(&mut self, payload: &[u8]) {
        if let Some((_, arrived)) = self.unproven.take_if(|(ping, _)| ping.to_be_bytes() == payload)
        {
            // Nobody waits any more: it was too late.
            let _ = arrived.send(());
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        if let Order::Tell { frame, arrived } = order {
            // Given up only when nobody finds this socket any more.
            self.unproven = Some((self.pings + 1, arrived));
            self.write(Message::Text(frame.into())).await?;
        }
        self.pings += 1;
        self.write(Message::Ping(self.pings.to_be_bytes().to_vec().into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(PATIENCE, self.socket.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(End::Parted(Parting::Stale)),
        }
    }

    /// Is this still the session's socket? What waits for it is due here.
    async fn look(&mut self) -> Result<(), End> {
        self.host.due.notify_one();
        match work::sockets::parted(&self.host, self.session, self.id).await {
            Ok(None) => Ok(()),
            Ok(Some(parting)) => Err(End::Parted(parting)),
            Err(error) => {
                tracing::error!(%error, session = %self.session, "cannot look whose socket it is");
                Ok(())
            }
        }
    }

    /// Nobody finds it any more. The place of one that was replaced is taken already.
    async fn detach(&mut self, end: End) {
        self.host.sockets.remove(self.session, self.id);
        if matches!(end, End::Parted(Parting::Replaced | Parting::Over)) {
            return;
        }
        let detached = async {
            let mut tx = self.host.db.write().await?;
            let detached = sockets::detach(&mut tx, self.session, self.id).await?;
            tx.commit().await?;
            Ok::<_, Error>(detached)
        };
        match detached.await {
            Ok(true) => self.host.bus.announce(self.session, Signal::Presence),
            Ok(false) => {}
            // It is believed to be here until it was silent for too long.
            Err(error) => tracing::error!(%error, "a socket could not be detached"),
        }
    }

    /// Says goodbye, and hears what was still on its way.
    async fn part(mut self, end: End) {
        if !end.listens() {
            self.unproven = None;
            return close(self.socket, Some(end)).await;
        }
        if let Some((code, reason)) = end.code() {
            let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            if self.write(farewell).await.is_err() {
                return;
            }
        }
        let rest = async {
            while let Some(message) = self.socket.recv().await {
                if self.hear(Some(message)).await.is_err() {
                    break;
                }
            }
        };
        let _ = timeout(PARTING, rest).await;
        close(self.socket, None).await;
    }
}
