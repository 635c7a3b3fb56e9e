//! What names lead to, and which of it may be dialled.

use super::Guard;
use crate::error::{Error, Result};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What a test says a name leads to.
pub(super) type Made = Arc<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// Who is asked.
#[derive(Clone, Default)]
pub(super) enum Names {
    /// As the system does it: its files and its servers.
    #[default]
    System,
    /// The operator's own server.
    Server(Arc<TokioResolver>),
    /// A test.
    Made(Made),
}

impl Names {
    /// Asks this server and nobody else.
    pub(super) fn server(address: SocketAddr) -> Result<Self> {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        let server = NameServerConfig::new(address.ip(), true, connections);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        // Both kinds, always: every address is checked.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self::Server(Arc::new(builder.build().map_err(Error::internal)?)))
    }

    pub(super) async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System => {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Self::Server(server) => {
                // With the dot: no search list adds to it.
                let name = format!("{}.", name.trim_end_matches('.'));
                let found = server.lookup_ip(name).await.map_err(io::Error::other)?;
                Ok(found.iter().collect())
            }
            Self::Made(names) => Ok(names(name)),
        }
    }
}

/// Which addresses a client dials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Permitted,
    /// Only what the operator allows by name, be it public or not.
    Allowed,
}

/// Answers with addresses that may be dialled.
pub(super) struct Checked {
    pub(super) guard: Guard,
    pub(super) which: Which,
}

/// The name leads to an address that may not be dialled.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.to_string() == self.name {
            return write!(f, "{} is not a public address", self.address);
        }
        write!(f, "{} resolves to the closed address {}", self.name, self.address)
    }
}

impl std::error::Error for Closed {}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, which) = (self.guard.clone(), self.which);
        Box::pin(async move {
            let found = guard.look_up(name.as_str()).await?;
            let open = |address: &IpAddr| match which {
                Which::Permitted => guard.permits(*address),
                Which::Allowed => guard.allows(*address),
            };
            // One closed address among open ones is an attack or a mistake.
            if let Some(address) = found.iter().copied().find(|address| !open(address)) {
                return Err(Closed { name: name.as_str().to_owned(), address }.into());
            }
            let found: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
