//! Measures requests, from the first byte that is read to the answer that is handed to the socket.
//!
//! A worker measures one request of [`SAMPLE_INTERVAL`]: two clock reads and a histogram entry cost some 1 000
//! instructions, so a request costs fewer than 30 on average.

use std::{cell::Cell, rc::Rc, time::Instant};

use metrics::Histogram;

use crate::metrics::{self as table, REQUEST_SECONDS};

/// One request of so many is measured.
const SAMPLE_INTERVAL: u32 = 64;

/// A worker's choice of the requests that are measured.
pub(super) struct RequestSampler {
    requests_until_sample: Cell<u32>,
    durations: Histogram,
}

impl RequestSampler {
    pub(super) fn new() -> Rc<RequestSampler> {
        let durations = table::histogram(&REQUEST_SECONDS, &[]);
        Rc::new(RequestSampler { requests_until_sample: Cell::new(SAMPLE_INTERVAL - 1), durations })
    }

    /// Counts a request and returns whether it is to be measured.
    fn count_request_and_return_whether_sampled(&self) -> bool {
        let left = self.requests_until_sample.get();
        self.requests_until_sample.set(if left == 0 { SAMPLE_INTERVAL - 1 } else { left - 1 });
        left == 0
    }
}

/// How far the measurement of a connection's current request is.
#[derive(Clone, Copy)]
enum Measurement {
    /// This request is not measured.
    None,
    /// The first byte was read at this time.
    FirstByteRead(Instant),
    /// The first byte was read at this time, and the next write carries the answer.
    AnswerReady(Instant),
}

/// The timer of one connection. Measures one request at a time.
pub(super) struct RequestTimer {
    sampler: Rc<RequestSampler>,
    measurement: Cell<Measurement>,
}

impl RequestTimer {
    pub(super) fn new(sampler: Rc<RequestSampler>) -> RequestTimer {
        RequestTimer { sampler, measurement: Cell::new(Measurement::None) }
    }

    /// To be called when the first byte of a request was read. Starts a measurement if this request is a sample.
    pub(super) fn count_request_and_start_if_sampled(&self) {
        if self.sampler.count_request_and_return_whether_sampled() {
            self.measurement.set(Measurement::FirstByteRead(Instant::now()));
        }
    }

    /// To be called when bytes were read that may begin a request. A running measurement starts anew: the bytes before
    /// these began no request.
    pub(super) fn restart_if_running_else_start_if_sampled(&self) {
        match self.measurement.get() {
            Measurement::None => self.count_request_and_start_if_sampled(),
            Measurement::FirstByteRead(_) | Measurement::AnswerReady(_) => {
                self.measurement.set(Measurement::FirstByteRead(Instant::now()));
            }
        }
    }

    /// To be called when the answer is ready and not written yet.
    pub(super) fn mark_answer_ready_if_measuring(&self) {
        if let Measurement::FirstByteRead(at) = self.measurement.get() {
            self.measurement.set(Measurement::AnswerReady(at));
        }
    }

    /// To be called when bytes were handed to the socket. Ends the measurement if they carry the answer.
    pub(super) fn record_duration_if_answer_was_ready(&self) {
        if let Measurement::AnswerReady(at) = self.measurement.get() {
            self.measurement.set(Measurement::None);
            self.sampler.durations.record(at.elapsed().as_secs_f64());
        }
    }
}
