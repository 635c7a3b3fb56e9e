//! Opening a connection for a webhook, step by step, so that its builder can be told
//! which step took how long and which one failed: look the name up, check every address
//! it has, connect, shake hands.
//!
//! What was checked is what is dialled, on every attempt; an address written in a URL
//! comes the same way. There is no proxy.

use super::{Closed, Guard};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// For all steps together; the exchange as a whole has its own limit.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one address is waited for before the next is tried beside it (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// What opening a connection came to, as far as it got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialled {
    pub address: Option<SocketAddr>,
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    /// None without TLS.
    pub tls: Option<Duration>,
}

/// Where a dialler writes down how far it got, also when nobody waits any more.
pub(super) type Slot = Arc<Mutex<Dialled>>;

tokio::task_local! {
    /// For the request that is being made in this task.
    pub(super) static SLOT: Slot;
}

/// Which step failed, and how.
#[derive(Debug)]
pub(super) enum Undialled {
    /// The URL names no host.
    Nowhere,
    Unknown(io::Error),
    Closed(Closed),
    Connect(io::Error),
    Tls(io::Error),
    /// It took longer than all steps may.
    Slow,
}

impl fmt::Display for Undialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("the URL has no host"),
            Self::Unknown(error) => write!(f, "the name cannot be resolved: {error}"),
            Self::Closed(closed) => closed.fmt(f),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Slow => write!(f, "no connection within {CONNECT:?}"),
        }
    }
}

impl std::error::Error for Undialled {}

#[derive(Clone)]
pub(super) struct Dialler {
    guard: Guard,
    tls: TlsConnector,
}

impl Dialler {
    pub(super) fn new(guard: Guard, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { guard, tls: TlsConnector::from(tls) }
    }

    async fn dial(self, uri: Uri, slot: Slot) -> Result<Opened, Undialled> {
        let steps = self.steps(&uri, &slot);
        tokio::time::timeout(CONNECT, steps).await.unwrap_or(Err(Undialled::Slow))
    }

    async fn steps(&self, uri: &Uri, slot: &Slot) -> Result<Opened, Undialled> {
        let host = uri.host().ok_or(Undialled::Nowhere)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = self.addresses(host, port, slot).await?;
        let begun = Instant::now();
        let tcp = race(addresses).await.map_err(Undialled::Connect)?;
        // A webhook is one small request: it shall not wait for company.
        let _ = tcp.set_nodelay(true);
        note(slot, |dialled| {
            dialled.address = tcp.peer_addr().ok();
            dialled.connect = Some(begun.elapsed());
        });
        let stream = if secure {
            let begun = Instant::now();
            let name = rustls::pki_types::ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| Undialled::Tls(io::Error::other(error)))?;
            let tls = self.tls.connect(name, tcp).await.map_err(Undialled::Tls)?;
            note(slot, |dialled| dialled.tls = Some(begun.elapsed()));
            Stream::Secure(Box::new(tls))
        } else {
            Stream::Plain(tcp)
        };
        Ok(Opened { stream: TokioIo::new(stream), slot: Arc::clone(slot) })
    }

    /// All addresses of the host; none when one of them may not be dialled.
    async fn addresses(
        &self,
        host: &str,
        port: u16,
        slot: &Slot,
    ) -> Result<Vec<SocketAddr>, Undialled> {
        let found = match host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => {
                let begun = Instant::now();
                let found = self.guard.look_up(host).await;
                note(slot, |dialled| dialled.dns = Some(begun.elapsed()));
                found.map_err(Undialled::Unknown)?
            }
        };
        // One closed address among open ones is an attack or a mistake.
        if let Some(address) = found.iter().copied().find(|ip| !self.guard.permits(*ip)) {
            note(slot, |dialled| dialled.address = Some(SocketAddr::new(address, port)));
            return Err(Undialled::Closed(Closed { name: host.to_owned(), address }));
        }
        if let Some(first) = found.first() {
            note(slot, |dialled| dialled.address = Some(SocketAddr::new(*first, port)));
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

fn note(slot: &Slot, change: impl FnOnce(&mut Dialled)) {
    change(&mut slot.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The first address that answers, in their order, each a little after the one before.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match rest.next() {
            Some(address) => tries.push(TcpStream::connect(address)),
            None if tries.is_empty() => return Err(failed),
            None => {}
        }
        let more = rest.len() > 0;
        let next = async {
            if more { tokio::time::sleep(NEXT_ADDRESS).await } else { std::future::pending().await }
        };
        tokio::select! {
            Some(ended) = tries.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = next => {}
        }
    }
}

impl tower_service::Service<Uri> for Dialler {
    type Response = Opened;
    type Error = Undialled;
    type Future = BoxFuture<'static, Result<Opened, Undialled>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Undialled>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let slot = SLOT.try_with(Arc::clone).unwrap_or_default();
        self.clone().dial(uri, slot).boxed()
    }
}

/// An open connection that knows how it came about.
pub(super) struct Opened {
    stream: TokioIo<Stream>,
    slot: Slot,
}

/// On every answer that came over a connection: how that was opened.
#[derive(Clone)]
pub(super) struct Over(pub(super) Slot);

impl Connection for Opened {
    fn connected(&self) -> Connected {
        Connected::new().extra(Over(Arc::clone(&self.slot)))
    }
}

impl hyper::rt::Read for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Opened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
