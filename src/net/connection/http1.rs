//! Drives one HTTP/1.1 connection: hyper parses and writes; this file tells the connection's state when a request
//! begins and when its answer is ready, and decides how the connection ends.
//!
//! hyper bounds the memory of a connection: its read buffer has the size of a request head, its write buffer the same,
//! and it reads no further request while an answer cannot be written.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{
    close_reason::CloseReason,
    connection::{
        dormancy, lingering_close,
        protocol::ReplayStream,
        state::{ConnectionPhase, ConnectionState},
        table::{ConnectionTable, OpenConnection},
        too_large,
    },
    limits::Limits,
};

/// hyper's settings for every HTTP/1.1 connection of a worker.
pub(super) fn hyper_builder_from_limits(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let max_header_bytes = limits.max_header_bytes.as_usize();
    builder
        .header_read_timeout(None)
        // A client may close its side behind its last request and still read (RFC 9112 §9.6). Without this hyper drops
        // the answer to a request whose end of stream is there before the answer is.
        .half_close(true)
        .max_header_size(max_header_bytes)
        .max_buf_size(max_header_bytes.max(8192))
        // One flat buffer for each response: 240 instructions less for each request, measured. `pipeline_flush` gains
        // the same in the same way, but holds an answer back (a 400, a 431, a 405) while unread bytes lie in the
        // buffer.
        .writev(false);
    builder
}

/// Why a connection leaves hyper.
enum LeaveReason {
    /// hyper finished it.
    Finished(CloseReason),
    /// The connection table aborted it.
    Aborted(CloseReason),
    /// It is idle for long enough to release hyper's buffers.
    Dormancy,
}

/// Answers the requests of one connection until it ends, closes the stream, and notes the reason in `connection`.
pub(super) async fn serve_until_closed_and_record_reason<S, F>(
    builder: &http1::Builder,
    connection: &OpenConnection,
    stream: ReplayStream,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let (table, state) = (connection.table(), &connection.state);
    let answer_request = |request| {
        state.enter_phase(ConnectionPhase::Answering, table.now());
        let is_last_request = state.count_request_and_return_whether_last();
        let answer = service(request);
        async move {
            let Ok(mut answer) = answer.await;
            // hyper now writes the answer to the stream: to `Http1Stream`, through `poll_write`.
            state.enter_phase(ConnectionPhase::Idle, table.now());
            state.request_timer.mark_answer_ready_if_measuring();
            if is_last_request {
                state.mark_last_answer(&mut answer);
            }
            Ok::<_, Infallible>(answer)
        }
    };
    let mut stream =
        Http1Stream { stream, table: table.clone(), state: state.clone(), is_client_done: false, own_answer: None };
    loop {
        let mut http = builder.serve_connection(TokioIo::new(stream), service_fn(&answer_request));
        let leave_reason = drive_until_it_leaves_hyper(&mut http, table, state).await;
        if let LeaveReason::Finished(reason) | LeaveReason::Aborted(reason) = leave_reason {
            connection.close_reason.set(reason);
        }
        if let LeaveReason::Finished(CloseReason::Malformed | CloseReason::TooLarge) = leave_reason {
            let stream = http.into_parts().io.into_inner().stream.into_stream();
            return lingering_close::shut_down_and_discard_input(stream).await;
        }
        if let LeaveReason::Finished(_) = leave_reason {
            return;
        }
        let parts = http.into_parts();
        stream = parts.io.into_inner();
        if let LeaveReason::Dormancy = leave_reason {
            match dormancy::wait_for_next_request(&mut stream.stream, parts.read_buf, table, state).await {
                Ok(()) => continue,
                Err(reason) => connection.close_reason.set(reason),
            }
        }
        return stream.stream.into_stream().try_send_close_notify_then_close();
    }
}

/// Polls hyper's connection until it ends, is aborted, or is to release its buffers.
async fn drive_until_it_leaves_hyper<S>(
    http: &mut http1::Connection<TokioIo<Http1Stream>, S>,
    table: &ConnectionTable,
    state: &ConnectionState,
) -> LeaveReason
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let mut shutdown_started = false;
    poll_fn(|cx| match state.poll_abort_reason(cx) {
        Some(reason) => Poll::Ready(LeaveReason::Aborted(reason)),
        None => poll_and_shut_down_gracefully_when_due(http, &mut shutdown_started, table, state, cx),
    })
    .await
}

/// Polls hyper's connection. Starts its graceful shutdown once the table drains, and ends when the connection is to
/// release its buffers.
fn poll_and_shut_down_gracefully_when_due<S>(
    http: &mut http1::Connection<TokioIo<Http1Stream>, S>,
    shutdown_started: &mut bool,
    table: &ConnectionTable,
    state: &ConnectionState,
    cx: &mut Context<'_>,
) -> Poll<LeaveReason>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    loop {
        if !*shutdown_started && must_start_graceful_shutdown(table, state) {
            *shutdown_started = true;
            Pin::new(&mut *http).graceful_shutdown();
        }
        let polled = Pin::new(&mut *http).poll(cx);
        // This poll may have read the first byte of a request, which makes the shutdown due.
        if polled.is_pending() && !*shutdown_started && must_start_graceful_shutdown(table, state) {
            continue;
        }
        if polled.is_pending() && table.is_dormancy_due(state) {
            return Poll::Ready(LeaveReason::Dormancy);
        }
        return polled
            .map(|result| LeaveReason::Finished(close_reason_from_hyper_result(result, *shutdown_started, state)));
    }
}

/// Whether the drain must begin hyper's graceful shutdown now. hyper would close a connection that has received
/// nothing, and its first request may be on its way, so a new connection is left alone.
fn must_start_graceful_shutdown(table: &ConnectionTable, state: &ConnectionState) -> bool {
    table.is_draining() && state.phase.get() != ConnectionPhase::New
}

fn close_reason_from_hyper_result(
    result: hyper::Result<()>,
    shutdown_started: bool,
    state: &ConnectionState,
) -> CloseReason {
    match result {
        Ok(()) if shutdown_started => CloseReason::Drained,
        Ok(()) => state.closing.get().unwrap_or(CloseReason::Done),
        Err(error) => CloseReason::from(&error),
    }
}

/// The stream below hyper. Its reads note the beginning of each request head; its writes carry the answers to the
/// socket.
struct Http1Stream {
    stream: ReplayStream,
    table: Rc<ConnectionTable>,
    state: Rc<ConnectionState>,
    /// Whether the client has closed its side.
    is_client_done: bool,
    /// What is written in place of hyper's answer to a head above the limit, and how much of it was.
    own_answer: Option<(Vec<u8>, usize)>,
}

impl Http1Stream {
    /// Takes the bytes that hyper writes while it reads a head: only then does it answer by itself. Returns how many
    /// bytes it may write on; the rest is its answer to a head above the limit, in place of which ours is kept.
    #[cold]
    fn take_hyper_answer(&mut self, written: &[u8]) -> Option<usize> {
        let at = too_large::find_hyper_answer(written)?;
        if at == 0 {
            self.own_answer = Some((too_large::add_page_to_hyper_answer(written), 0));
        }
        Some(at)
    }

    /// Writes what is left of our answer.
    fn poll_write_own_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, written)) = &mut self.own_answer {
            let rest = &answer[*written..];
            if rest.is_empty() {
                self.own_answer = None;
                break;
            }
            match std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => *written += len,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http1Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.state.phase.get() == ConnectionPhase::ReadingHead {
            match this.take_hyper_answer(buf) {
                Some(0) => return Poll::Ready(Ok(buf.len())),
                Some(len) => return Pin::new(&mut this.stream).poll_write(cx, &buf[..len]),
                None => {}
            }
        }
        this.state.is_flushed.set(false);
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_write_own_answer(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.state.is_flushed.set(matches!(flushed, Poll::Ready(Ok(()))));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_write_own_answer(cx))?;
        // Behind the client's end nothing is left to be read, so the close that follows sends the same as a shutdown.
        if self.is_client_done && self.stream.is_plain() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Http1Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let len_before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.is_client_done = buf.filled().len() == len_before;
            match self.state.phase.get() {
                // The first byte of the first request. Its deadline runs from the accept.
                ConnectionPhase::New => {
                    self.state.phase.set(ConnectionPhase::ReadingHead);
                    self.state.request_timer.count_request_and_start_if_sampled();
                }
                // The first byte of a later request.
                ConnectionPhase::Idle => {
                    self.state.enter_phase(ConnectionPhase::ReadingHead, self.table.now());
                    self.state.request_timer.count_request_and_start_if_sampled();
                }
                ConnectionPhase::ReadingHead | ConnectionPhase::Answering => {}
            }
        }
        read
    }
}
