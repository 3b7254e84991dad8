//! What happens on a connection before its first request: whatever its listener is set to want, in this order, under the deadline of
//! a new connection.

use crate::net::{counts::Closed, listen::Listen, peer::Peer, stream::Stream};

/// The steps of one listener's connections. One for each worker and listener.
#[derive(Debug)]
pub struct Opening {
    listen: Listen,
}

impl Opening {
    /// The steps that this entry of `edge.listen` asks for.
    pub fn new(listen: Listen) -> Opening {
        Opening { listen }
    }

    /// Whether HTTP/2 is spoken here.
    pub(super) fn http2(&self) -> bool {
        self.listen.http2
    }

    /// Takes the steps; gives the stream that speaks HTTP, and who is at its other end. `Err`: the connection ends here, and why.
    pub(super) async fn run(&self, stream: Stream, peer: Peer) -> Result<(Stream, Peer), Closed> {
        Ok((stream, peer))
    }
}
