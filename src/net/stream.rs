//! A connection's bytes, whatever carries them.

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

use crate::net::ticket::Ticketed;

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// Over the network.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream<Ticketed<Stream>>>),
}

/// Before the first read; what comes before TLS is not looked for in it.
impl Stream {
    /// Resolves once there are bytes to read, or the other side has closed. That a socket is ready does not say so: the runtime takes
    /// every accepted one for readable until it is found not to be.
    pub(super) async fn readable(&self) -> io::Result<()> {
        loop {
            self.ready().await?;
            match self.try_read_io(|| self.peek(&mut [0])) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                looked => return looked.map(drop),
            }
        }
    }

    pub(super) async fn ready(&self) -> io::Result<Ready> {
        match self {
            Stream::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Stream::Unix(stream) => stream.ready(Interest::READABLE).await,
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the other side has said that it sends no more.
    pub(super) async fn left(&self) -> io::Result<bool> {
        Ok(self.ready().await?.is_read_closed())
    }

    pub(super) fn try_read_io<T>(&self, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, step),
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, step),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Looks at the first bytes and leaves them; 0: the other side has closed.
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
    /// Says over TLS that the end is meant (close_notify), as far as the socket takes it at once; without TLS its close says so.
    pub(super) fn farewell(mut self) {
        if let Stream::Tls(_) = self {
            // Pending or an error: the client does not read, or is gone.
            let _ = Pin::new(&mut self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
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
            Stream::Tls(stream) => {
                let read = Pin::new(&mut **stream).poll_read(cx, buf);
                let below = stream.get_mut().0;
                match &read {
                    Poll::Pending => below.nothing_asked(cx),
                    Poll::Ready(Ok(())) => below.asked(),
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => below.gone(),
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

    /// TLS hands over all the records of a flight at once; each of them sent for itself costs a packet more.
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
            // Who left without a close_notify, as browsers do, does not wait for ours.
            Stream::Tls(stream) if stream.get_ref().0.is_gone() => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// Writes of a type that has another stream in a field go to that stream.
macro_rules! writes_to {
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
pub(super) use writes_to;
