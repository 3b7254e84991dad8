//! The delivery engine of one topic: reads clicks from the topic's journal, sends their events to the sink, and
//! acknowledges delivered clicks to the journal. It runs in cycles on one thread. A cycle has these steps, in this
//! order:
//!
//! 1. The sink does the work that is due (syncs, delivery reports) and reports delivered and returned clicks
//!    (`reports`).
//! 2. Returned clicks are read from the journal again and sent, if the gate allows it (`send`).
//! 3. New clicks are read (`read`), first from the lane whose clicks are oldest.
//! 4. Delivered positions advance and are acknowledged to the journal (`acknowledge`).
//!
//! Then the engine sleeps: not at all behind a backlog, 5 ms while clicks come, 25 ms when idle.

mod acknowledge;
mod drain;
mod event_options;
mod ranges_left;
mod read;
pub(crate) mod reports;
mod send;

use std::time::{Duration, Instant};

use super::{
    dead_letters::DeadLetterFiles,
    gate::{SendDecision, SendGate, UndeliveredCounts},
    lane::LaneProgress,
    metrics::DeliveryMetrics,
    sink::{DeliveryReport, Sink},
    summary::Summary,
};
use crate::{clock, events::event_builder::EventBuilder, journal::Batch, lifecycle::StopSignal, model::click::Topic};

/// The sleep between cycles while clicks come: shorter ones cost more wake-ups and gain no throughput.
const ACTIVE_SLEEP: Duration = Duration::from_millis(5);
/// The sleep after [`IDLE_CYCLES`] cycles without progress.
const IDLE_SLEEP: Duration = Duration::from_millis(25);
const IDLE_CYCLES: u32 = 10;
/// The journal's checkpoints learn the sink's note at least this often, so that the next start reads little. Gauges and
/// statements follow the same interval.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// The time for which undelivered clicks are counted at the end.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// The engine; owned by its thread.
pub(crate) struct Engine<S> {
    topic: Topic,
    edge: String,
    max_in_flight: usize,
    pub(crate) lanes: Vec<LaneProgress>,
    /// The lanes by the time of their last click read; kept for its allocation.
    lane_order: Vec<usize>,
    pub(crate) sink: S,
    events: EventBuilder,
    dead_letters: DeadLetterFiles,
    metrics: DeliveryMetrics,
    pub(crate) gate: SendGate,
    batch: Batch,
    pub(crate) reports: Vec<DeliveryReport>,
    noted_at: Instant,
    pub(crate) delivered: u64,
    /// Clicks among `delivered` that the sink had before this process started, although the journal did not know.
    already_delivered: u64,
    /// Statements that had failed when statements were due last.
    failed_statements: u64,
}

/// What one cycle did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CycleResult {
    /// A click was read or sent, or a report came.
    progress: bool,
    /// Much more is there to read.
    backlog: bool,
}

impl<S: Sink> Engine<S> {
    /// An engine that delivers these lanes to this sink.
    pub(crate) fn new(
        topic: Topic,
        edge: String,
        max_in_flight: usize,
        sink: S,
        lanes: Vec<LaneProgress>,
        dead_letters: DeadLetterFiles,
        events: EventBuilder,
    ) -> Engine<S> {
        let now = clock::now();
        Engine {
            topic,
            edge,
            max_in_flight,
            lane_order: (0..lanes.len()).collect(),
            lanes,
            sink,
            events,
            dead_letters,
            metrics: DeliveryMetrics::register(topic),
            gate: SendGate::default(),
            batch: Batch::default(),
            reports: Vec::new(),
            // The first cycle stores the sink's note: after a crash within the first second the next start reads
            // little.
            noted_at: now.checked_sub(NOTE_INTERVAL).unwrap_or(now),
            delivered: 0,
            already_delivered: 0,
            failed_statements: 0,
        }
    }

    /// Delivers until `stop`, and then for at most `drain_deadline` until every click is delivered.
    pub(crate) fn run_until_stopped_then_drain_and_send_closing_statements(
        mut self,
        stop: &StopSignal,
        drain_deadline: Duration,
    ) -> Summary {
        let mut idle_cycles = 0;
        while !stop.is_set() {
            let cycle = self.poll_send_and_acknowledge_once(Instant::now(), false);
            idle_cycles = if cycle.progress { 0 } else { idle_cycles + 1 };
            if !cycle.backlog {
                std::thread::sleep(if idle_cycles > IDLE_CYCLES { IDLE_SLEEP } else { ACTIVE_SLEEP });
            }
        }
        let deadline = Instant::now() + drain_deadline;
        loop {
            let now = Instant::now();
            let cycle = self.poll_send_and_acknowledge_once(now, true);
            if self.lanes.iter().all(LaneProgress::is_all_delivered) || now >= deadline {
                self.send_closing_statements_and_wait_until_settled(now);
                return self.count_remaining_and_summarize();
            }
            if !cycle.backlog {
                std::thread::sleep(ACTIVE_SLEEP);
            }
        }
    }

    /// Runs one cycle. `flush_now`: everything that the sink has gathered is written, synced or committed in it.
    pub(crate) fn poll_send_and_acknowledge_once(&mut self, now: Instant, flush_now: bool) -> CycleResult {
        let mut result = CycleResult::default();
        result.progress |= self.poll_sink_handle_reports_or_resume_and_return_if_any(now, flush_now);
        // Nothing is read while the sink accepts nothing: it would be read again in each cycle.
        if self.sink.record_buffer_if_accepting(now).is_some() {
            let counts = self.sum_undelivered_counts_over_lanes();
            match self.gate.decide_next_send(&counts, self.max_in_flight, now) {
                SendDecision::Wait => {}
                SendDecision::SendNew(limit) => {
                    let read = self.read_and_send_new_from_oldest_lane_on(limit, now);
                    result.progress |= read.progress;
                    result.backlog |= read.backlog;
                }
                SendDecision::Resend { refusals, limit } => {
                    let mut sent = self.try_reread_and_resend_returned_clicks(refusals, limit, now);
                    if !sent && counts.in_flight == 0 {
                        // No checkpoint can take more ranges: the clicks between these are settled first, whatever
                        // their refusals.
                        sent = self.try_resend_clicks_with_more_refusals(counts, now);
                    }
                    result.progress |= sent;
                }
            }
        }
        if flush_now {
            result.progress |= self.poll_sink_handle_reports_or_resume_and_return_if_any(now, true);
        }
        self.acknowledge_delivered_to_journal_and_publish_progress(now);
        result
    }

    /// Sends returned clicks again, as if none with fewer refusals waited. The first returned click of a lane needs no
    /// range of its own, so one of them can be sent. Returns whether any was.
    fn try_resend_clicks_with_more_refusals(&mut self, mut counts: UndeliveredCounts, now: Instant) -> bool {
        for refusals in 0..counts.returned.len() {
            if std::mem::take(&mut counts.returned[refusals]) == 0 {
                continue;
            }
            if let SendDecision::Resend { refusals, limit } =
                self.gate.decide_next_send(&counts, self.max_in_flight, now)
                && self.try_reread_and_resend_returned_clicks(refusals, limit, now)
            {
                return true;
            }
        }
        false
    }

    /// Polls the sink and handles its reports; resumes from the committed lanes once the sink has read them. Returns
    /// whether anything was reported.
    fn poll_sink_handle_reports_or_resume_and_return_if_any(&mut self, now: Instant, flush_now: bool) -> bool {
        let lanes = &self.lanes;
        // Nothing else is sent while a click is on trial, so there is nothing to gather.
        let flush_now = flush_now || self.sum_undelivered_counts_over_lanes().on_trial > 0;
        let next_commit = || lanes.iter().map(LaneProgress::build_committed_set_including_in_flight).collect();
        let committed = self.sink.poll(now, flush_now, &mut self.reports, &next_commit);
        let reported = self.handle_delivery_reports_and_return_if_any(now);
        let Some(committed) = committed else { return reported };
        match self.lanes.iter().find_map(|lane| lane.find_conflict_with_committed(&committed)) {
            Some(conflict) => self.sink.stop_delivery_until_next_start(conflict, &mut self.reports),
            None => self.lanes.iter_mut().for_each(|lane| lane.resume_known_epochs_from_committed(&committed)),
        }
        true
    }

    /// Reads the lanes, first the one whose clicks are oldest, and sends at most `room` new clicks.
    fn read_and_send_new_from_oldest_lane_on(&mut self, mut room: usize, now: Instant) -> CycleResult {
        let mut result = CycleResult::default();
        let mut order = std::mem::take(&mut self.lane_order);
        order.sort_by_key(|lane| self.lanes[*lane].last_read_ms);
        for lane in order.iter().copied() {
            let read = self.read_and_send_new(lane, &mut room, now);
            result.progress |= read.progress;
            result.backlog |= read.backlog;
        }
        self.lane_order = order;
        result
    }

    /// The undelivered clicks of all lanes.
    pub(crate) fn sum_undelivered_counts_over_lanes(&self) -> UndeliveredCounts {
        let mut counts = UndeliveredCounts::default();
        for lane in &self.lanes {
            counts.in_flight += lane.clicks.in_flight();
            counts.on_trial += lane.clicks.on_trial();
            for (sum, returned) in counts.returned.iter_mut().zip(lane.clicks.returned()) {
                *sum += returned;
            }
        }
        counts
    }

    /// The delivered clicks, and the clicks that stay in the journal.
    pub(crate) fn count_remaining_and_summarize(mut self) -> Summary {
        let mut summary = Summary { delivered: self.delivered, remaining: 0, counted_all: true };
        let deadline = Instant::now() + COUNT_TIMEOUT;
        for lane in &mut self.lanes {
            summary.counted_all &= lane.count_undelivered(&mut self.batch, deadline, &mut summary.remaining);
        }
        summary
    }
}
