//! Where a request comes from: the other end of its connection, or whom a proxy that the
//! operator trusts has seen there.

use super::caller;
use crate::{accounts::sign_ins::From, error::Error, host::Host};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use ipnet::IpNet;
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The other end of the connection; put on each request by whoever serves.
#[derive(Clone, Copy, Debug)]
pub struct Connected(pub IpAddr);

/// What a program may call itself, as far as it is kept.
const AGENT_CHARS: usize = 200;

/// The caller's own address, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

impl FromRequestParts<Host> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Infallible> {
        let connected = parts.extensions.get::<Connected>();
        let connected = connected.map_or(Ipv4Addr::UNSPECIFIED.into(), |connected| connected.0);
        Ok(Self(behind(connected, &parts.headers, &host.config.web.trusted_proxies)))
    }
}

impl Peer {
    /// By which a caller is counted: a network of IPv6 is one customer's, and he has all
    /// of its addresses.
    pub(super) fn counted(self) -> IpAddr {
        match self.0 {
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()
            }
            IpAddr::V4(_) => self.0,
        }
    }
}

/// Goes back along `X-Forwarded-For` for as long as whoever added an address is trusted.
fn behind(connected: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut peer = connected.to_canonical();
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let named: Vec<&str> = forwarded
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .collect();
    for name in named.iter().rev() {
        if !is_trusted(peer) {
            break;
        }
        // Something else than an address: the last one that can be believed.
        let Ok(address) = name.trim().parse::<IpAddr>() else { break };
        peer = address.to_canonical();
    }
    peer
}

/// Who signs in, as far as can be seen.
pub(super) struct SeenFrom(pub(super) From);

impl FromRequestParts<Host> for SeenFrom {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Error> {
        let Ok(Peer(address)) = Peer::from_request_parts(parts, host).await;
        let agent = caller::text(&parts.headers, header::USER_AGENT.as_str()).unwrap_or_default();
        let agent = agent.chars().take(AGENT_CHARS).collect();
        Ok(Self(From { agent, address: address.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(connected: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a value"));
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network"));
        behind(connected.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "anybody can say so");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("::1", &["nonsense"]), "::1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }
}
