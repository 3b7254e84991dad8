//! What happens on a connection before its first request: whatever its listener is set to want, in this order, under the deadline of
//! a new connection.
//!
//! 1. The PROXY protocol's header is taken off ([`proxy_protocol`]).
//! 2. The connection takes its place among those of its address.
//! 3. TLS ([`crate::net::tls`]). On a listener with TLS all three have its deadline together, `edge.limits.handshake_timeout`.

use std::rc::Rc;

use crate::net::{
    counts::Closed,
    listen::Listen,
    peer::{Networks, Peer},
    proxy_protocol,
    stream::Stream,
    tls::Handshakes,
};

/// The steps of one listener's connections. One for each worker and listener.
#[derive(Debug)]
pub struct Opening {
    listen: Listen,
    /// Who may send a PROXY protocol header.
    trusted: Networks,
    handshakes: Option<Rc<Handshakes>>,
}

impl Opening {
    /// The steps that this entry of `edge.listen` asks for; `trusted` is `edge.trusted_proxies`, `handshakes` are the worker's own: a
    /// listener without TLS has none.
    pub fn new(listen: Listen, trusted: Networks, handshakes: Option<Rc<Handshakes>>) -> Opening {
        let handshakes = handshakes.filter(|_| listen.tls);
        Opening { listen, trusted, handshakes }
    }

    /// Whether HTTP/2 is spoken here.
    pub(super) fn http2(&self) -> bool {
        self.listen.http2
    }

    /// Takes the steps; gives the stream that speaks HTTP, and who is at its other end. `admit` says whether its address may have
    /// another connection; `begun` is called once the client has begun what will be a request: a stopping process then lets it
    /// finish. `Err`: the connection ends here, and why.
    pub(super) async fn run(
        &self,
        stream: Stream,
        peer: Peer,
        admit: impl FnOnce(&Stream, Peer) -> Result<(), Closed>,
        begun: impl Fn(),
    ) -> Result<(Stream, Peer), Closed> {
        let header = proxy_protocol::open(self.listen.proxy_protocol, &self.trusted, &stream, peer);
        match &self.handshakes {
            Some(handshakes) => {
                let deadline = handshakes.deadline();
                let peer = handshakes.before(deadline, header).await?;
                admit(&stream, peer)?;
                let stream = handshakes.run(stream, peer.address, self.listen.http2, deadline, begun).await?;
                Ok((stream, Peer { tls: true, ..peer }))
            }
            None => {
                let peer = header.await?;
                admit(&stream, peer)?;
                Ok((stream, Peer { upgrade: self.listen.upgrade, ..peer }))
            }
        }
    }
}
