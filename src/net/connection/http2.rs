//! Drives one HTTP/2 connection, and bounds what it may cost. A listener with `http2 = true` offers HTTP/2 by ALPN on
//! TLS, and recognizes its preface on a plain connection.
//!
//! The limits are those of a server that reads no bodies and sends small ones. hyper and h2 have no idle timeout, and
//! they answer PING and SETTINGS without a bound. So this file keeps the connection's phase, and counts the bytes that
//! a client sends between two requests.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::http2,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::spawn_local,
};

use crate::net::{
    close_reason::CloseReason,
    connection::{
        protocol::ReplayStream,
        state::{ConnectionPhase, ConnectionState},
        table::{ConnectionTable, OpenConnection},
        too_large,
    },
    limits::Limits,
    stream::forward_writes,
};

/// Open streams of a connection (Envoy's value for edges).
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// Unread bytes of one request body. Bodies are never read.
const STREAM_WINDOW: u32 = 64 << 10;
/// Unread bytes of all request bodies of a connection.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Unsent bytes of one stream's answer.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes of a request head that h2 takes above the limit, so that the connection answers it and h2 does not; h2 counts
/// 32 bytes more for each field than a head has.
const HEADER_BYTES_ABOVE_LIMIT: u32 = 8 << 10;
/// Streams that a client opened and reset before they were accepted (CVE-2023-44487).
const MAX_RESETS_BY_CLIENT: usize = 20;
/// Streams that the server reset because of a client's errors ("MadeYouReset").
const MAX_RESETS_BY_SERVER: usize = 256;
/// The interval of PINGs to an idle client.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// The time within which a client must answer a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a client may send between two requests: bodies up to the connection's window, and the same again in
/// frames that request nothing, which are some 30 000 PINGs.
const MAX_BYTES_BETWEEN_REQUESTS: usize = 2 * CONNECTION_WINDOW as usize;

/// hyper's settings for every HTTP/2 connection of a worker.
pub(super) fn hyper_builder_from_limits(limits: &Limits) -> http2::Builder<PollOnceThenSpawnExecutor> {
    let mut builder = http2::Builder::new(PollOnceThenSpawnExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(limits.max_header_bytes.as_usize() as u32 + HEADER_BYTES_ABOVE_LIMIT)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS_BY_CLIENT)
        .max_local_error_reset_streams(MAX_RESETS_BY_SERVER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Polls a stream's future at once on the worker's thread, and spawns a task only if it is pending. An answer that is
/// ready leaves in one packet with the connection's own frames, and costs no task.
#[derive(Clone, Copy)]
pub(super) struct PollOnceThenSpawnExecutor;

impl<F: Future<Output = ()> + 'static> Executor<F> for PollOnceThenSpawnExecutor {
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        // The spawned task polls again with its own waker, so no wake is lost.
        if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            spawn_local(stream);
        }
    }
}

/// Shared by the streams of one connection and by its socket.
struct ActiveStreams {
    table: Rc<ConnectionTable>,
    state: Rc<ConnectionState>,
    /// Requests without an answer.
    unanswered: Cell<usize>,
    bytes_since_last_request: Cell<usize>,
}

impl ActiveStreams {
    /// Counts a request. The last one of the connection starts the connection's close.
    fn count_request_and_start_close_after_last(&self) {
        if self.state.count_request_and_return_whether_last() && self.state.closing.get().is_none() {
            self.state
                .request_goaway_and_set_abort_deadline(CloseReason::MaxRequests, self.table.last_request_deadline());
        }
    }
}

/// One request. Dropped once its answer is ready, or its stream is reset.
struct UnansweredRequest(Rc<ActiveStreams>);

impl UnansweredRequest {
    fn count_and_enter_answering_phase(streams: Rc<ActiveStreams>) -> UnansweredRequest {
        let ActiveStreams { table, state, unanswered, bytes_since_last_request } = &*streams;
        bytes_since_last_request.set(0);
        unanswered.set(unanswered.get() + 1);
        state.enter_phase(ConnectionPhase::Answering, table.now());
        UnansweredRequest(streams)
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        let ActiveStreams { table, state, unanswered, .. } = &*self.0;
        unanswered.set(unanswered.get() - 1);
        if unanswered.get() == 0 {
            state.enter_phase(ConnectionPhase::Idle, table.now());
            state.request_timer.mark_answer_ready_if_measuring();
        }
    }
}

/// Answers the requests of one connection until it ends. Returns why it ended.
pub(super) async fn serve_until_closed_and_return_reason<S, F>(
    builder: &http2::Builder<PollOnceThenSpawnExecutor>,
    max_header_bytes: usize,
    connection: &OpenConnection,
    stream: ReplayStream,
    service: S,
) -> CloseReason
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + 'static,
{
    let (table, state) = (connection.table(), &connection.state);
    state.is_http2.set(true);
    state.enter_phase(ConnectionPhase::Idle, table.now());
    if table.is_draining() {
        // The drain began while this connection was being set up.
        state.request_goaway_and_set_abort_deadline(CloseReason::Drained, table.goaway_deadline());
    }
    let streams = Rc::new(ActiveStreams {
        table: table.clone(),
        state: state.clone(),
        unanswered: Cell::new(0),
        bytes_since_last_request: Cell::new(0),
    });
    let io = TokioIo::new(FloodGuardedStream { stream, streams: streams.clone() });
    let answer_request = service_fn(|request| {
        let unanswered = UnansweredRequest::count_and_enter_answering_phase(streams.clone());
        streams.count_request_and_start_close_after_last();
        // The request is dropped here, and with it the memory of its fields.
        let answer = (!too_large::is_http2_head_too_large(&request, max_header_bytes)).then(|| service(request));
        async move {
            let answer = match answer {
                Some(answer) => answer.await,
                None => Ok(too_large::http2_answer()),
            };
            drop(unanswered);
            answer
        }
    });
    let mut http = builder.serve_connection(io, answer_request);
    let mut goaway_reason = None;
    poll_fn(|cx| poll_unless_aborted_and_send_goaway_when_closing(&mut http, &mut goaway_reason, table, state, cx))
        .await
}

/// Polls hyper's connection, unless the table aborts it. Sends GOAWAY once the connection is to close. Returns why it
/// ended.
fn poll_unless_aborted_and_send_goaway_when_closing<S>(
    http: &mut http2::Connection<TokioIo<FloodGuardedStream>, S, PollOnceThenSpawnExecutor>,
    goaway_reason: &mut Option<CloseReason>,
    table: &ConnectionTable,
    state: &ConnectionState,
    cx: &mut Context<'_>,
) -> Poll<CloseReason>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: 'static>,
{
    loop {
        if let Some(reason) = state.poll_abort_reason(cx) {
            return Poll::Ready(reason);
        }
        let closing = state.closing.get().or(table.is_draining().then_some(CloseReason::Drained));
        if goaway_reason.is_none() && closing.is_some() {
            *goaway_reason = closing;
            Pin::new(&mut *http).graceful_shutdown();
        }
        return match Pin::new(&mut *http).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(goaway_reason.unwrap_or(CloseReason::Done)),
            Poll::Ready(Err(error)) => Poll::Ready(CloseReason::from(&error)),
            // This poll accepted the last request, so GOAWAY is due.
            Poll::Pending if goaway_reason.is_none() && state.closing.get().is_some() => continue,
            Poll::Pending => Poll::Pending,
        };
    }
}

/// The stream below hyper. It aborts a connection that sends much and requests nothing.
struct FloodGuardedStream {
    stream: ReplayStream,
    streams: Rc<ActiveStreams>,
}

impl AsyncRead for FloodGuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = self.streams.bytes_since_last_request.get();
        if bytes > MAX_BYTES_BETWEEN_REQUESTS {
            self.streams.state.abort(CloseReason::Flood);
            return Poll::Pending;
        }
        let filled_before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let len = buf.filled().len() - filled_before;
        self.streams.bytes_since_last_request.set(bytes + len);
        if len > 0 && self.streams.unanswered.get() == 0 {
            self.streams.state.request_timer.restart_if_running_else_start_if_sampled();
        }
        read
    }
}

forward_writes!(FloodGuardedStream, stream);
