//! The byte stream of an accepted connection: TCP, a Unix socket, or TLS over one of them.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use crate::net::ticket_deferral::TicketDeferringStream;

/// The stream of an accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream<TicketDeferringStream<Stream>>>),
}

/// Operations on the socket before the first read, for the steps before HTTP. TLS streams do not support them.
impl Stream {
    /// Resolves once there are bytes to read, or the client has closed its side. It peeks, because the runtime takes
    /// every accepted socket for readable at first.
    pub(super) async fn wait_until_readable_or_err_if_tls(&self) -> io::Result<()> {
        loop {
            self.wait_for_read_readiness_or_err_if_tls().await?;
            match self.try_read_io_or_err_if_tls(|| self.peek(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked.map(drop),
            }
        }
    }

    /// Resolves once the runtime takes the socket for readable.
    pub(super) async fn wait_for_read_readiness_or_err_if_tls(&self) -> io::Result<Ready> {
        match self {
            Stream::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Stream::Unix(stream) => stream.ready(Interest::READABLE).await,
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits for readiness and returns whether the client has closed its side.
    pub(super) async fn wait_for_readiness_and_is_closed_by_client(&self) -> io::Result<bool> {
        Ok(self.wait_for_read_readiness_or_err_if_tls().await?.is_read_closed())
    }

    /// Runs `step`, which reads from the socket. If it returns `WouldBlock`, the runtime waits for the next readiness.
    pub(super) fn try_read_io_or_err_if_tls<T>(&self, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, step),
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, step),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Copies received bytes without removing them from the socket, and returns how many. 0: the client has closed its
    /// side.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, _) = recv(self.as_fd(), buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
        Ok(len)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.get_ref().0.stream().as_fd(),
        }
    }
}

impl Stream {
    /// Closes the stream. Over TLS it first sends close_notify, if the socket takes it at once.
    pub(super) fn try_send_close_notify_then_close(mut self) {
        if let Stream::Tls(_) = self {
            // Pending or an error: the client does not read, or is gone.
            let _ = Pin::new(&mut self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// The protocol that a TLS handshake agreed on (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NegotiatedProtocol {
    /// There was no TLS handshake.
    None,
    /// HTTP/1.1, or the client offered nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Stream {
    /// The protocol that was agreed on before the first byte of HTTP.
    pub(super) fn negotiated_protocol(&self) -> NegotiatedProtocol {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => NegotiatedProtocol::None,
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => NegotiatedProtocol::Http2,
            Stream::Tls(_) => NegotiatedProtocol::Http1,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => {
                let read = Pin::new(&mut **stream).poll_read(cx, buf);
                let below = stream.get_mut().0;
                match &read {
                    Poll::Pending => below.start_or_poll_delay_then_send_ticket(cx),
                    Poll::Ready(Ok(())) => below.note_request_read(),
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        below.note_closed_without_notify()
                    }
                    Poll::Ready(Err(_)) => {}
                }
                read
            }
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

    /// TLS hands over all records of a flight at once. Separate writes would need a packet for each record.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
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
            // A client that closed without a close_notify, as browsers do, does not wait for ours.
            Stream::Tls(stream) if stream.get_ref().0.is_closed_without_notify() => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// Implements `AsyncWrite` for a type by passing every write on to the stream in one of its fields.
macro_rules! forward_writes {
    ($outer:ty, $stream:ident) => {
        impl ::tokio::io::AsyncWrite for $outer {
            fn poll_write(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                ::std::pin::Pin::new(&mut self.$stream).poll_write(cx, buf)
            }

            fn poll_flush(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.$stream).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.$stream).poll_shutdown(cx)
            }
        }
    };
}
pub(super) use forward_writes;
