//! Who is at the other end of a connection.

use std::net::IpAddr;

/// What a connection says of its other end, before any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; of a Unix socket, this machine's.
    pub address: IpAddr,
    /// Whether it speaks TLS with us.
    pub tls: bool,
    /// Whether its listener sends it to `https` instead of answering.
    pub upgrade: bool,
}

impl Peer {
    /// Somebody at this address, of whom nothing else is known yet.
    pub const fn at(address: IpAddr) -> Peer {
        Peer { address, tls: false, upgrade: false }
    }
}
