//! Listening sockets that the service manager opened for this process (`sd_listen_fds(3)`).

use std::io;

use listenfd::ListenFd;

use crate::net::listen::listener::ListeningSocket;

/// The inherited sockets by name. They are taken from the environment once, at the first request for one.
#[derive(Default)]
pub(super) struct InheritedSockets(Option<(ListenFd, Vec<String>)>);

impl InheritedSockets {
    /// Takes the socket of this name, set to non-blocking.
    ///
    /// # Errors
    /// Not exactly one socket has this name, it was taken before, or it is no listening stream socket.
    pub(super) fn take_nonblocking_socket_by_name(&mut self, name: &str) -> io::Result<ListeningSocket> {
        let (sockets, names) = self.0.get_or_insert_with(|| {
            let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
            (ListenFd::from_env(), names.split(':').map(str::to_owned).collect())
        });
        let index = find_index_of_only_socket_named(sockets.len(), names, name)?;
        let socket = match sockets.take_tcp_listener(index) {
            Ok(Some(listener)) => ListeningSocket::Tcp(listener),
            Ok(None) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "two entries of edge.listen name it")),
            Err(_) => match sockets.take_unix_listener(index)? {
                Some(listener) => ListeningSocket::Unix(listener),
                None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening stream socket")),
            },
        };
        match &socket {
            ListeningSocket::Tcp(listener) => {
                // Accepted sockets inherit it, as with our own listeners.
                socket2::SockRef::from(listener).set_tcp_nodelay(true)?;
                listener.set_nonblocking(true)?;
            }
            ListeningSocket::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }
}

/// The index of the only one of `count` sockets that has this name.
fn find_index_of_only_socket_named(count: usize, names: &[String], name: &str) -> io::Result<usize> {
    // systemd before 227 gives no names; all sockets are "unknown" then.
    let has_name = |index: &usize| names.get(*index).map_or("unknown", String::as_str) == name;
    let mut named = (0..count).filter(has_name);
    if let (Some(index), None) = (named.next(), named.next()) {
        return Ok(index);
    }
    let message = if count == 0 {
        "the service manager handed no socket over: start it by a socket unit".to_owned()
    } else {
        format!("not exactly one socket of this name was handed over, only: {}", names.join(", "))
    };
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}
