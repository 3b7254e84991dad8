//! Serves connections of one worker from the accept to the end: set-up, choice of the HTTP version, then HTTP.

use std::{convert::Infallible, future::Future, rc::Rc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1 as hyper_http1, http2 as hyper_http2},
};

use crate::net::{
    connection::{
        http1,
        http2::{self, PollOnceThenSpawnExecutor},
        protocol::{ConnectionProtocol, detect_protocol_by_alpn_or_preface},
        setup::ConnectionSetup,
        table::ConnectionTable,
    },
    limits::Limits,
    peer::Peer,
    stream::Stream,
};

/// One worker's server: its connection table, and hyper's settings for both versions of HTTP.
pub struct ConnectionServer {
    table: Rc<ConnectionTable>,
    http1: hyper_http1::Builder,
    http2: hyper_http2::Builder<PollOnceThenSpawnExecutor>,
    max_header_bytes: usize,
}

impl ConnectionServer {
    /// A server that keeps its connections in `table`.
    pub fn new(limits: &Limits, table: Rc<ConnectionTable>) -> Rc<ConnectionServer> {
        let (http1, http2) = (http1::hyper_builder_from_limits(limits), http2::hyper_builder_from_limits(limits));
        Rc::new(ConnectionServer { table, http1, http2, max_header_bytes: limits.max_header_bytes.as_usize() })
    }

    /// Puts an accepted connection into the table at once, and returns the future that serves it to its end. `service`
    /// answers each request; it never fails.
    pub fn register_now_and_serve_until_closed<S, F>(
        self: Rc<Self>,
        (stream, peer): (Stream, Peer),
        setup: Rc<ConnectionSetup>,
        service: S,
    ) -> impl Future<Output = ()>
    where
        S: Fn(Peer, Request<Incoming>) -> F,
        F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + 'static,
    {
        let mut connection = self.table.register_new_connection();
        async move {
            let state = connection.state.clone();
            let set_up = async {
                let (stream, peer) =
                    setup.resolve_peer_acquire_permit_and_complete_tls(stream, peer, &mut connection).await?;
                let (protocol, stream) =
                    detect_protocol_by_alpn_or_preface(stream, setup.allows_http2(), &state).await?;
                Ok((protocol, stream, peer))
            };
            match state.run_unless_aborted(set_up).await {
                Ok(Ok((ConnectionProtocol::Http1, stream, peer))) => {
                    http1::serve_until_closed_and_record_reason(&self.http1, &connection, stream, |request| {
                        service(peer, request)
                    })
                    .await;
                }
                Ok(Ok((ConnectionProtocol::Http2, stream, peer))) => {
                    // In a box: this future is several times as large as that of an HTTP/1.1 connection.
                    let serve = http2::serve_until_closed_and_return_reason(
                        &self.http2,
                        self.max_header_bytes,
                        &connection,
                        stream,
                        |request| service(peer, request),
                    );
                    connection.close_reason.set(Box::pin(serve).await);
                }
                Ok(Err(reason)) | Err(reason) => connection.close_reason.set(reason),
            }
        }
    }
}

#[cfg(test)]
mod tests;
