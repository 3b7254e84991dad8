//! A worker's counts of connections, kept in cells of its own and added to the shared metrics ten times a second.

use std::cell::Cell;

use crate::{
    metrics::{self, ACCEPT_ERRORS, CONNECTIONS, CONNECTIONS_CLOSED, CONNECTIONS_OPEN, LocalCounter},
    net::{
        accept_error::{AcceptError, AcceptErrorClass},
        close_reason::CloseReason,
    },
};

/// Counts accepted, closed and open connections, and failed accepts, of one worker.
pub(super) struct ConnectionMetrics {
    accepted: LocalCounter,
    closed: [LocalCounter; CloseReason::ALL.len()],
    accept_errors: [LocalCounter; AcceptErrorClass::ALL.len()],
    open: ::metrics::Gauge,
    /// This worker's part of the gauge.
    reported_open: Cell<usize>,
}

impl ConnectionMetrics {
    pub(super) fn new() -> ConnectionMetrics {
        let new_counter = |metric, label| LocalCounter::new(metrics::counter(metric, &[label]));
        ConnectionMetrics {
            accepted: LocalCounter::new(metrics::counter(&CONNECTIONS, &[])),
            closed: CloseReason::ALL.map(|reason| new_counter(&CONNECTIONS_CLOSED, reason.as_str())),
            accept_errors: AcceptErrorClass::ALL.map(|class| new_counter(&ACCEPT_ERRORS, class.as_str())),
            open: metrics::gauge(&CONNECTIONS_OPEN, &[]),
            reported_open: Cell::new(0),
        }
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.increment();
    }

    pub(super) fn count_closed(&self, reason: CloseReason) {
        self.closed[reason as usize].increment();
    }

    pub(super) fn count_accept_error(&self, error: AcceptError) {
        self.accept_errors[error.class as usize].increment();
    }

    /// Adds all counts since the last call to the shared metrics. `open` is the number of connections open now.
    pub(super) fn flush_counts_and_update_open_gauge(&self, open: usize) {
        self.accepted.flush_and_return_added_count();
        for counter in self.closed.iter().chain(&self.accept_errors) {
            counter.flush_and_return_added_count();
        }
        // The workers share the gauge, so each adds its own change.
        let change = open as f64 - self.reported_open.replace(open) as f64;
        if change != 0.0 {
            self.open.increment(change);
        }
    }
}
