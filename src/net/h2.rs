//! HTTP/2: which connections speak it, and what one may cost.
//!
//! A listener with `http2 = true` speaks it to whoever chose it: by ALPN on TLS, by its preface on a plain connection. The limits are
//! those of a server that reads no bodies and sends small ones; hyper and h2 know no idle timeout and answer PING and SETTINGS for ever,
//! so a connection's phase and the bytes that it sends without asking for anything are watched here:
//!
//! ```text
//! New ──preface──▶ Idle ──first stream──▶ Busy ──last answer──▶ Idle … idle_timeout, also for a client whose
//!  └ header_timeout ┘                                             windows let no answer out or whose head never ends
//! ```

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    task::spawn_local,
};

use crate::net::{
    Limits,
    counts::Closed,
    http::{Connections, GOAWAY_GRACE},
    seen::{Phase, Seen},
    stream::{Negotiated, Stream, writes_to},
};

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams open at a time (Envoy's edge value).
const STREAMS: u32 = 100;
/// What a client may send of one body before it is read: nothing is ever read.
const STREAM_WINDOW: u32 = 64 << 10;
/// The same of all bodies of a connection.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// What one stream may hold of an answer.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that were opened and reset before we saw them (CVE-2023-44487).
const RESET_BY_CLIENT: usize = 20;
/// Streams that a client's mistakes made us reset ("MadeYouReset").
const RESET_BY_US: usize = 256;
/// A client that does not answer a PING is gone.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// What a client may send between two requests, bytes: bodies that nobody reads, up to the connection's window, and as
/// much again of frames that ask for nothing. Some 30 000 PINGs.
const UNASKED: usize = 2 * CONNECTION_WINDOW as usize;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What this connection speaks: what its TLS handshake agreed on, else what its first bytes say where `http2` is
/// spoken. Reads no byte otherwise. Bound it by the deadline of a new connection.
pub(super) async fn choose(mut stream: Stream, http2: bool, seen: &Seen) -> Result<(Protocol, Begun), Closed> {
    let (mut first, mut len) = ([0; PREFACE.len()], 0);
    let protocol = match stream.negotiated() {
        Negotiated::Http2 => Protocol::Http2,
        Negotiated::Http1 => Protocol::Http1,
        Negotiated::Nothing if !http2 => Protocol::Http1,
        Negotiated::Nothing => loop {
            match stream.read(&mut first[len..]).await.map_err(|_| Closed::Reset)? {
                0 => break Protocol::Http1,
                n => len += n,
            }
            seen.phase.set(Phase::Head);
            if !PREFACE.starts_with(&first[..len]) {
                break Protocol::Http1;
            }
            if len == PREFACE.len() {
                break Protocol::Http2;
            }
        },
    };
    Ok((protocol, Begun { stream, first, unread: 0..len }))
}

/// A stream some of whose bytes were read already.
pub(super) struct Begun {
    stream: Stream,
    first: [u8; PREFACE.len()],
    unread: std::ops::Range<usize>,
}

impl Begun {
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.first[self.unread.start..][..n]);
        self.unread.start += n;
        Poll::Ready(Ok(()))
    }
}

writes_to!(Begun, stream);

/// Runs streams on their worker's thread, at once: an answer that is ready leaves in one packet with what the connection itself has
/// to say, and needs no task.
#[derive(Clone, Copy)]
pub(super) struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        // Whatever it waits for, its task asks again with a waker of its own.
        if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            spawn_local(stream);
        }
    }
}

/// The limits, for every connection of a worker.
pub(super) fn builder(limits: &Limits) -> http2::Builder<Here> {
    let mut builder = http2::Builder::new(Here);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(limits.headers.as_usize() as u32)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_BY_CLIENT)
        .max_local_error_reset_streams(RESET_BY_US)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// What the streams of one connection share.
struct Streams {
    connections: Rc<Connections>,
    seen: Rc<Seen>,
    /// Asked and not answered yet.
    open: Cell<usize>,
    /// Bytes since the last request.
    unasked: Cell<usize>,
}

/// One request, until its answer is there or its stream is reset.
struct Asked(Rc<Streams>);

impl Asked {
    fn begin(streams: Rc<Streams>) -> Asked {
        streams.unasked.set(0);
        streams.open.set(streams.open.get() + 1);
        streams.seen.enter(Phase::Busy, streams.connections.now());
        if streams.seen.request() == 0 && streams.seen.leaving.get().is_none() {
            streams.seen.last_stream(Closed::Requests, streams.connections.now() + streams.connections.idle_timeout());
        }
        Asked(streams)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.seen.enter(Phase::Idle, self.0.connections.now());
        }
    }
}

/// Serves one connection to its end; says why it ended.
pub(super) async fn run<S, F>(connections: Rc<Connections>, stream: Begun, service: S, seen: Rc<Seen>) -> Closed
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + 'static,
{
    seen.h2.set(true);
    seen.enter(Phase::Idle, connections.now());
    if connections.draining() {
        // It was opened while the others were told.
        seen.last_stream(Closed::Drained, connections.now() + GOAWAY_GRACE);
    }
    let streams = Rc::new(Streams {
        connections: connections.clone(),
        seen: seen.clone(),
        open: Cell::new(0),
        unasked: Cell::new(0),
    });
    let io = TokioIo::new(Metered { stream, streams: streams.clone() });
    let answer = service_fn(|request| {
        let asked = Asked::begin(streams.clone());
        let answer = service(request);
        async move {
            let answer = answer.await;
            drop(asked);
            answer
        }
    });
    let mut connection = connections.http2().serve_connection(io, answer);
    let mut told = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Some(closed) = seen.look(cx) {
                return Poll::Ready(closed);
            }
            let leaving = seen.leaving.get().or(connections.draining().then_some(Closed::Drained));
            if told.is_none() && leaving.is_some() {
                told = leaving;
                Pin::new(&mut connection).graceful_shutdown();
            }
            return match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(told.unwrap_or(Closed::Done)),
                Poll::Ready(Err(error)) => Poll::Ready(Closed::from(&error)),
                // This poll took the last request in.
                Poll::Pending if told.is_none() && seen.leaving.get().is_some() => continue,
                Poll::Pending => Poll::Pending,
            };
        }
    })
    .await
}

/// The socket, ending a connection that sends much and asks for nothing.
struct Metered {
    stream: Begun,
    streams: Rc<Streams>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.streams.unasked.get() > UNASKED {
            self.streams.seen.end(Closed::Flood);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.streams.unasked.set(self.streams.unasked.get() + buf.filled().len() - before);
        read
    }
}

writes_to!(Metered, stream);
