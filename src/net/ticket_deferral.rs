//! Holds a TLS session ticket back until the first answer, so that it needs no packet of its own.
//!
//! In TLS 1.3 a server has its session ticket ready once it has the client's Finished (RFC 8446 §4.6.1), and
//! tokio-rustls sends it at once: a packet that nobody waits for. A browser sends its request right behind its
//! Finished, so the ticket waits for that request's answer. It waits a millisecond at most, because it also
//! acknowledges the Finished: a client with Nagle's algorithm sends its request only after that, and a delayed
//! acknowledgement would take 40 ms.
//!
//! Only a ticket is held back. Every earlier flight begins with a record of another type: ServerHello,
//! HelloRetryRequest, every message of TLS 1.2.

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

/// The type of an encrypted TLS record (RFC 8446 §5.2).
const APPLICATION_DATA: u8 = 23;

/// How many slices leave with the ticket in one write at most: more than an answer has records. The others leave with
/// the next write.
const MAX_SLICES: usize = 8;

/// How long a ticket waits for a request.
const MAX_TICKET_DELAY: Duration = Duration::from_millis(1);

/// The stream below a TLS session. It buffers the ticket that is written at the end of the handshake, and sends it with
/// the next write, or after [`MAX_TICKET_DELAY`].
#[derive(Debug)]
pub struct TicketDeferringStream<S> {
    stream: S,
    is_handshaking: bool,
    /// The last write was incomplete, so the next one begins within a record.
    last_write_was_partial: bool,
    /// No wait for a request any more: bytes of one were read, or the delay has passed.
    ticket_is_due: bool,
    closed_without_notify: bool,
    /// The ticket, or what is left of it.
    deferred: Vec<u8>,
    /// Runs from the first time when no request was there.
    delay: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TicketDeferringStream<S> {
    /// Wraps the stream of a connection whose handshake is to begin.
    pub(super) fn new(stream: S) -> TicketDeferringStream<S> {
        TicketDeferringStream {
            stream,
            is_handshaking: true,
            last_write_was_partial: false,
            ticket_is_due: false,
            closed_without_notify: false,
            deferred: Vec::new(),
            delay: None,
        }
    }

    /// Ends the buffering: the next write sends the deferred bytes first.
    pub(super) fn note_handshake_done(&mut self) {
        self.is_handshaking = false;
    }

    /// Whether bytes are deferred. After a failed handshake they are the alert.
    pub(super) fn has_deferred_bytes(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Notes that bytes of a request were read: the ticket waits for the answer.
    pub(super) fn note_request_read(&mut self) {
        self.ticket_is_due = true;
        self.delay = None;
    }

    /// Notes that there was nothing to read. Starts the ticket's delay, or sends the ticket once the delay has passed.
    pub(super) fn start_or_poll_delay_then_send_ticket(&mut self, cx: &mut Context<'_>) {
        if self.ticket_is_due || self.deferred.is_empty() {
            return;
        }
        let delay = self.delay.get_or_insert_with(|| Box::pin(sleep(MAX_TICKET_DELAY)));
        if delay.as_mut().poll(cx).is_ready() {
            // The next write sends what cannot be sent now, and meets the same error.
            let _ = self.poll_write_deferred_then_bufs_and_count_bufs_bytes(cx, &[]);
            self.ticket_is_due = true;
        }
    }

    /// Notes that the client closed its side without a close_notify.
    pub(super) fn note_closed_without_notify(&mut self) {
        self.closed_without_notify = true;
    }

    pub(super) fn is_closed_without_notify(&self) -> bool {
        self.closed_without_notify
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Writes the deferred bytes, and `bufs` behind them. Returns how many bytes of `bufs` were written; 0 if there
    /// were no deferred bytes or no more than they fitted.
    fn poll_write_deferred_then_bufs_and_count_bufs_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while !self.deferred.is_empty() {
            let mut slices = [IoSlice::new(&self.deferred); MAX_SLICES];
            let more = bufs.len().min(MAX_SLICES - 1);
            slices[1..=more].copy_from_slice(&bufs[..more]);
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..=more]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let written_deferred = written.min(self.deferred.len());
            self.deferred.drain(..written_deferred);
            if written > written_deferred {
                return Poll::Ready(Ok(written - written_deferred));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TicketDeferringStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TicketDeferringStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_encrypted = bufs.iter().find_map(|buf| buf.first()) == Some(&APPLICATION_DATA);
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_handshaking && is_encrypted && !self.last_write_was_partial {
            bufs.iter().for_each(|buf| self.deferred.extend_from_slice(buf));
            return Poll::Ready(Ok(len));
        }
        let mut written = ready!(self.poll_write_deferred_then_bufs_and_count_bufs_bytes(cx, bufs))?;
        if written == 0 {
            written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        }
        self.last_write_was_partial = written < len;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_deferred_then_bufs_and_count_bufs_bytes(cx, &[]))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
