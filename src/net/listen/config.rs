//! The entries of `edge.listen`: an address, and what its listener speaks.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::net::{listen::resolve::parse_or_resolve_socket_address, proxy_protocol::ProxyProtocol};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `ADDRESS:PORT`, or `NAME:PORT` with the address that the name has at the start.
    Tcp(SocketAddr),
    /// `unix:PATH`: a socket in the file system, for a proxy on the same machine.
    Unix(PathBuf),
    /// `systemd:NAME`: a socket that the service manager holds open. NAME is its `FileDescriptorName=`, by default the
    /// name of its unit.
    Systemd(String),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("unix: needs a path".to_owned()),
            Some(("unix", path)) => Ok(ListenAddress::Unix(path.into())),
            Some(("systemd", "")) => Err("systemd: needs the name of a socket".to_owned()),
            Some(("systemd", name)) => Ok(ListenAddress::Systemd(name.to_owned())),
            _ => parse_or_resolve_socket_address(text)
                .map(ListenAddress::Tcp)
                .map_err(|error| format!("{error}; or unix:PATH, systemd:NAME")),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ListenAddress::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One entry of `edge.listen`: an address alone, or a table with settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenConfig {
    /// The address.
    pub address: ListenAddress,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Whether HTTP/2 is spoken beside HTTP/1.1: with TLS by ALPN, else by prior knowledge, for a proxy in front.
    pub http2: bool,
    /// TLS with the certificates of `[tls]`. Plain HTTP is not answered.
    pub tls: bool,
    /// Without TLS: redirects requests for a host that has a certificate to `https`. Requests for other hosts are
    /// answered.
    pub redirect_to_https: bool,
}

impl From<ListenAddress> for ListenConfig {
    fn from(address: ListenAddress) -> ListenConfig {
        let proxy_protocol = ProxyProtocol::default();
        ListenConfig { address, proxy_protocol, http2: false, tls: false, redirect_to_https: false }
    }
}

impl<'de> Deserialize<'de> for ListenConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ListenConfig, D::Error> {
        deserializer.deserialize_any(ListenConfigVisitor)
    }
}

struct ListenConfigVisitor;

impl<'de> de::Visitor<'de> for ListenConfigVisitor {
    type Value = ListenConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address with a port such as \"127.0.0.1:8080\" or \"[::]:8080\", unix:PATH, systemd:NAME, or a table \
             with `address`",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ListenConfig, E> {
        let address: Result<ListenAddress, _> = text.trim().parse();
        address.map(ListenConfig::from).map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ListenConfig, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            address: String,
            #[serde(default)]
            proxy_protocol: ProxyProtocol,
            #[serde(default)]
            http2: bool,
            #[serde(default)]
            tls: bool,
            #[serde(default)]
            redirect_to_https: bool,
        }
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let address = table.address.parse().map_err(|why| de::Error::custom(format!("address {why}")))?;
        if table.tls && table.redirect_to_https {
            return Err(de::Error::custom("redirect_to_https = true belongs to a listener without TLS"));
        }
        let Table { proxy_protocol, http2, tls, redirect_to_https, .. } = table;
        Ok(ListenConfig { address, proxy_protocol, http2, tls, redirect_to_https })
    }
}
