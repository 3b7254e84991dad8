//! What happens on a connection before its first request: whatever its listener is set to want, in this order, under the deadline of
//! a new connection.
//!
//! 1. The PROXY protocol's header is taken off ([`proxy_protocol`]).

use crate::net::{
    counts::Closed,
    listen::Listen,
    peer::{Networks, Peer},
    proxy_protocol,
    stream::Stream,
};

/// The steps of one listener's connections. One for each worker and listener.
#[derive(Debug)]
pub struct Opening {
    listen: Listen,
    /// Who may send a PROXY protocol header.
    trusted: Networks,
}

impl Opening {
    /// The steps that this entry of `edge.listen` asks for; `trusted` is `edge.trusted_proxies`.
    pub fn new(listen: Listen, trusted: Networks) -> Opening {
        Opening { listen, trusted }
    }

    /// Whether HTTP/2 is spoken here.
    pub(super) fn http2(&self) -> bool {
        self.listen.http2
    }

    /// Takes the steps; gives the stream that speaks HTTP, and who is at its other end. `Err`: the connection ends here, and why.
    pub(super) async fn run(&self, stream: Stream, peer: Peer) -> Result<(Stream, Peer), Closed> {
        let peer = proxy_protocol::open(self.listen.proxy_protocol, &self.trusted, &stream, peer).await?;
        Ok((stream, peer))
    }
}
