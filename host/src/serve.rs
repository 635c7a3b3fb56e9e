//! Serving until told to stop, and stopping within a bound.

use crate::{api, host::Host, work};
use anyhow::{Context, Result};
use axum::serve::ListenerExt;
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal as unix},
};

/// How long open requests and deliveries may take to finish once the host stops.
/// What is not finished then is delivered again after the next start.
const DRAIN: Duration = Duration::from_secs(15);

/// How long sent bytes may stay unread by the other side's system.
const UNREAD_MILLIS: u32 = 60_000;

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
    let stopping = host.stopping.clone();
    let listener = listener.tap_io(|connection| {
        // Small events must not wait for company, and a peer that takes nothing any
        // more must not hold its connection for ever.
        let _ = connection.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&*connection, UNREAD_MILLIS);
    });
    let serving = axum::serve(listener, api::router(host.clone()).into_make_service())
        .with_graceful_shutdown(stopping.cancelled_owned());
    let serving = tokio::spawn(serving.into_future());
    stop.await;
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
        Ok(served) => served.context("the server stopped")?.context("the server stopped")?,
        Err(_) => tracing::warn!("stopping although something is still open after {DRAIN:?}"),
    }
    host.db.close().await;
    Ok(())
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
