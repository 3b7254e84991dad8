//! The public sockets: bind, accept, and (in [`http`]) what a connection may do and for how long.

mod budget;
mod counts;
mod h2;
pub mod http;
pub mod limits;
pub mod listen;
pub mod opening;
pub mod peer;
pub mod proxy_protocol;
mod seen;
pub mod stream;
mod ticket;
pub mod tls;
pub mod turns;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

pub use self::{budget::Spending, limits::Limits};
use crate::net::listen::Address;

/// How many connections the kernel may hold for a worker before it is accepted: a burst's, not a queue's.
const BACKLOG: i32 = 4096;

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.address, .source))]
pub struct BindError {
    /// The address asked for.
    pub address: Address,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn hint(address: &Address, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if matches!(address, Address::Unix(_)) => {
            " (another process listens there, or the file is no socket: stop it, or choose another path)"
        }
        _ if !matches!(address, Address::Tcp(_)) => "",
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
        for (own, listener) in listeners.iter_mut().zip(bind_one(address, false, workers)?) {
            own.push(listener);
        }
    }
    Ok(listeners)
}

/// One address for `workers` threads. `v6_only`: an IPv6 address that leaves IPv4 to another listener.
fn bind_one(address: SocketAddr, v6_only: bool, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let refused = |source| BindError { address: Address::Tcp(address), source };
    // Two processes of one user may share a port by SO_REUSEPORT without either noticing, and half of the clicks
    // would go to a forgotten server: an exclusive bind finds out first.
    let probe = listener(address, v6_only, false).map_err(refused)?;
    let bound = probe.local_addr().map_err(refused)?;
    drop(probe);
    (0..workers).map(|_| listener(bound, v6_only, true).map_err(refused)).collect()
}

/// One listening, non-blocking socket.
fn listener(address: SocketAddr, v6_only: bool, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of an earlier process that wait out their last minute do not keep this one from its port.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if v6_only {
        socket.set_only_v6(true)?;
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

/// The limit of open files (`RLIMIT_NOFILE`), `None`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// As the process was started with.
    pub before: Option<u64>,
    /// As it is now.
    pub now: Option<u64>,
}

impl OpenFiles {
    /// Raises the soft limit to the hard one. Once, at the start.
    pub fn raise() -> OpenFiles {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // A refusal leaves the limit as it is, and `now` tells the truth.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        OpenFiles { before: limit.current, now: getrlimit(Resource::Nofile).current }
    }

    /// How many connections fit: no more than `wanted`.
    pub fn connections(self, wanted: usize) -> usize {
        match self.now {
            Some(most) => wanted.min(most.saturating_sub(OWN_DESCRIPTORS).max(most / 2).max(1) as usize),
            None => wanted,
        }
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
    fn connections_leave_descriptors_for_everything_else_and_a_tiny_limit_still_serves() {
        let fit = |now, wanted| OpenFiles { before: Some(1024), now }.connections(wanted);
        assert_eq!(fit(Some(2000), 100_000), 1488);
        assert_eq!((fit(Some(600), 100_000), fit(Some(1), 100_000)), (300, 1));
        assert_eq!((fit(Some(2000), 10), fit(None, 100_000)), (10, 100_000));
    }

    #[test]
    fn too_many_open_files_pause_the_accept_loop_and_a_client_gone_does_not() {
        let emfile = io::Error::from_raw_os_error(24);
        assert_eq!(accept_failure(&emfile), ("no_descriptors", Duration::from_millis(100)));
        let aborted = io::Error::from_raw_os_error(103);
        assert_eq!(accept_failure(&aborted), ("aborted", Duration::ZERO));
    }
}
