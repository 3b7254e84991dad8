//! What a listener does with a new connection before its first request, within the deadline of a new connection:
//!
//! 1. It reads the PROXY protocol header ([`crate::net::proxy_protocol`]).
//! 2. It takes a permit of the quota by address.
//! 3. It does the TLS handshake ([`crate::net::tls`]). On a listener with TLS all three steps also share the deadline
//!    `edge.limits.handshake_timeout`.

use std::rc::Rc;

use crate::net::{
    close_reason::CloseReason,
    connection::{state::ConnectionPhase, table::OpenConnection},
    listen::ListenConfig,
    peer::{Peer, TrustedNetworks},
    proxy_protocol,
    stream::Stream,
    tls::Handshaker,
};

/// The set-up of the connections of one listener. Each worker has one for each listener.
#[derive(Debug)]
pub struct ConnectionSetup {
    listen: ListenConfig,
    /// The peers that may send a PROXY protocol header.
    trusted: TrustedNetworks,
    /// `None` on a listener without TLS.
    handshaker: Option<Rc<Handshaker>>,
}

impl ConnectionSetup {
    /// The set-up for an entry of `edge.listen`. `trusted` is `edge.trusted_proxies`; `handshaker` is the worker's own,
    /// and is used only if the listener has TLS.
    pub fn new(listen: ListenConfig, trusted: TrustedNetworks, handshaker: Option<Rc<Handshaker>>) -> ConnectionSetup {
        let handshaker = handshaker.filter(|_| listen.tls);
        ConnectionSetup { listen, trusted, handshaker }
    }

    /// Whether HTTP/2 is spoken beside HTTP/1.1.
    pub(super) fn allows_http2(&self) -> bool {
        self.listen.http2
    }

    /// Runs all steps. Returns the stream that carries HTTP, and its peer. `Err`: the connection is to be closed.
    pub(super) async fn resolve_peer_acquire_permit_and_complete_tls(
        &self,
        stream: Stream,
        peer: Peer,
        connection: &mut OpenConnection,
    ) -> Result<(Stream, Peer), CloseReason> {
        let proxy_header =
            proxy_protocol::read_header_and_resolve_peer(self.listen.proxy_protocol, &self.trusted, &stream, peer);
        let Some(handshaker) = &self.handshaker else {
            let peer = proxy_header.await?;
            connection.acquire_address_permit_unless_proxy_or_local(&stream, peer)?;
            return Ok((stream, Peer { redirect_to_https: self.listen.redirect_to_https, ..peer }));
        };
        let deadline = handshaker.handshake_deadline_from_now();
        let peer = handshaker.run_before_handshake(deadline, proxy_header).await?;
        connection.acquire_address_permit_unless_proxy_or_local(&stream, peer)?;
        // A stopping process lets a handshake finish that has begun.
        let on_first_byte = || connection.state.phase.set(ConnectionPhase::ReadingHead);
        let stream = handshaker
            .complete_handshake_and_count_outcome(stream, peer.address, self.listen.http2, deadline, on_first_byte)
            .await?;
        // The first request can come only now, so its deadline begins anew.
        connection.restart_first_request_deadline();
        Ok((stream, Peer { tls: true, ..peer }))
    }
}
