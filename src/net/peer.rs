//! Who is at the other end of a connection, and whose word about it is taken.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// What a connection says of its other end, before any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; of a Unix socket, this machine's.
    pub address: IpAddr,
    /// Where the address is from.
    pub source: Source,
    /// It speaks TLS with us.
    pub tls: bool,
    /// Its listener sends it to `https` instead of answering.
    pub upgrade: bool,
}

/// Where a connection's address is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The network socket's other end.
    Network,
    /// A Unix socket, which has none: whoever may open its file is trusted as a proxy is.
    Unix,
    /// A PROXY protocol header, from a peer that may send one.
    ProxyProtocol,
}

impl Peer {
    /// The other end of a network socket.
    pub fn at(address: IpAddr) -> Peer {
        Peer { address, source: Source::Network, tls: false, upgrade: false }
    }

    /// The other end of a Unix socket.
    pub const LOCAL: Peer =
        Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), source: Source::Unix, tls: false, upgrade: false };
}

/// The networks whose word about a client's address is taken: a list of `10.0.0.0/8` or single addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads each entry; the error names the bad one.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Networks, String> {
        let network = |entry: &S| {
            let text = entry.as_ref().trim();
            let one = || IpAddr::from_str(text).map(|address| IpNet::from(address.to_canonical()));
            IpNet::from_str(text).or_else(|_| one()).map_err(|_| {
                format!("{text:?} is neither a network such as 10.0.0.0/8 or 2001:db8::/32 nor a single address")
            })
        };
        entries.iter().map(network).collect::<Result<_, _>>().map(Networks)
    }

    /// Whether an address (canonical) lies in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Networks, D::Error> {
        Networks::parse(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}
