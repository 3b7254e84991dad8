//! What is listened on, and what each listener speaks.

use std::{
    fmt,
    fs::Permissions,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use listenfd::ListenFd;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::net::{BindError, peer::Peer, proxy_protocol::ProxyProtocol, stream::Stream};

/// Where connections come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `ADDRESS:PORT`
    Tcp(SocketAddr),
    /// `unix:PATH`: a socket in the file system, for a proxy on the same machine.
    Unix(PathBuf),
    /// `systemd:NAME`: a socket that the service manager holds open, by its `FileDescriptorName=` (default: the unit's name).
    Systemd(String),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Address, &'static str> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("unix: wants a path"),
            Some(("unix", path)) => Ok(Address::Unix(path.into())),
            Some(("systemd", "")) => Err("systemd: wants the name of a socket"),
            Some(("systemd", name)) => Ok(Address::Systemd(name.to_owned())),
            _ => text.parse().map(Address::Tcp).map_err(|_| "neither ADDRESS:PORT, unix:PATH nor systemd:NAME"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// One entry of `edge.listen`: an address alone, or a table with what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// Whether its connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Whether HTTP/2 is spoken beside HTTP/1.1: with TLS by ALPN, else by prior knowledge, for a proxy in front.
    pub http2: bool,
    /// TLS, with the certificates of `[tls]`; nothing else is answered there.
    pub tls: bool,
    /// Without TLS: requests for a host that has a certificate are sent to `https`; others are answered here.
    pub upgrade: bool,
}

impl From<Address> for Listen {
    fn from(address: Address) -> Listen {
        Listen { address, proxy_protocol: ProxyProtocol::default(), http2: false, tls: false, upgrade: false }
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
            "an address with a port such as \"127.0.0.1:8080\" or \"[::]:8080\", unix:PATH, systemd:NAME, or a table with `address`",
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
            proxy_protocol: ProxyProtocol,
            #[serde(default)]
            http2: bool,
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
        let Table { proxy_protocol, http2, tls, upgrade, .. } = table;
        Ok(Listen { address, proxy_protocol, http2, tls, upgrade })
    }
}

/// A listening, non-blocking socket of one worker.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Another process goes on with what the queue holds: nothing is accepted after the stop signal.
    held: bool,
    /// The last worker to let go of it takes the file away.
    _file: Option<Arc<SocketFile>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Connections accepted from now on are given up by the kernel once their client has taken nothing of what was sent
    /// for `silence`: dead, or reading so slowly that its window stays shut. Without it a closed connection with an unread
    /// answer stays in FIN-WAIT-1, its buffer with it, for as long as the client acknowledges probes.
    ///
    /// # Errors
    /// The kernel knows no such option.
    pub fn give_up_after(&self, silence: Duration) -> io::Result<()> {
        match &self.socket {
            // Accepted sockets inherit it.
            Socket::Tcp(listener) => socket2::SockRef::from(listener).set_tcp_user_timeout(Some(silence)),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// What it listens on: of a socket that the service manager holds, what that is bound to.
    pub fn address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Address::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }

    /// Hands it to the runtime of the worker's thread.
    pub fn accepting(self) -> io::Result<Accepting> {
        let socket = match self.socket {
            Socket::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(AcceptingSocket::Tcp),
            Socket::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(AcceptingSocket::Unix),
        };
        Ok(Accepting { socket: socket?, held: self.held, _file: self._file })
    }
}

/// A [`Listener`] at work.
#[derive(Debug)]
pub struct Accepting {
    socket: AcceptingSocket,
    held: bool,
    _file: Option<Arc<SocketFile>>,
}

#[derive(Debug)]
enum AcceptingSocket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    /// The next connection, and who is at its other end.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            AcceptingSocket::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (Stream::Tcp(stream), Peer::at(peer.ip())))
            }
            AcceptingSocket::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), Peer::LOCAL))
            }
        }
    }

    /// Whether the service manager holds the socket: whatever waits in its queue is the next process's, and a connection that
    /// was taken from there must be answered by this one.
    pub fn held(&self) -> bool {
        self.held
    }
}

/// The file of a Unix socket; goes away with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that took its place since is another process's.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: SocketFile::identity(path)? })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if SocketFile::identity(&self.path).is_ok_and(|now| now == self.identity) {
            // What stays behind is taken away by the next start.
            let _ = std::fs::remove_file(&self.path);
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
    let mut handed = Handed::default();
    for Listen { address, .. } in listen {
        let refused = |source| BindError { address: address.clone(), source };
        let (first, held, file) = match address {
            Address::Tcp(tcp) => {
                for (own, socket) in listeners.iter_mut().zip(super::bind_one(*tcp, v6_only(*tcp, listen), workers)?) {
                    own.push(Listener { socket: Socket::Tcp(socket), held: false, _file: None });
                }
                continue;
            }
            Address::Unix(path) => {
                let (socket, file) = bind_unix(path).map_err(refused)?;
                (Socket::Unix(socket), false, Some(Arc::new(file)))
            }
            Address::Systemd(name) => (handed.take(name).map_err(refused)?, true, None),
        };
        for own in &mut listeners {
            let socket = first.another().map_err(refused)?;
            own.push(Listener { socket, held, _file: file.clone() });
        }
    }
    Ok(listeners)
}

/// `[::]` serves IPv4 too, unless an entry of its own does that on the same port.
fn v6_only(address: SocketAddr, listen: &[Listen]) -> bool {
    let beside = |other: &Listen| matches!(other.address, Address::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    address.is_ipv6() && address.port() != 0 && listen.iter().any(beside)
}

/// Read and written by the owner and the group: by the proxy, if it is in the group.
const SOCKET_MODE: u32 = 0o660;

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    // Left behind by a process that was killed; one on which somebody listens is not taken away, nor what is no socket.
    let left = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if left && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::of(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

impl Socket {
    /// Another descriptor of the same socket, for another worker.
    fn another(&self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(listener) => listener.try_clone().map(Socket::Tcp),
            Socket::Unix(listener) => listener.try_clone().map(Socket::Unix),
        }
    }
}

/// The sockets that the service manager handed over (`sd_listen_fds(3)`), taken once, when the first is asked for.
#[derive(Default)]
struct Handed(Option<(ListenFd, Vec<String>)>);

impl Handed {
    fn take(&mut self, name: &str) -> io::Result<Socket> {
        let (sockets, names) = self.0.get_or_insert_with(|| {
            let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
            (ListenFd::from_env(), names.split(':').map(str::to_owned).collect())
        });
        // Without names, as before systemd 227, all are called so.
        let named = |at: &usize| names.get(*at).map_or("unknown", String::as_str) == name;
        let mut found = (0..sockets.len()).filter(named);
        let (Some(at), None) = (found.next(), found.next()) else {
            let told = if sockets.len() == 0 {
                "the service manager handed no socket over: start it by a socket unit".to_owned()
            } else {
                format!("not exactly one socket of this name was handed over, only: {}", names.join(", "))
            };
            return Err(io::Error::new(io::ErrorKind::NotFound, told));
        };
        let socket = match sockets.take_tcp_listener(at) {
            Ok(Some(listener)) => Socket::Tcp(listener),
            Ok(None) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "two entries of edge.listen name it")),
            Err(_) => match sockets.take_unix_listener(at)? {
                Some(listener) => Socket::Unix(listener),
                None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening stream socket")),
            },
        };
        match &socket {
            Socket::Tcp(listener) => {
                // Accepted sockets inherit it, as from our own.
                socket2::SockRef::from(listener).set_tcp_nodelay(true)?;
                listener.set_nonblocking(true)?;
            }
            Socket::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }
}
