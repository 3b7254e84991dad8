//! What happens on a connection before its first request: whatever its listener is set to want, in this order, under the deadline of
//! a new connection.
//!
//! 1. TLS, under a deadline of its own ([`crate::net::tls`]).

use std::sync::Arc;

use crate::net::{counts::Closed, listen::Listen, peer::Peer, stream::Stream, tls::Handshakes};

/// The steps of one listener's connections. One for each worker and listener.
#[derive(Debug)]
pub struct Opening {
    handshakes: Option<Arc<Handshakes>>,
    upgrade: bool,
}

impl Opening {
    /// The steps that this entry of `edge.listen` asks for. `handshakes` are the worker's own; a listener without TLS has none.
    pub fn new(listen: Listen, handshakes: Option<Arc<Handshakes>>) -> Opening {
        Opening { handshakes: handshakes.filter(|_| listen.tls), upgrade: listen.upgrade }
    }

    /// Takes the steps; gives the stream that speaks HTTP, and who is at its other end. `begun` is called once the client has begun
    /// what will be a request: a stopping process then lets it finish. `Err`: the connection ends here, and why.
    pub(super) async fn run(&self, stream: Stream, peer: Peer, begun: impl Fn()) -> Result<(Stream, Peer), Closed> {
        match &self.handshakes {
            Some(handshakes) => Ok((handshakes.run(stream, begun).await?, Peer { tls: true, ..peer })),
            None => Ok((stream, Peer { upgrade: self.upgrade, ..peer })),
        }
    }
}
