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
    /// Not HTTP/1.1, answered 400 where that was still possible; or not HTTP/2.
    Malformed,
    /// The head is larger than allowed; answered 431 or 414.
    TooLarge,
    /// An HTTP/2 preface where it is not spoken.
    Http2,
    /// The client left in the middle of a request.
    Incomplete,
    /// The system says that the connection broke.
    Reset,
    /// A PROXY protocol header from, or one required of, an address that is not among `edge.trusted_proxies`.
    ProxyUntrusted,
    /// A PROXY protocol header that is none, or is longer than allowed.
    ProxyMalformed,
    /// A trusted proxy that sent no PROXY protocol header where one is required.
    ProxyMissing,
    /// The TLS handshake failed.
    Handshake,
    /// No whole TLS handshake within `handshake_timeout`.
    HandshakeTimeout,
    /// A TLS handshake without a turn within `handshake_timeout`, or whose place went to a later one.
    HandshakeBusy,
    /// Anything else hyper reports.
    Other,
    /// Older than `max_age`.
    Age,
    /// Its last request of `requests`.
    Requests,
    /// One more of its address than `connections_per_address`.
    PerAddress,
    /// HTTP/2: resets, CONTINUATIONs, PINGs, SETTINGS or empty frames beyond their bound.
    Flood,
    /// HTTP/2: a PING was not answered.
    Unresponsive,
}

impl Closed {
    /// In the order of their values.
    const ALL: [(Closed, &'static str); 21] = [
        (Closed::Done, "done"),
        (Closed::Idle, "idle"),
        (Closed::HeaderTimeout, "header_timeout"),
        (Closed::Drained, "drained"),
        (Closed::Malformed, "malformed"),
        (Closed::TooLarge, "too_large"),
        (Closed::Http2, "http2_preface"),
        (Closed::Incomplete, "incomplete"),
        (Closed::Reset, "reset"),
        (Closed::ProxyUntrusted, "proxy_untrusted"),
        (Closed::ProxyMalformed, "proxy_malformed"),
        (Closed::ProxyMissing, "proxy_missing"),
        (Closed::Handshake, "handshake"),
        (Closed::HandshakeTimeout, "handshake_timeout"),
        (Closed::HandshakeBusy, "handshake_busy"),
        (Closed::Other, "other"),
        (Closed::Age, "max_age"),
        (Closed::Requests, "max_requests"),
        (Closed::PerAddress, "per_address"),
        (Closed::Flood, "flood"),
        (Closed::Unresponsive, "unresponsive"),
    ];
}

impl From<&hyper::Error> for Closed {
    fn from(error: &hyper::Error) -> Closed {
        let source = std::error::Error::source(error);
        if let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) {
            return Closed::from(error);
        }
        if error.is_timeout() {
            Closed::Unresponsive
        } else if error.is_parse_too_large() {
            Closed::TooLarge
        } else if error.is_parse_version_h2() {
            Closed::Http2
        } else if error.is_parse() {
            Closed::Malformed
        } else if error.is_incomplete_message() {
            Closed::Incomplete
        } else if error.is_shutdown() || source.is_some_and(|e| e.is::<io::Error>()) {
            Closed::Reset
        } else {
            Closed::Other
        }
    }
}

impl From<&h2::Error> for Closed {
    fn from(error: &h2::Error) -> Closed {
        match error.reason() {
            _ if error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) => Closed::Incomplete,
            _ if error.is_io() => Closed::Reset,
            Some(h2::Reason::NO_ERROR) => Closed::Done,
            _ if error.is_remote() => Closed::Other,
            // h2 says so of what comes too often, and of nothing else.
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Closed::Flood,
            Some(_) => Closed::Malformed,
            None => Closed::Other,
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
