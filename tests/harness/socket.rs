//! An agent at the other end of a socket, as the published SDK makes one.

use super::{Value, json};
use futures::{SinkExt, StreamExt};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::Request},
};
use tokio_util::task::AbortOnDropHandle;

/// Long for a machine with two busy cores.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Where the agent of this session connects to, with its token in the path.
pub fn address(platform: &str, session: &str, token: &str) -> String {
    let base = platform.replacen("http", "ws", 1);
    format!("{base}/t/{token}/agent/ws?sessionId={session}")
}

/// A request for a socket, to which headers can be added.
pub fn request(address: &str) -> Request<()> {
    address.into_client_request().expect("an address")
}

impl Socket {
    /// Connects; the status when it is refused.
    pub async fn try_open(request: Request<()>) -> Result<Self, u16> {
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    pub async fn open(platform: &str, session: &str, token: &str) -> Self {
        let address = address(platform, session, token);
        Self::try_open(request(&address)).await.expect("it is let in")
    }

    pub async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("it is sent");
    }

    pub async fn says(&mut self, content: &str) {
        self.send(json!({ "type": "message", "to": "client", "content": content })).await;
    }

    pub async fn pulse(&mut self, content: &str, meta: Value) {
        self.send(json!({ "type": "pulse", "content": content, "meta": meta })).await;
    }

    /// The next text. Pings are answered meanwhile, and only then.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    /// The content of the next message.
    pub async fn told(&mut self) -> String {
        self.next().await["content"].as_str().expect("a text").to_owned()
    }

    /// Waits for the platform to close it; with which code and reason. Nothing but pings
    /// may come before.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("not closed: {other:?}"),
            }
        }
    }

    /// Proves that everything that was sent before has been read, and that nothing but
    /// pings came for it.
    pub async fn settle(&mut self) {
        self.0.send(Message::Ping("settle".into())).await.expect("it is sent");
        loop {
            match self.message().await {
                Some(Ok(Message::Pong(payload))) if payload.as_ref() == b"settle" => return,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("not a pong: {other:?}"),
            }
        }
    }

    async fn message(&mut self) -> Option<tungstenite::Result<Message>> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"))
    }
}

/// An agent that answers `echo: …` at once, and connects again whenever it must.
pub struct Echo {
    /// The ids of all messages that it was sent, in order.
    pub told: Arc<Mutex<Vec<String>>>,
    /// Ends it when dropped.
    _task: AbortOnDropHandle<()>,
}

impl Echo {
    pub fn start(platform: &str, session: &str, token: &str) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (address, seen) = (address(platform, session, token), Arc::clone(&told));
        let task = tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = connect_async(address.as_str()).await {
                    let _ = answer(Socket(stream), &seen).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { told, _task: AbortOnDropHandle::new(task) }
    }
}

/// Until the connection breaks. The answer to a message is written before the ping that
/// came behind it is looked at, as a handler of the published SDK does it.
async fn answer(mut socket: Socket, told: &Mutex<Vec<String>>) -> tungstenite::Result<()> {
    let text = |frame: Value| Message::text(frame.to_string());
    socket.0.send(text(json!({ "type": "ready" }))).await?;
    while let Some(message) = socket.0.next().await {
        if let Message::Text(frame) = message? {
            let frame: Value = serde_json::from_str(&frame).expect("JSON");
            told.lock().expect("no panic").push(frame["id"].as_str().expect("an id").to_owned());
            let content = format!("echo: {}", frame["content"].as_str().expect("a text"));
            let reply = json!({ "type": "message", "to": frame["from"], "content": content });
            socket.0.send(text(reply)).await?;
        }
    }
    Ok(())
}
