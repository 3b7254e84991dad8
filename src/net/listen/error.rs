//! The error of an address that cannot be listened on, with advice for the common causes.

use std::io;

use crate::net::listen::config::ListenAddress;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", advice_for_bind_error(.address, .source))]
pub struct BindError {
    /// The configured address.
    pub address: ListenAddress,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

fn advice_for_bind_error(address: &ListenAddress, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if matches!(address, ListenAddress::Unix(_)) => {
            " (another process listens there, or the file is no socket: stop it, or choose another path)"
        }
        _ if !matches!(address, ListenAddress::Tcp(_)) => "",
        io::ErrorKind::AddrInUse => " (another process listens there: stop it, or choose another address)",
        io::ErrorKind::PermissionDenied => " (a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has it: choose another address)",
        _ => "",
    }
}
