//! The state of one connection, in cells: its task writes them, and the connection table reads them at each tick.
//!
//! ```text
//! New ──first byte──▶ ReadingHead ──whole head──▶ Answering ──answer──▶ Idle ──next byte──▶ ReadingHead …
//!  └──── header_timeout ────┘                    (bounded by            └── idle_timeout, which also bounds
//!   from the accept, or from the first            the service)              the reading of the answer
//!   byte after an answer
//! ```
//! HTTP/2 has no `ReadingHead`: its preface leads from `New` to `Idle`, its first open stream to `Answering`, its last
//! answer to `Idle`. So `idle_timeout` also ends a client whose flow-control windows let no answer out, or whose
//! request head never ends. Further bytes within a phase never extend its deadline.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Response, header};

use crate::net::{close_reason::CloseReason, connection::request_timer::RequestTimer};

/// What a connection waits for. Each phase has its own deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// The first byte of its first request.
    New,
    /// The end of a request head.
    ReadingHead,
    /// The answer of the service.
    Answering,
    /// The next request, or the client's reading of the last answer.
    Idle,
}

/// The cells of one connection. All times are milliseconds since the start of the worker.
pub(super) struct ConnectionState {
    pub(super) phase: Cell<ConnectionPhase>,
    /// When the phase began.
    pub(super) phase_since: Cell<u64>,
    /// When the connection is too old.
    max_age_at: Cell<u64>,
    requests_left: Cell<u32>,
    pub(super) is_http2: Cell<bool>,
    /// Why the last HTTP/1.1 answer will be the last.
    last_answer_reason: Cell<CloseReason>,
    /// Set once the last HTTP/1.1 answer is given, or once the HTTP/2 client is to open no further stream.
    pub(super) closing: Cell<Option<CloseReason>>,
    /// Set to end the connection at once; its task checks it when it runs next.
    pub(super) aborted: Cell<Option<CloseReason>>,
    pub(super) request_timer: RequestTimer,
    /// Whether everything that was written of HTTP/1.1 answers is with the socket.
    pub(super) is_flushed: Cell<bool>,
    /// Whether an HTTP/1.1 connection has released its buffers ([`crate::net::connection::dormancy`]).
    pub(super) is_dormant: Cell<bool>,
    /// The waker of the connection's task. A task has one waker for its whole life, so it is cloned once.
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// The state of a connection accepted at `now`, which may live until `max_age_at` and make `max_requests` requests.
    pub(super) fn new(now: u64, max_age_at: u64, max_requests: u32, request_timer: RequestTimer) -> ConnectionState {
        ConnectionState {
            phase: Cell::new(ConnectionPhase::New),
            phase_since: Cell::new(now),
            max_age_at: Cell::new(max_age_at),
            requests_left: Cell::new(max_requests),
            is_http2: Cell::new(false),
            last_answer_reason: Cell::new(CloseReason::MaxRequests),
            closing: Cell::new(None),
            aborted: Cell::new(None),
            request_timer,
            is_flushed: Cell::new(true),
            is_dormant: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn enter_phase(&self, phase: ConnectionPhase, now_ms: u64) {
        self.phase.set(phase);
        self.phase_since.set(now_ms);
    }

    /// Whether the connection is idle since this time or an earlier one, and not told to end.
    pub(super) fn is_idle_since(&self, at_ms: u64) -> bool {
        self.phase.get() == ConnectionPhase::Idle && self.phase_since.get() <= at_ms && self.aborted.get().is_none()
    }

    /// Whether the connection speaks HTTP/1.1, has buffers, and needs none of them since this time or an earlier one:
    /// every answer is with the socket, and no request has begun.
    pub(super) fn has_unused_buffers_since(&self, at_ms: u64) -> bool {
        !self.is_http2.get() && !self.is_dormant.get() && self.is_flushed.get() && self.is_idle_since(at_ms)
    }

    /// Ends the connection for this reason as soon as its task runs, and wakes the task.
    pub(super) fn abort(&self, reason: CloseReason) {
        self.aborted.set(Some(reason));
        self.wake_task();
    }

    /// The reason of [`ConnectionState::abort`], if it was called. Otherwise the polling task is registered to be
    /// woken.
    pub(super) fn poll_abort_reason(&self, cx: &Context<'_>) -> Option<CloseReason> {
        if self.waker.borrow().is_none() {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
        }
        self.aborted.get()
    }

    /// Runs `step` to its end. `Err`: the connection was aborted before.
    pub(super) async fn run_unless_aborted<T>(&self, step: impl Future<Output = T>) -> Result<T, CloseReason> {
        let mut step = std::pin::pin!(step);
        std::future::poll_fn(|cx| match self.poll_abort_reason(cx) {
            Some(reason) => Poll::Ready(Err(reason)),
            None => step.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Wakes the connection's task.
    pub(super) fn wake_task(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Counts a request and returns whether it is the last one of this connection.
    pub(super) fn count_request_and_return_whether_last(&self) -> bool {
        let left = self.requests_left.get().saturating_sub(1);
        self.requests_left.set(left);
        left == 0
    }

    /// Makes this HTTP/1.1 answer the last one: it gets `Connection: close`.
    #[cold]
    pub(super) fn mark_last_answer<B>(&self, answer: &mut Response<B>) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self.closing.set(Some(self.last_answer_reason.get()));
    }

    /// Makes the HTTP/2 connection send GOAWAY: its client is to open no further stream. If the connection is still
    /// open at `deadline_ms` and has no open stream, it is aborted. The reason of the first call is kept.
    #[cold]
    pub(super) fn request_goaway_and_set_abort_deadline(&self, reason: CloseReason, deadline_ms: u64) {
        self.closing.set(self.closing.get().or(Some(reason)));
        self.max_age_at.set(deadline_ms.min(self.max_age_at.get()));
        self.wake_task();
    }

    /// Starts the close of a connection that is too old: an HTTP/1.1 connection gets its last answer at its next
    /// request, an HTTP/2 connection is to end within `http2_grace_ms`. One that has not ended by then is
    /// aborted while idle.
    pub(super) fn start_or_enforce_close_if_too_old(&self, now_ms: u64, http2_grace_ms: u64) {
        if now_ms <= self.max_age_at.get() {
            return;
        }
        match self.closing.get() {
            None if self.is_http2.get() => {
                self.max_age_at.set(now_ms + http2_grace_ms);
                self.request_goaway_and_set_abort_deadline(CloseReason::MaxAge, now_ms + http2_grace_ms);
            }
            Some(reason) if self.is_http2.get() => {
                if self.phase.get() == ConnectionPhase::Idle {
                    self.abort(reason);
                }
            }
            _ => {
                self.last_answer_reason.set(CloseReason::MaxAge);
                self.requests_left.set(1);
                self.max_age_at.set(u64::MAX);
            }
        }
    }
}
