//! Listening TCP sockets, one for each worker. The kernel spreads the connections of an address over them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::listen::{config::ListenAddress, error::BindError};

/// The connections that the kernel queues for a worker's accept. It holds a burst, not a lasting overload.
const BACKLOG: i32 = 4096;

/// Binds one listening socket of `address` for each of `workers`. With port 0 all of them get the same free port.
/// `v6_only`: the IPv6 address leaves IPv4 to another listener.
pub(super) fn check_port_is_unused_and_bind_for_each_worker(
    address: SocketAddr,
    v6_only: bool,
    workers: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let bind_error = |source| BindError { address: ListenAddress::Tcp(address), source };
    // With SO_REUSEPORT two processes of one user may share a port without noticing, and half of the clicks would go to
    // a forgotten server. An exclusive bind fails in that case.
    let exclusive = bind_and_listen_nonblocking(address, v6_only, false).map_err(bind_error)?;
    let bound = exclusive.local_addr().map_err(bind_error)?;
    drop(exclusive);
    (0..workers).map(|_| bind_and_listen_nonblocking(bound, v6_only, true).map_err(bind_error)).collect()
}

/// Binds one listening TCP socket.
///
/// # Errors
/// The system refuses, or another process listens on the address.
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    bind_and_listen_nonblocking(address, false, false)
        .map_err(|source| BindError { address: ListenAddress::Tcp(address), source })
}

fn bind_and_listen_nonblocking(address: SocketAddr, v6_only: bool, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Otherwise the port is refused while connections of an earlier process are in TIME-WAIT.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if v6_only {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: an answer is one write and never waits for more data.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn every_worker_listens_on_the_same_free_port() {
        let ports: Vec<u16> = check_port_is_unused_and_bind_for_each_worker(ANY_PORT, false, 3)
            .unwrap()
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert_eq!(ports, [ports[0]; 3]);
        let another =
            check_port_is_unused_and_bind_for_each_worker(ANY_PORT, false, 1).unwrap()[0].local_addr().unwrap().port();
        assert_ne!(ports[0], another);
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_refused_even_if_it_could_be_shared() {
        let first = check_port_is_unused_and_bind_for_each_worker(ANY_PORT, false, 1).unwrap();
        let taken = first[0].local_addr().unwrap();
        let error = check_port_is_unused_and_bind_for_each_worker(taken, false, 1).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("another process"), "{error}");
    }
}
