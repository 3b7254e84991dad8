//! The session ticket leaves with the first answer.
//!
//! In TLS 1.3 a server has its ticket ready once it has the client's Finished (RFC 8446 §4.6.1), and tokio-rustls sends it at once: a
//! packet of its own that nobody waits for. A browser sends its request right behind its Finished; then the ticket waits for the answer.
//! It waits a millisecond at most: it acknowledges the Finished to a client whose request waits for that (Nagle's algorithm), which a
//! delayed acknowledgement would hold up by 40 ms.
//!
//! All that comes before a ticket begins with a record of another type: ServerHello, HelloRetryRequest, every message of TLS 1.2.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The type of a record that is encrypted (RFC 8446 §5.2).
const APPLICATION_DATA: u8 = 23;

/// How many slices go out with the ticket at most: more than an answer has records. The rest goes with the next write.
const SLICES: usize = 8;

/// How long a ticket waits for a request.
const PATIENCE: Duration = Duration::from_millis(1);

/// The socket below a TLS session.
#[derive(Debug)]
pub struct Ticketed<S> {
    stream: S,
    /// Whether the handshake is under way.
    shaking: bool,
    /// The last write was cut short, so the next begins within a record.
    cut: bool,
    /// A request, or part of one, is here, or was waited for: the ticket goes with the next write.
    asked: bool,
    /// The client ended its side without a close_notify.
    gone: bool,
    /// What waits, in order.
    waiting: Vec<u8>,
    /// Until when, once there was nothing to read.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ticketed<S> {
    pub(super) fn new(stream: S) -> Ticketed<S> {
        Ticketed { stream, shaking: true, cut: false, asked: false, gone: false, waiting: Vec::new(), until: None }
    }

    /// The handshake is done: what comes now goes out, with what waited in front.
    pub(super) fn shaken(&mut self) {
        self.shaking = false;
    }

    /// Whether something waits: after a handshake that failed, the alert that says why.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The client's bytes were read.
    pub(super) fn asked(&mut self) {
        self.asked = true;
        self.until = None;
    }

    /// There is nothing to read.
    pub(super) fn nothing_asked(&mut self, cx: &mut Context<'_>) {
        if self.asked || self.waiting.is_empty() {
            return;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if until.as_mut().poll(cx).is_ready() {
            // What cannot be sent now goes before the next write, and an error is that write's too.
            let _ = self.poll_waiting(cx, &[]);
            self.asked = true;
        }
    }

    /// The client ended its side without a close_notify.
    pub(super) fn gone(&mut self) {
        self.gone = true;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Writes what waits and `bufs` behind it; how much of `bufs` went.
    fn poll_waiting(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&self.waiting); SLICES];
            let more = bufs.len().min(SLICES - 1);
            slices[1..=more].copy_from_slice(&bufs[..more]);
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..=more]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let before = written.min(self.waiting.len());
            self.waiting.drain(..before);
            if written > before {
                return Poll::Ready(Ok(written - before));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ticketed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Ticketed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let encrypted = bufs.iter().find_map(|buf| buf.first()) == Some(&APPLICATION_DATA);
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.shaking && encrypted && !self.cut {
            bufs.iter().for_each(|buf| self.waiting.extend_from_slice(buf));
            return Poll::Ready(Ok(all));
        }
        let mut written = ready!(self.poll_waiting(cx, bufs))?;
        if written == 0 {
            written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        }
        self.cut = written < all;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(cx, &[]))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
