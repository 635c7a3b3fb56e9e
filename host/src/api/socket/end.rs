//! How a socket ends, and what the other side is told of it.

use crate::delivery::socket::Parting;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use std::time::Duration;
use tokio::time::timeout;
use tungstenite::error::{Error as Wire, ProtocolError};

/// How long a socket that is closed is still listened to: what the agent said before it
/// knew is heard, and its answer to the close is waited for.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The agent did it.
    Gone,
    Parted(Parting),
    /// It speaks something else.
    Nonsense,
    TooLong,
    /// What it sends is no WebSocket any more.
    Broken,
    NotUtf8,
    Failed,
}

impl End {
    /// The code for the other side, and the reason; none when it is gone.
    pub(super) fn code(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Self::Gone => return None,
            Self::Parted(Parting::Replaced) => (4000, "replaced"),
            Self::Parted(Parting::Over) => (4001, "session_ended"),
            Self::Parted(Parting::Stale) => (4002, "stale"),
            Self::Parted(Parting::Restart) => (1012, "restart"),
            Self::Nonsense => (1008, "unknown_frames"),
            Self::TooLong => (1009, "too_long"),
            Self::Broken => (1002, "not_a_websocket"),
            Self::NotUtf8 => (1007, "not_utf8"),
            Self::Failed => (1011, "internal"),
        })
    }

    /// Is what the agent said before it knew of the end still good to be heard?
    pub(super) fn listens(self) -> bool {
        matches!(self, Self::Gone | Self::Parted(Parting::Replaced | Parting::Restart))
    }
}

impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        match error.into_inner().downcast_ref() {
            Some(Wire::Capacity(_)) => Self::TooLong,
            Some(Wire::Utf8(_)) => Self::NotUtf8,
            Some(Wire::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Self::Gone,
            Some(Wire::Protocol(_) | Wire::AttackAttempt) => Self::Broken,
            _ => Self::Gone,
        }
    }
}

/// Closes a socket and waits a little for the other side to agree.
pub(super) async fn close(mut socket: WebSocket, end: Option<End>) {
    let farewell = async {
        if let Some((code, reason)) = end.and_then(End::code) {
            let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            socket.send(farewell).await?;
        }
        while let Some(message) = socket.recv().await {
            message?;
        }
        Ok::<_, axum::Error>(())
    };
    let _ = timeout(PARTING, farewell).await;
}
