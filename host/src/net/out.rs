//! The way out for components: sends one request and says, in words that can be
//! shown to a builder, why there is no answer.
//!
//! `https` goes wherever webhooks may go; `http` only to what the operator allows,
//! since anybody in between could read it.

use super::{
    Guard,
    names::{Closed, Which},
};
use crate::error::Result;
use reqwest::{Client, Request, Response};
use std::{error::Error as _, io, net::IpAddr};
use tokio_util::task::AbortOnDropHandle;
use url::Host;

/// Cheap to clone.
#[derive(Clone)]
pub struct Out {
    guard: Guard,
    secure: Client,
    plain: Client,
    /// Connections outlive the request that opened them, and live here instead of
    /// on the threads of guests.
    home: tokio::runtime::Handle,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// The name leads to an address that may not be dialled.
    Closed,
    /// Nobody knows the name.
    Unknown,
    Refused,
    Timeout,
    Certificate,
    Tls,
    /// The other side hung up.
    Terminated,
    /// It sent something that is not HTTP, or headers without end.
    Protocol,
    /// The request's own body broke off.
    Body,
}

impl Out {
    /// Call it on the runtime that connections shall live on.
    pub fn new(guard: &Guard) -> Result<Self> {
        Ok(Self {
            secure: guard.dialling(Which::Permitted)?,
            plain: guard.dialling(Which::Allowed)?,
            guard: guard.clone(),
            home: tokio::runtime::Handle::current(),
        })
    }

    /// Sends it and returns the head of the answer; its body comes as it is read.
    /// When the caller is dropped, so is the request.
    pub async fn send(&self, request: Request) -> Result<Response, Unreached> {
        let plain = request.url().scheme() == "http";
        // An address reaches no resolver.
        let literal = match request.url().host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        let open = |ip| if plain { self.guard.allows(ip) } else { self.guard.permits(ip) };
        if !literal.is_none_or(open) {
            return Err(Unreached::Closed);
        }
        let client = if plain { &self.plain } else { &self.secure };
        let sending = AbortOnDropHandle::new(self.home.spawn(client.execute(request)));
        match sending.await {
            Ok(sent) => sent.map_err(|error| Unreached::because(&error)),
            // The runtime is being shut down.
            Err(_) => Err(Unreached::Terminated),
        }
    }
}

impl Unreached {
    /// Looks through the causes for the one that says most.
    pub fn because(error: &reqwest::Error) -> Self {
        let mut found = if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Unknown
        } else if error.is_body() {
            Self::Terminated
        } else {
            Self::Protocol
        };
        let mut cause = error.source();
        while let Some(inner) = cause {
            found = Self::of(inner).unwrap_or(found);
            // An I/O error keeps a custom cause to itself.
            let custom = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = custom.map(|custom| custom as _).or(inner.source());
        }
        found
    }

    fn of(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if cause.is::<Closed>() {
            return Some(Self::Closed);
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            let certificate = matches!(tls, rustls::Error::InvalidCertificate(_));
            return Some(if certificate { Self::Certificate } else { Self::Tls });
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            return if hyper.is_user() {
                Some(Self::Body)
            } else if hyper.is_parse() {
                Some(Self::Protocol)
            } else if hyper.is_incomplete_message() {
                Some(Self::Terminated)
            } else {
                None
            };
        }
        match cause.downcast_ref::<io::Error>()?.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::Timeout),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Some(Self::Terminated),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Some(Self::Protocol),
            _ => None,
        }
    }

    /// As a sentence about the host.
    pub fn why(self) -> &'static str {
        match self {
            Self::Closed => {
                "leads to an address that is not public (for http://: not the operator's); the operator can allow it with --webhook-allow"
            }
            Self::Unknown => "cannot be found",
            Self::Refused => "refuses connections",
            Self::Timeout => "does not answer in time",
            Self::Certificate => "has a certificate that cannot be trusted",
            Self::Tls => "does not speak TLS as it should",
            Self::Terminated => "hung up",
            Self::Protocol => "does not speak HTTP as it should",
            Self::Body => "was sent a body that broke off",
        }
    }
}
