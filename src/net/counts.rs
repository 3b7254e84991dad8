//! Why connections end, and a worker's own counts of it.

use std::{cell::Cell, io};

use crate::{
    metrics::{self, ACCEPT_ERRORS, CONNECTIONS, CONNECTIONS_CLOSED, CONNECTIONS_OPEN},
    net::ACCEPT_FAILURES,
};

/// Why a connection ended; the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// By either side between two requests.
    Done,
    /// No request, or no reading of the answer, for `idle_timeout`.
    Idle,
    /// No whole head within `header_timeout`.
    HeaderTimeout,
    /// By a stopping process.
    Drained,
    /// Not HTTP/1.1; answered 400 where that was still possible.
    Malformed,
    /// The head is larger than allowed; answered 431 or 414.
    TooLarge,
    /// An HTTP/2 preface.
    Http2,
    /// The client left in the middle of a request.
    Incomplete,
    /// The system says that the connection broke.
    Reset,
    /// The TLS handshake failed.
    Handshake,
    /// No whole TLS handshake within `handshake_timeout`.
    HandshakeTimeout,
    /// No place for a TLS handshake within `handshake_timeout`.
    HandshakeBusy,
    /// Anything else hyper reports.
    Other,
}

impl Closed {
    /// In the order of their values.
    const ALL: [(Closed, &'static str); 13] = [
        (Closed::Done, "done"),
        (Closed::Idle, "idle"),
        (Closed::HeaderTimeout, "header_timeout"),
        (Closed::Drained, "drained"),
        (Closed::Malformed, "malformed"),
        (Closed::TooLarge, "too_large"),
        (Closed::Http2, "http2_preface"),
        (Closed::Incomplete, "incomplete"),
        (Closed::Reset, "reset"),
        (Closed::Handshake, "handshake"),
        (Closed::HandshakeTimeout, "handshake_timeout"),
        (Closed::HandshakeBusy, "handshake_busy"),
        (Closed::Other, "other"),
    ];
}

impl From<&hyper::Error> for Closed {
    fn from(error: &hyper::Error) -> Closed {
        if error.is_parse_too_large() {
            Closed::TooLarge
        } else if error.is_parse_version_h2() {
            Closed::Http2
        } else if error.is_parse() {
            Closed::Malformed
        } else if error.is_incomplete_message() {
            Closed::Incomplete
        } else if error.is_shutdown() || std::error::Error::source(error).is_some_and(|e| e.is::<io::Error>()) {
            Closed::Reset
        } else {
            Closed::Other
        }
    }
}

/// A worker's own counts; the shared counters see them ten times a second.
pub(super) struct Counts {
    accepted: Cell<u64>,
    closed: [Cell<u64>; Closed::ALL.len()],
    accept_failures: [Cell<u64>; ACCEPT_FAILURES.len()],
    /// What the gauge was last told.
    told_open: Cell<usize>,
    accepted_total: ::metrics::Counter,
    closed_total: [::metrics::Counter; Closed::ALL.len()],
    accept_failures_total: [::metrics::Counter; ACCEPT_FAILURES.len()],
    open: ::metrics::Gauge,
}

impl Counts {
    pub(super) fn new() -> Counts {
        Counts {
            accepted: Cell::default(),
            closed: Default::default(),
            accept_failures: Default::default(),
            told_open: Cell::new(0),
            accepted_total: metrics::counter(&CONNECTIONS, &[]),
            closed_total: Closed::ALL.map(|(_, word)| metrics::counter(&CONNECTIONS_CLOSED, &[word])),
            accept_failures_total: ACCEPT_FAILURES.map(|word| metrics::counter(&ACCEPT_ERRORS, &[word])),
            open: metrics::gauge(&CONNECTIONS_OPEN, &[]),
        }
    }

    /// A connection was accepted.
    pub(super) fn accepted(&self) {
        add(&self.accepted);
    }

    /// A connection ended.
    pub(super) fn closed(&self, why: Closed) {
        add(&self.closed[why as usize]);
    }

    /// An accept failed; the reason is one of [`ACCEPT_FAILURES`].
    pub(super) fn accept_failed(&self, reason: &str) {
        if let Some(at) = ACCEPT_FAILURES.iter().position(|known| *known == reason) {
            add(&self.accept_failures[at]);
        }
    }

    /// Carries everything into the shared metrics; `open` is how many connections are open now.
    pub(super) fn flush(&self, open: usize) {
        let flush = |cell: &Cell<u64>, total: &::metrics::Counter| {
            if cell.get() > 0 {
                total.increment(cell.replace(0));
            }
        };
        flush(&self.accepted, &self.accepted_total);
        self.closed.iter().zip(&self.closed_total).for_each(|(cell, total)| flush(cell, total));
        self.accept_failures.iter().zip(&self.accept_failures_total).for_each(|(cell, total)| flush(cell, total));
        // The gauge is shared by the workers: each adds its own change.
        let change = open as f64 - self.told_open.replace(open) as f64;
        if change != 0.0 {
            self.open.increment(change);
        }
    }
}

fn add(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_word_at_its_place() {
        for (at, (closed, word)) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(closed as usize, at, "{word}");
        }
    }
}
