//! What a connection shows of itself to its worker: cells that its task writes and the tick reads.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Response, header};

use crate::net::counts::Closed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    New,
    Head,
    Busy,
    Idle,
}

/// One connection's cells.
pub(super) struct Seen {
    pub(super) phase: Cell<Phase>,
    /// Milliseconds of the worker's clock.
    pub(super) since: Cell<u64>,
    /// When it is too old, milliseconds of the worker's clock.
    until: Cell<u64>,
    /// Requests it may still make.
    pub(super) left: Cell<u32>,
    /// Whether it speaks HTTP/2.
    pub(super) h2: Cell<bool>,
    /// Why its last HTTP/1.1 answer is the last.
    last: Cell<Closed>,
    /// Set once its last answer was given, or no further stream is to be opened.
    pub(super) leaving: Cell<Option<Closed>>,
    /// Set to end the connection; looked at when its task runs next.
    ended: Cell<Option<Closed>>,
    /// The task's waker. A task keeps one for its whole life, so it is taken once.
    waker: RefCell<Option<Waker>>,
}

impl Seen {
    pub(super) fn new(now: u64, until: u64, requests: u32) -> Seen {
        Seen {
            phase: Cell::new(Phase::New),
            since: Cell::new(now),
            until: Cell::new(until),
            left: Cell::new(requests),
            h2: Cell::new(false),
            last: Cell::new(Closed::Requests),
            leaving: Cell::new(None),
            ended: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn enter(&self, phase: Phase, now: u64) {
        self.phase.set(phase);
        self.since.set(now);
    }

    pub(super) fn end(&self, closed: Closed) {
        self.ended.set(Some(closed));
        self.wake();
    }

    /// Why the connection is to end, if it is; else its task is woken once it is.
    pub(super) fn look(&self, cx: &Context<'_>) -> Option<Closed> {
        if self.waker.borrow().is_none() {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
        }
        self.ended.get()
    }

    /// Runs `step`, unless the connection is to end first.
    pub(super) async fn until_ended<T>(&self, step: impl Future<Output = T>) -> Result<T, Closed> {
        let mut step = std::pin::pin!(step);
        std::future::poll_fn(|cx| match self.look(cx) {
            Some(closed) => Poll::Ready(Err(closed)),
            None => step.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Counts a request in; says how many more may come.
    pub(super) fn request(&self) -> u32 {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        left
    }

    /// Makes this HTTP/1.1 answer the connection's last.
    #[cold]
    pub(super) fn last_answer<B>(&self, answer: &mut Response<B>) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self.leaving.set(Some(self.last.get()));
    }

    /// No further stream: the HTTP/2 connection is told so, and has until `until` for its client to say that it has
    /// understood; the first reason stands.
    #[cold]
    pub(super) fn last_stream(&self, why: Closed, until: u64) {
        self.leaving.set(self.leaving.get().or(Some(why)));
        self.until.set(until.min(self.until.get()));
        self.wake();
    }

    /// By the tick: lets a connection that is too old go at its next answer, an HTTP/2 one at once. One whose client does
    /// not understand ends `grace` milliseconds later, between two requests.
    pub(super) fn age(&self, now: u64, grace: u64) {
        if now <= self.until.get() {
            return;
        }
        match self.leaving.get() {
            None if self.h2.get() => {
                self.until.set(now + grace);
                self.last_stream(Closed::Age, now + grace);
            }
            Some(closed) if self.h2.get() => {
                if self.phase.get() == Phase::Idle {
                    self.end(closed);
                }
            }
            _ => {
                self.last.set(Closed::Age);
                self.left.set(1);
                self.until.set(u64::MAX);
            }
        }
    }
}
