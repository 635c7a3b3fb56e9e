//! The way out for webhooks: one POST, the head of its answer, and what there is to say
//! of the connection.

use super::{
    Guard,
    dial::{Dialled, Dialler, Over, SLOT, Slot, Undialled},
};
use crate::error::{Error, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::USER_AGENT};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls_platform_verifier::ConfigVerifierExt;
use std::{
    error::Error as _,
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};
use url::Url;

/// How long a connection is kept for the next event. Most servers close theirs after
/// some minute.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept for one server.
const IDLE_CONNECTIONS: usize = 32;

/// What a head may have. More than any server sends that means well.
const HEADERS: usize = 100;
const HEAD_BYTES: usize = 32 << 10;

/// Cheap to clone.
#[derive(Clone)]
pub struct Post {
    client: Client<Dialler, Full<Bytes>>,
}

/// What is known of the connection of a request that is on its way, or over.
#[derive(Clone, Default)]
pub struct Trace(Slot);

/// The head of an answer.
pub struct Answered {
    pub response: Response<Incoming>,
    /// The connection had been opened for another request before.
    pub reused: bool,
}

/// Why there is no answer: a code for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// `dns`, `blocked_address`, `refused`, `connect_timeout`, `tls`, `reset`, `protocol`
    /// or `unreachable`.
    pub class: &'static str,
    pub why: String,
}

impl Trace {
    pub fn dialled(&self) -> Dialled {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    pub fn new(guard: &Guard) -> Result<Self> {
        let mut tls = rustls::ClientConfig::with_platform_verifier().map_err(Error::internal)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_headers(HEADERS)
            .http1_max_buf_size(HEAD_BYTES)
            .build(Dialler::new(guard.clone(), Arc::new(tls)));
        Ok(Self { client })
    }

    /// Sends it and waits for the head of the answer, without an end of its own. Redirects
    /// are answers. `trace` says at any time how far the connection is.
    pub async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        trace: &Trace,
    ) -> Result<Answered, Unanswered> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Unanswered {
            class: "unreachable",
            why: "the URL is not one for HTTP".into(),
        })?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("aiybiz/0.1"));
        let sending = SLOT.scope(Arc::clone(&trace.0), self.client.request(request));
        let response = sending.await.map_err(|error| Unanswered::because(&error))?;
        let over = response.extensions().get::<Over>();
        let reused = over.is_some_and(|over| !Arc::ptr_eq(&over.0, &trace.0));
        if let (true, Some(Over(other))) = (reused, over) {
            // Nothing was dialled for this one, but it went somewhere.
            let address = other.lock().unwrap_or_else(PoisonError::into_inner).address;
            let mut own = trace.0.lock().unwrap_or_else(PoisonError::into_inner);
            *own = Dialled { address, ..Dialled::default() };
        }
        Ok(Answered { response, reused })
    }
}

impl Unanswered {
    fn because(error: &hyper_util::client::legacy::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(undialled) = inner.downcast_ref::<Undialled>() {
                return Self { class: undialled.class(), why: undialled.to_string() };
            }
            if let Some(hyper) = inner.downcast_ref::<hyper::Error>() {
                return Self::broken(hyper);
            }
            cause = inner.source();
        }
        Self { class: "unreachable", why: error.to_string() }
    }

    /// It was reached, and what came back was no answer.
    pub fn broken(error: &hyper::Error) -> Self {
        let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        // What breaks the rules inside a body comes as an I/O error.
        let rules = [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];
        let broken = io.is_some_and(|io| rules.contains(&io.kind()));
        let class = if error.is_parse() || error.is_parse_too_large() || broken {
            "protocol"
        } else if error.is_incomplete_message() || error.is_closed() || io.is_some() {
            "reset"
        } else {
            "unreachable"
        };
        let why = match (io, error.is_parse_too_large()) {
            (_, true) => format!("the head of the answer is larger than {HEAD_BYTES} bytes"),
            (Some(io), _) => format!("the connection broke: {io}"),
            (None, _) => error.to_string(),
        };
        Self { class, why }
    }
}

impl Undialled {
    fn class(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "dns",
            Self::Closed(_) => "blocked_address",
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => "refused",
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset",
            Self::Connect(_) | Self::Nowhere => "unreachable",
            Self::Tls(_) => "tls",
            Self::Slow => "connect_timeout",
        }
    }
}
