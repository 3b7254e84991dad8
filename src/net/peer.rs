//! The other end of a connection: its address, where that address comes from, and which peers are trusted proxies.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Facts about a connection that are known before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the other end. A Unix socket has the loopback address.
    pub address: IpAddr,
    /// Where the address comes from.
    pub source: PeerAddressSource,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// Whether its listener redirects requests to `https` (`redirect_to_https`).
    pub redirect_to_https: bool,
}

/// Where the address of a [`Peer`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddressSource {
    /// The other end of the network socket.
    Network,
    /// A Unix socket, which has no address. Its peer is trusted like a proxy: the file's mode says who may connect.
    Unix,
    /// A PROXY protocol header of a trusted peer.
    ProxyProtocol,
}

impl Peer {
    /// The peer of a plain network socket.
    pub fn from_network(address: IpAddr) -> Peer {
        Peer { address, source: PeerAddressSource::Network, tls: false, redirect_to_https: false }
    }

    /// The peer of a Unix socket.
    pub const UNIX: Peer = Peer {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        source: PeerAddressSource::Unix,
        tls: false,
        redirect_to_https: false,
    };
}

/// Networks of trusted proxies (`edge.trusted_proxies`): a list of networks such as `10.0.0.0/8` and of single
/// addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedNetworks(Vec<IpNet>);

impl TrustedNetworks {
    /// Parses every entry. The error names the first entry that is neither a network nor an address.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<TrustedNetworks, String> {
        let parse_entry = |entry: &S| {
            let text = entry.as_ref().trim();
            let address = || IpAddr::from_str(text).map(|address| IpNet::from(address.to_canonical()));
            IpNet::from_str(text).or_else(|_| address()).map_err(|_| {
                format!(
                    "`{text}` is no network; allowed: networks such as 10.0.0.0/8 or 2001:db8::/32, and single \
                     addresses. A name is not, because its address may change; 0.0.0.0/0 and ::/0 are every client"
                )
            })
        };
        entries.iter().map(parse_entry).collect::<Result<_, _>>().map(TrustedNetworks)
    }

    /// Whether one of the networks contains this canonical address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl<'de> Deserialize<'de> for TrustedNetworks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TrustedNetworks, D::Error> {
        TrustedNetworks::parse(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for TrustedNetworks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl fmt::Display for TrustedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}
