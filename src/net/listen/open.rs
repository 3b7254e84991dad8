//! Opens the listeners of all workers.

use std::{net::SocketAddr, sync::Arc};

use crate::net::listen::{
    config::{ListenAddress, ListenConfig},
    error::BindError,
    listener::{Listener, ListeningSocket},
    socket_activation::InheritedSockets,
    tcp, unix,
};

/// Opens one listener for each worker and entry of `edge.listen`. The result has a list for each worker, in the order
/// of `listen`. With port 0 all workers get the same free port.
///
/// # Errors
/// An address cannot be listened on; the error names it, the cause and what to do.
pub fn open_listeners_by_worker(listen: &[ListenConfig], workers: usize) -> Result<Vec<Vec<Listener>>, BindError> {
    let mut by_worker: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut inherited = InheritedSockets::default();
    for ListenConfig { address, .. } in listen {
        let bind_error = |source| BindError { address: address.clone(), source };
        let (socket, is_inherited, file) = match address {
            ListenAddress::Tcp(tcp) => {
                let sockets = tcp::check_port_is_unused_and_bind_for_each_worker(
                    *tcp,
                    is_ipv4_of_port_served_by_own_entry(*tcp, listen),
                    workers,
                )?;
                for (listeners, socket) in by_worker.iter_mut().zip(sockets) {
                    let socket = ListeningSocket::Tcp(socket);
                    listeners.push(Listener { socket, is_inherited: false, _file: None });
                }
                continue;
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = unix::bind_nonblocking_replacing_stale_socket(path).map_err(bind_error)?;
                (ListeningSocket::Unix(socket), false, Some(Arc::new(file)))
            }
            ListenAddress::Systemd(name) => {
                (inherited.take_nonblocking_socket_by_name(name).map_err(bind_error)?, true, None)
            }
        };
        for listeners in &mut by_worker {
            let socket = socket.try_clone().map_err(bind_error)?;
            listeners.push(Listener { socket, is_inherited, _file: file.clone() });
        }
    }
    Ok(by_worker)
}

/// Whether an IPv6 address must not serve IPv4 too, because an entry of its own does that on the same port.
fn is_ipv4_of_port_served_by_own_entry(address: SocketAddr, listen: &[ListenConfig]) -> bool {
    let is_ipv4_of_same_port = |other: &ListenConfig| match other.address {
        ListenAddress::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
        _ => false,
    };
    address.is_ipv6() && address.port() != 0 && listen.iter().any(is_ipv4_of_same_port)
}
