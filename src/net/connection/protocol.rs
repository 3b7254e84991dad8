//! Which HTTP version a connection speaks: by its TLS handshake, or by its first bytes.

use std::{
    io,
    ops::Range,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::net::{
    close_reason::CloseReason,
    connection::state::{ConnectionPhase, ConnectionState},
    stream::{NegotiatedProtocol, Stream},
};

/// The first bytes of every HTTP/2 client (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionProtocol {
    Http1,
    Http2,
}

/// Returns the protocol that the TLS handshake agreed on. Without TLS, and if `http2` is allowed, reads until the first
/// bytes are or cannot be the HTTP/2 preface; otherwise reads nothing. The result gives the bytes back that were read.
/// The caller bounds the time.
pub(super) async fn detect_protocol_by_alpn_or_preface(
    mut stream: Stream,
    http2: bool,
    state: &Rc<ConnectionState>,
) -> Result<(ConnectionProtocol, ReplayStream), CloseReason> {
    let (mut first, mut len) = ([0; HTTP2_PREFACE.len()], 0);
    let protocol = match stream.negotiated_protocol() {
        NegotiatedProtocol::Http2 => ConnectionProtocol::Http2,
        NegotiatedProtocol::Http1 => ConnectionProtocol::Http1,
        NegotiatedProtocol::None if !http2 => ConnectionProtocol::Http1,
        NegotiatedProtocol::None => loop {
            match stream.read(&mut first[len..]).await.map_err(|_| CloseReason::Reset)? {
                0 => break ConnectionProtocol::Http1,
                read => {
                    if len == 0 {
                        state.request_timer.count_request_and_start_if_sampled();
                    }
                    len += read;
                }
            }
            state.phase.set(ConnectionPhase::ReadingHead);
            if !HTTP2_PREFACE.starts_with(&first[..len]) {
                break ConnectionProtocol::Http1;
            }
            if len == HTTP2_PREFACE.len() {
                break ConnectionProtocol::Http2;
            }
        },
    };
    Ok((protocol, ReplayStream { stream, first, unread: 0..len, rest: Bytes::new(), state: state.clone() }))
}

/// A stream of which some bytes were read ahead, for detection or while the connection was dormant; its reads return
/// them again, and its writes end the measurement of a request.
pub(super) struct ReplayStream {
    stream: Stream,
    first: [u8; HTTP2_PREFACE.len()],
    /// The part of `first` that is still to be returned.
    unread: Range<usize>,
    /// What is to be returned behind `unread`.
    rest: Bytes,
    /// The state of the connection; its timer is told when bytes were written.
    state: Rc<ConnectionState>,
}

impl ReplayStream {
    /// Whether it is a plain socket, without TLS.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_) | Stream::Unix(_))
    }

    /// The stream itself. Bytes that were not returned yet are lost.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Lets the next reads return these bytes again. Everything that was read ahead before was returned.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        debug_assert!(!self.has_bytes_read_ahead());
        // An empty one may still hold a whole buffer.
        self.rest = if bytes.is_empty() { Bytes::new() } else { bytes };
    }

    pub(super) fn has_bytes_read_ahead(&self) -> bool {
        !self.unread.is_empty() || !self.rest.is_empty()
    }

    /// Reads up to 24 bytes, which the next reads return again. Returns whether there were any; `false`: the client has
    /// closed its side.
    pub(super) fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut buf = ReadBuf::new(&mut self.first);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.unread = 0..buf.filled().len();
        Poll::Ready(Ok(!self.unread.is_empty()))
    }
}

impl AsyncRead for ReplayStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.has_bytes_read_ahead() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.first[self.unread.start..][..len]);
        self.unread.start += len;
        let len = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReplayStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.state.request_timer.record_duration_if_answer_was_ready();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
