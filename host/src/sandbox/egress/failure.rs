//! Why there was no answer: as a code in the receipt, a line in the log and an
//! error of `wasi:http`.

use crate::net::Unreached;
use wasmtime_wasi_http::Error;

#[derive(Debug)]
pub(super) enum Failure {
    /// A site that the operator does not allow.
    Denied(String),
    /// Something that cannot be a site, and why.
    Unsuitable(String, String),
    Method,
    /// A secret's name, and why it cannot be used.
    Secret(String, &'static str),
    /// The platform could not read a secret.
    Unavailable,
    /// With the secrets filled in, the header has more bytes than this.
    Header(usize),
    /// The host, and why there is no answer from it.
    Unreached(String, Unreached),
    /// The host took longer than one call may.
    Late(String),
    /// A budget of the event is used up.
    Budget,
    /// The event that made the request is over.
    Past,
}

impl Failure {
    /// For programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) | Self::Unsuitable(..) => "site_not_allowed",
            Self::Method => "method_not_allowed",
            Self::Secret(..) => "secret_not_allowed",
            Self::Unavailable => "host_error",
            Self::Header(_) => "header_too_large",
            Self::Unreached(_, why) => match why {
                Unreached::Closed => "address_not_allowed",
                Unreached::Unknown => "unknown_host",
                Unreached::Refused => "connection_refused",
                Unreached::Timeout => "timeout",
                Unreached::Certificate => "certificate",
                Unreached::Tls => "tls",
                Unreached::Terminated => "connection_closed",
                Unreached::Protocol => "protocol",
                Unreached::Body => "request_body",
            },
            Self::Late(_) => "timeout",
            Self::Budget => "budget",
            Self::Past => "event_over",
        }
    }

    /// For the builder. The receipt says enough of a budget.
    pub(super) fn line(&self) -> Option<String> {
        Some(match self {
            Self::Denied(site) => format!(
                "no request to {site}: it is not in the agent's httpAllow, which the operator sets"
            ),
            Self::Unsuitable(site, why) => format!("no request to {site}: a site {why}"),
            Self::Method => "no request with CONNECT or TRACE: neither is offered".into(),
            Self::Secret(name, why) => format!("no request with the secret {name}: {why}"),
            Self::Unavailable => "no request: the platform could not read the secret now".into(),
            Self::Header(most) => {
                format!("no request: with its secrets, its header has more than {most} bytes")
            }
            Self::Unreached(host, why) => format!("no answer: {host} {}", why.why()),
            Self::Late(host) => {
                format!(
                    "no answer: {host} took longer than hostCallMillis or the request's own limit"
                )
            }
            Self::Budget | Self::Past => return None,
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(_) | Failure::Unsuitable(..) | Failure::Secret(..) => {
                Self::HttpRequestDenied
            }
            Failure::Method => Self::HttpRequestMethodInvalid,
            Failure::Header(most) => Self::HttpRequestHeaderSectionSize(u32::try_from(most).ok()),
            Failure::Unreached(_, why) => match why {
                Unreached::Closed => Self::DestinationIpProhibited,
                Unreached::Unknown => Self::DnsError { rcode: None, info_code: None },
                Unreached::Refused => Self::ConnectionRefused,
                Unreached::Timeout => Self::ConnectionTimeout,
                Unreached::Certificate => Self::TlsCertificateError,
                Unreached::Tls => Self::TlsProtocolError,
                Unreached::Terminated => Self::ConnectionTerminated,
                Unreached::Protocol | Unreached::Body => Self::HttpProtocolError,
            },
            Failure::Late(_) => Self::HttpResponseTimeout,
            Failure::Past => Self::ConnectionTerminated,
            Failure::Unavailable => {
                Self::InternalError(Some("the secret cannot be read now".into()))
            }
            Failure::Budget => Self::InternalError(Some("a budget of the event is used up".into())),
        }
    }
}
