//! A worker's listener: first a bound socket, then, on the worker's runtime, one that accepts connections.

use std::{io, net::TcpListener, os::unix::net::UnixListener, path::Path, sync::Arc, time::Duration};

use crate::net::{
    listen::{config::ListenAddress, unix::UnixSocketFile},
    peer::Peer,
    stream::Stream,
};

/// A listening, non-blocking socket of one worker.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: ListeningSocket,
    /// Whether the service manager holds the socket open too.
    pub(super) is_inherited: bool,
    /// Shared by the workers; the last one removes the file.
    pub(super) _file: Option<Arc<UnixSocketFile>>,
}

#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Duplicates the descriptor, for another worker.
    pub(super) fn try_clone(&self) -> io::Result<ListeningSocket> {
        match self {
            ListeningSocket::Tcp(listener) => listener.try_clone().map(ListeningSocket::Tcp),
            ListeningSocket::Unix(listener) => listener.try_clone().map(ListeningSocket::Unix),
        }
    }
}

impl Listener {
    /// Makes the kernel drop a later accepted TCP connection whose client has acknowledged none of the sent data for
    /// `timeout`: a dead client, or one whose receive window stays closed. Without it, a closed connection with an
    /// unread answer keeps its kernel buffer in FIN-WAIT-1 for as long as the client answers probes.
    ///
    /// # Errors
    /// The kernel has no such option.
    pub fn set_unacknowledged_data_timeout_if_tcp(&self, timeout: Duration) -> io::Result<()> {
        match &self.socket {
            // Accepted sockets inherit it.
            ListeningSocket::Tcp(listener) => socket2::SockRef::from(listener).set_tcp_user_timeout(Some(timeout)),
            ListeningSocket::Unix(_) => Ok(()),
        }
    }

    /// The address that the socket is bound to, also if it is inherited.
    pub fn local_address(&self) -> io::Result<ListenAddress> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            ListeningSocket::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(ListenAddress::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }

    /// Registers the socket with the runtime of the calling thread.
    pub fn register_with_current_runtime(self) -> io::Result<AcceptingListener> {
        let socket = match self.socket {
            ListeningSocket::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(AcceptingSocket::Tcp),
            ListeningSocket::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(AcceptingSocket::Unix),
        };
        Ok(AcceptingListener { socket: socket?, is_inherited: self.is_inherited, _file: self._file })
    }
}

/// A [`Listener`] that is registered with a runtime.
#[derive(Debug)]
pub struct AcceptingListener {
    socket: AcceptingSocket,
    is_inherited: bool,
    _file: Option<Arc<UnixSocketFile>>,
}

#[derive(Debug)]
enum AcceptingSocket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl AcceptingListener {
    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            AcceptingSocket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::from_network(address.ip())))
            }
            AcceptingSocket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::UNIX))
            }
        }
    }

    /// Whether the service manager holds the socket open too. Then connections that wait in its queue belong to the
    /// next process, and an accepted connection must be answered by this one.
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }
}
