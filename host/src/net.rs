//! Going out: one HTTP client for everything that strangers can point somewhere.
//!
//! It dials public addresses only, plus those the operator allows. The check sits
//! in the resolver, so the address that was checked is the address that is dialled,
//! on every attempt; hosts written as addresses never reach a resolver and are
//! checked before. Redirects are not followed, proxy variables are not read.
//!
//! Webhooks go out through [`Post`], components through [`Out`].

mod dial;
mod names;
mod out;
mod post;

pub use dial::Dialled;
pub use out::{Out, Unreached};
pub use post::{Answered, Post, Trace, Unanswered};

use crate::error::{Error, Result};
use ipnet::IpNet;
use names::{Checked, Closed, Names, Which};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use url::{Host, Url};

/// Opening a connection; the exchange as a whole has its own limit.
const CONNECT: Duration = Duration::from_secs(5);

/// Which addresses may be dialled.
#[derive(Clone, Default)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    names: Names,
}

/// Not for the public internet: RFC 6890 and its successors, with the ranges that
/// carry an IPv4 address inside an IPv6 one.
const CLOSED: [&str; 33] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/96",
    "::1/128",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
];

impl Guard {
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into(), names: Names::default() }
    }

    /// Asks this name server instead of the system.
    pub fn asking(self, server: SocketAddr) -> Result<Self> {
        Ok(Self { names: Names::server(server)?, ..self })
    }

    /// With a resolver of one's own. For tests.
    pub fn with_names(self, names: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { names: Names::Made(Arc::new(names)), ..self }
    }

    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let within = |net: &IpNet| net.contains(&address);
        self.allows(address)
            || !CLOSED.iter().filter_map(|net| net.parse::<IpNet>().ok()).any(|net| within(&net))
    }

    /// Has the operator named it?
    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|net| net.contains(&address))
    }

    /// A URL that a webhook may have: `https`, or `http` to an address that the
    /// operator allows; no credentials, no fragment.
    pub fn checked(&self, pointer: &str, text: &str) -> Result<Url> {
        let refuse = |why: &str| Err(Error::field(pointer, why));
        let Ok(url) = Url::parse(text) else { return refuse("is not a URL") };
        if text.len() > 2048 {
            return refuse("is longer than 2048 bytes");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refuse("must not have credentials or a fragment");
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if name.trim_end_matches('.') == "localhost" => {
                Some(IpAddr::from([127, 0, 0, 1]))
            }
            Some(Host::Domain(_)) => None,
            None => return refuse("has no host"),
        };
        match (url.scheme(), literal) {
            (_, Some(address)) if !self.permits(address) => {
                refuse("is not a public address; the operator can allow it with --webhook-allow")
            }
            ("https", _) | ("http", Some(_)) if self.may_be_plain(&url, literal) => Ok(url),
            _ => refuse(
                "must begin with https://; http:// is accepted for addresses that the operator allows with --webhook-allow",
            ),
        }
    }

    fn may_be_plain(&self, url: &Url, literal: Option<IpAddr>) -> bool {
        url.scheme() == "https" || literal.is_some_and(|address| self.allows(address))
    }

    fn dialling(&self, which: Which) -> Result<reqwest::Client> {
        reqwest::Client::builder()
            .dns_resolver(Arc::new(Checked { guard: self.clone(), which }))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .user_agent("aiybiz/0.1")
            .build()
            .map_err(Error::internal)
    }

    async fn look_up(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.names.look_up(name).await
    }
}

/// Chooses the cryptography behind TLS, for the whole process. Call it before any
/// client is built; the second time it does nothing.
pub fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_closed_range_parses() {
        for net in CLOSED {
            assert!(net.parse::<IpNet>().is_ok(), "{net}");
        }
    }

    #[test]
    fn addresses_in_all_spellings_are_refused() {
        let guard = Guard::default();
        let hosts = [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "[::1]",
            "localhost",
            "localhost.",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[fe80::1]",
            "10.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.168.1.1",
            "172.31.255.255",
            "[fd00::1]",
            "0.0.0.0",
        ];
        for host in hosts {
            let url = format!("https://{host}/hook");
            assert!(guard.checked("/webhookUrl", &url).is_err(), "{url}");
        }
        assert!(guard.checked("/webhookUrl", "https://example.com/hook").is_ok());
        assert!(guard.checked("/webhookUrl", "http://example.com/hook").is_err());
        assert!(guard.checked("/webhookUrl", "https://u:p@example.com/").is_err());
    }

    #[test]
    fn what_the_operator_allows_may_be_plain() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        assert!(guard.checked("/webhookUrl", "http://127.0.0.1:9/hook").is_ok());
        assert!(guard.checked("/webhookUrl", "http://10.0.0.1/hook").is_err());
        assert!(guard.checked("/webhookUrl", "http://example.com/hook").is_err());
    }
}
