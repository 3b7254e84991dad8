//! A connection's bytes, whatever carries them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream<Stream>>),
}

impl Stream {
    /// Resolves once there are bytes to read, or the other side has closed.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
            // Never below another TLS.
            Stream::Tls(_) => Ok(()),
        }
    }
}

impl Stream {
    /// Whether the other side has said that it sends no more; of a stream that is [`Stream::readable`].
    pub(super) async fn left(&self) -> io::Result<bool> {
        match self {
            Stream::Tcp(stream) => Ok(stream.ready(Interest::READABLE).await?.is_read_closed()),
            Stream::Unix(stream) => Ok(stream.ready(Interest::READABLE).await?.is_read_closed()),
            Stream::Tls(_) => Ok(false),
        }
    }
}

/// What a TLS handshake agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// No TLS: its first bytes say.
    Nothing,
    /// HTTP/1.1, or the client did not say.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Stream {
    /// What was agreed on before the first byte of HTTP.
    pub fn negotiated(&self) -> Negotiated {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Negotiated::Nothing,
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Negotiated::Http2,
            Stream::Tls(_) => Negotiated::Http1,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
