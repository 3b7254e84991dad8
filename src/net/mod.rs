//! The public sockets: bind, accept, and (in [`http`]) what a connection may do and for how long.

mod counts;
pub mod http;
pub mod listen;
pub mod opening;
pub mod peer;
pub mod stream;
pub mod tls;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{net::listen::Address, size::Bytes};

/// `[edge.limits]`: what a client may send, and for how long it may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request head, request line included; 431 above it.
    pub headers: Bytes,
    /// From the connection, or from the first byte of a later request, to the end of its head; closed after it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub header_timeout: Duration,
    /// How long a kept connection may wait for its next request, and a client for reading its answer. Behind a load
    /// balancer it must be longer than the balancer's own.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub idle_timeout: Duration,
    /// Open connections of the whole process, shared evenly by the workers; further ones wait in the kernel's queue.
    pub connections: usize,
    /// From the accept to the end of a TLS handshake; closed after it. `header_timeout` runs beside it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub handshake_timeout: Duration,
    /// TLS handshakes in flight of the whole process, shared evenly by the workers; further ones wait for their turn.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            headers: Bytes::kib(16),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            connections: 100_000,
            handshake_timeout: Duration::from_secs(5),
            // Some 40 KiB each: 160 MiB of a flood.
            handshakes: 4096,
        }
    }
}

impl Limits {
    /// What is not allowed, by key relative to `edge.limits`.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut check = |key: &str, good: bool, found_: String, allowed: &str| {
            if !good {
                found.push((key.to_owned(), format!("{found_}; allowed: {allowed}")));
            }
        };
        // hyper refuses read buffers below 8 KiB.
        let heads = Bytes::kib(8)..=Bytes::kib(256);
        check("headers", heads.contains(&self.headers), self.headers.to_string(), "8 KiB to 256 KiB");
        for (key, timeout) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("handshake_timeout", self.handshake_timeout),
        ] {
            let good = (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&timeout);
            check(key, good, format!("{timeout:?}"), "100ms to 1h");
        }
        check("connections", self.connections > 0, "0".to_owned(), "1 and more");
        check("handshakes", self.handshakes > 0, "0".to_owned(), "1 and more");
        found
    }
}

/// How many connections the kernel may hold for a worker before it is accepted: a burst's, not a queue's.
const BACKLOG: i32 = 4096;

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub struct BindError {
    /// The address asked for.
    pub address: Address,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process listens there: stop it, or choose another address)",
        io::ErrorKind::PermissionDenied => " (a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has it)",
        _ => "",
    }
}

/// Listeners for `workers` threads: for each worker one listener an address, in the order of `addresses`. The kernel
/// spreads connections over the workers of an address. Port 0 becomes one free port, the same for every worker.
pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Vec<Vec<TcpListener>>, BindError> {
    let mut listeners: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for &address in addresses {
        let refused = |source| BindError { address: Address::Tcp(address), source };
        // Two processes of one user may share a port by SO_REUSEPORT without either noticing, and half of the clicks
        // would go to a forgotten server: an exclusive bind finds out first.
        let probe = listener(address, false).map_err(refused)?;
        let mut bound = probe.local_addr().map_err(refused)?;
        drop(probe);
        for own in &mut listeners {
            let listener = listener(bound, true).map_err(refused)?;
            bound = listener.local_addr().map_err(refused)?;
            own.push(listener);
        }
    }
    Ok(listeners)
}

/// One listening, non-blocking socket.
fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of an earlier process that wait out their last minute do not keep this one from its port.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit it: an answer is one write and never waits for more.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why an accept failed, as the label of its counter, and how long to leave the queue alone.
pub fn accept_failure(error: &io::Error) -> (&'static str, Duration) {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        // Nothing is freed by asking again at once, and asking again at once is a busy loop.
        Some(Errno::MFILE | Errno::NFILE) => ("no_descriptors", Duration::from_millis(100)),
        Some(Errno::NOBUFS | Errno::NOMEM) => ("no_memory", Duration::from_millis(100)),
        // The client went away between its handshake and our accept.
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PERM | Errno::PROTO) => ("aborted", Duration::ZERO),
        _ => ("other", Duration::from_millis(10)),
    }
}

/// The reasons [`accept_failure`] gives.
pub const ACCEPT_FAILURES: [&str; 4] = ["no_descriptors", "no_memory", "aborted", "other"];

/// Descriptors for everything that is not a client: listeners, segments, files, brokers.
const OWN_DESCRIPTORS: u64 = 512;

/// Raises the soft limit of open files to the hard one and says how many connections fit: no more than `wanted`.
pub fn raise_descriptors(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // A refusal leaves the limit as it is; the number below then tells the truth.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    match getrlimit(Resource::Nofile).current {
        Some(most) => wanted.min(most.saturating_sub(OWN_DESCRIPTORS).max(most / 2).max(1) as usize),
        None => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_listens_on_the_same_port_that_was_free() {
        let addresses = [SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0))];
        let listeners = bind(&addresses, 3).unwrap();
        assert_eq!(listeners.len(), 3);
        let ports = |own: &[TcpListener]| own.iter().map(|l| l.local_addr().unwrap()).collect::<Vec<_>>();
        assert_eq!(ports(&listeners[0]), ports(&listeners[2]));
        assert_ne!(ports(&listeners[0])[0], ports(&listeners[0])[1]);
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_refused_even_if_it_could_be_shared() {
        let first = bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], 1).unwrap();
        let taken = first[0][0].local_addr().unwrap();
        let error = bind(&[taken], 1).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("another process"), "{error}");
    }

    #[test]
    fn too_many_open_files_pause_the_accept_loop_and_a_client_gone_does_not() {
        let emfile = io::Error::from_raw_os_error(24);
        assert_eq!(accept_failure(&emfile), ("no_descriptors", Duration::from_millis(100)));
        let aborted = io::Error::from_raw_os_error(103);
        assert_eq!(accept_failure(&aborted), ("aborted", Duration::ZERO));
    }
}
