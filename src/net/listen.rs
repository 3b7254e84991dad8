//! What is listened on, and what each listener speaks.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::net::{BindError, peer::Peer, stream::Stream};

/// Where connections come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `ADDRESS:PORT`
    Tcp(SocketAddr),
    /// `unix:PATH`: a socket in the file system, for a proxy on the same machine.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Address, &'static str> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: wants a path"),
            Some(path) => Ok(Address::Unix(path.into())),
            None => text.parse().map(Address::Tcp).map_err(|_| "neither ADDRESS:PORT nor unix:PATH"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One entry of `edge.listen`: an address alone, or a table with what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// TLS, with the certificates of `[tls]`; nothing else is answered there.
    pub tls: bool,
    /// Without TLS: requests for a host that has a certificate are sent to `https`; others are answered here.
    pub upgrade: bool,
}

impl From<Address> for Listen {
    fn from(address: Address) -> Listen {
        Listen { address, tls: false, upgrade: false }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        deserializer.deserialize_any(ListenVisitor)
    }
}

struct ListenVisitor;

impl<'de> de::Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address with a port such as \"127.0.0.1:8080\" or \"[::]:8080\", unix:PATH, or a table with `address`",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Listen, E> {
        let address: Result<Address, _> = text.trim().parse();
        address.map(Listen::from).map_err(|_| E::invalid_value(de::Unexpected::Str(text.trim()), &self))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            address: String,
            #[serde(default)]
            tls: bool,
            #[serde(default)]
            upgrade: bool,
        }
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let address =
            table.address.parse().map_err(|why| de::Error::custom(format!("address `{}`: {why}", table.address)))?;
        if table.tls && table.upgrade {
            return Err(de::Error::custom("upgrade = true belongs to a listener without TLS"));
        }
        Ok(Listen { address, tls: table.tls, upgrade: table.upgrade })
    }
}

/// A listening, non-blocking socket of one worker.
#[derive(Debug)]
pub enum Listener {
    /// Of the network.
    Tcp(TcpListener),
    /// Of the file system.
    Unix(UnixListener),
}

impl Listener {
    /// What it listens on.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Address::Unix(address.as_pathname().unwrap_or(std::path::Path::new("")).to_owned()))
            }
        }
    }

    /// Hands it to the runtime of the worker's thread.
    pub fn accepting(self) -> io::Result<Accepting> {
        match self {
            Listener::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Accepting::Tcp),
            Listener::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(Accepting::Unix),
        }
    }
}

/// A [`Listener`] at work.
#[derive(Debug)]
pub enum Accepting {
    /// Of the network.
    Tcp(tokio::net::TcpListener),
    /// Of the file system.
    Unix(tokio::net::UnixListener),
}

/// Who is at the other end of a Unix socket, as far as an address can say it: this machine.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Accepting {
    /// The next connection, and who is at its other end.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Accepting::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (Stream::Tcp(stream), Peer::at(peer.ip())))
            }
            Accepting::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), Peer::at(LOCAL)))
            }
        }
    }
}

/// Listeners for `workers` threads: for each worker one listener an entry, in the order of `listen`. The kernel spreads
/// connections over the workers of an address. Port 0 becomes one free port, the same for every worker.
///
/// # Errors
/// An address cannot be had: it says which, why, and what to do.
pub fn bind(listen: &[Listen], workers: usize) -> Result<Vec<Vec<Listener>>, BindError> {
    let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for Listen { address, .. } in listen {
        match address {
            Address::Tcp(tcp) => {
                for (own, more) in listeners.iter_mut().zip(super::bind(&[*tcp], workers)?) {
                    own.extend(more.into_iter().map(Listener::Tcp));
                }
            }
            Address::Unix(path) => {
                let refused = |source| BindError { address: address.clone(), source };
                // A socket of a process that is gone; one on which somebody listens answers, and stays.
                if std::os::unix::net::UnixStream::connect(path).is_err() {
                    match std::fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
                        _ => {}
                    }
                }
                let first = UnixListener::bind(path).map_err(refused)?;
                first.set_nonblocking(true).map_err(refused)?;
                for own in &mut listeners {
                    own.push(Listener::Unix(first.try_clone().map_err(refused)?));
                }
            }
        }
    }
    Ok(listeners)
}
