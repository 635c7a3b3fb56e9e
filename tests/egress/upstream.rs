//! Other people's servers: one that answers, and sockets that do what they like.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::StreamExt;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
}

#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let up = Self { port, seen: Arc::default() };
        let router = Router::new()
            .route("/hello", any(|| async { "hello" }))
            .route("/echo", any(|body: Body| async { body }))
            .route("/redirect", get(redirect))
            .route("/round", get(round))
            .route("/endless", get(endless))
            .route("/gzip", get(|| async { ([("content-encoding", "gzip")], BOMB) }))
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(axum::middleware::from_fn_with_state(up.clone(), note));
        tokio::spawn(async move { axum::serve(listener, router).await });
        up
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    pub(super) fn seen(&self) -> usize {
        self.all().len()
    }

    pub(super) fn last(&self) -> Seen {
        self.all().pop().expect("a request")
    }
}

/// Looks like gzip, and is as long as this.
const BOMB: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03bomb";

async fn note(
    State(up): State<Upstream>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let seen = Seen { method, uri: request.uri().to_string(), headers };
    up.seen.lock().expect("no panic").push(seen);
    next.run(request).await
}

async fn redirect(RawQuery(to): RawQuery) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", to.expect("a target"))]).into_response()
}

/// Leads to itself.
async fn round() -> Response {
    (StatusCode::FOUND, [("location", "/round")]).into_response()
}

async fn endless() -> Body {
    let piece = Bytes::from_static(&[b'x'; 16 << 10]);
    Body::from_stream(futures::stream::repeat(piece).map(Ok::<_, std::io::Error>))
}

/// Listens, and does `with` each connection what the test wants; `open` counts those
/// it is not done with. Returns the port.
pub(super) async fn socket<F>(
    open: &Arc<AtomicUsize>,
    with: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let open = Arc::clone(open);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (work, open) = (with(connection), Arc::clone(&open));
            open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                work.await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    port
}
