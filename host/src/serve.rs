//! Serving until told to stop, and stopping within a bound.
//!
//! Whoever opens a connection and says nothing is let go: a request's head has a minute,
//! and there is a most of connections.

use crate::{
    api::{self, Connected},
    host::Host,
    work,
};
use anyhow::{Context, Result};
use axum::{Router, body::Body, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal as unix},
    sync::Semaphore,
};
use tower_service::Service;

/// How long open requests and deliveries may take to finish once the host stops.
/// What is not finished then is delivered again after the next start.
const DRAIN: Duration = Duration::from_secs(15);

/// How long sent bytes may stay unread by the other side's system.
const UNREAD_MILLIS: u32 = 60_000;

/// How long a request's head may take, counted from the end of the one before: an idle
/// connection is closed then, as nginx does after 75 seconds.
const HEAD: Duration = Duration::from_secs(75);

/// Connections open at once: 20 kB each is 1.3 GB. Who comes then waits in the system's
/// queue.
const CONNECTIONS: usize = 65_536;

/// When nothing more can be opened, how long others have to close something.
const BREATHER: Duration = Duration::from_millis(100);

pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until `stop` is ready, then lets what is open finish.
pub async fn until(
    host: Host,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    work::start(&host);
    if let Some(address) = host.config.web.metrics_listen {
        let listener = listen(address).await?;
        tokio::spawn(serve(host.clone(), listener, api::metrics_only(host.clone())));
    }
    let serving = tokio::spawn(serve(host.clone(), listener, api::router(host.clone())));
    stop.await;
    // Whoever sends callers here looks whether it is ready, and needs a while to see it.
    host.leaving.cancel();
    let notice = Duration::from_secs(host.config.web.leaving_seconds);
    tokio::select! { () = tokio::time::sleep(notice) => {}, () = host.stopping.cancelled() => {} }
    host.stopping.cancel();
    host.tasks.close();
    host.lanes.close();
    let drained = async {
        let served = serving.await;
        host.lanes.wait().await;
        host.tasks.wait().await;
        served
    };
    match tokio::time::timeout(DRAIN, drained).await {
        Ok(served) => served.context("the server stopped")?,
        Err(_) => tracing::warn!("stopping although something is still open after {DRAIN:?}"),
    }
    host.db.close().await;
    Ok(())
}

/// Takes connections until the host stops, then waits for those that are open.
pub async fn serve(host: Host, listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
    let server = Arc::new(server);
    let open = GracefulShutdown::new();
    loop {
        let taken = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (taken, place) = tokio::select! {
            taken = taken => taken,
            () = host.stopping.cancelled() => break,
        };
        let (stream, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        ready(&stream);
        let (server, router, watcher) = (Arc::clone(&server), router.clone(), open.watcher());
        tokio::spawn(async move {
            let service = TowerToHyperService::new(From { router, peer });
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            // It ends with an error when the other side is gone; nobody is left to tell.
            let _ = watcher.watch(connection.into_owned()).await;
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

fn ready(stream: &TcpStream) {
    // Small events must not wait for company, and a peer that takes nothing any more must
    // not hold its connection for ever.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, UNREAD_MILLIS);
}

/// The router, told where its requests come from.
#[derive(Clone)]
struct From {
    router: Router,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for From {
    type Response = <Router as Service<Request<Body>>>::Response;
    type Error = <Router as Service<Request<Body>>>::Error;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        // A router is always ready.
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Connected(self.peer.ip()));
        self.router.call(request)
    }
}

/// Ready when the process is asked to stop: SIGTERM or Ctrl-C.
pub async fn signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (unix(SignalKind::terminate()), unix(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process anyway.
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}
