//! Reading: takes new clicks from the journal, labels them, and sends their events.

use std::time::{Duration, Instant};

use super::{CycleResult, Engine, event_options::EventOptions, ranges_left::RangesLeft};
use crate::{
    clock,
    delivery::{
        click_tracker::ClickState,
        sink::{InFlightId, SendOutcome, Sink},
    },
    events::{
        duplicates::DuplicateVerdict,
        event_builder::{DecodedClick, UndecodableClick},
    },
    faults::{self, log_fault},
    journal::{Batch, Frame, MAX_BATCH_BYTES, ReadError, Watermark},
};

/// More unread bytes than this are a backlog: the next cycle follows at once.
const BACKLOG_BYTES: u64 = MAX_BATCH_BYTES as u64 / 4;
/// Clicks read beyond one that cannot be delivered, as a multiple of the clicks in flight; then the topic stops.
const READ_AHEAD_FACTOR: usize = 4;
/// The time between two attempts to read a lane that could not be read.
const READ_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl<S: Sink> Engine<S> {
    /// Reads the next batch of a lane and sends its new clicks. `room`: the clicks that may still be sent in this
    /// cycle.
    pub(crate) fn read_and_send_new(&mut self, lane: usize, room: &mut usize, now: Instant) -> CycleResult {
        let max_ranges = self.sink.max_committed_ranges(self.lanes.len());
        let state = &mut self.lanes[lane];
        let mut ranges_left = RangesLeft::of(&state.clicks, max_ranges);
        let must_wait = state.retry_read_at.is_some_and(|at| now < at)
            || *room == 0
            || state.clicks.is_last_read_returned() && !ranges_left.can_begin_range()
            || state.clicks.is_blocked()
            || state.clicks.tracked_clicks() >= READ_AHEAD_FACTOR * self.max_in_flight;
        if must_wait {
            return CycleResult::default();
        }
        let mut batch = std::mem::take(&mut self.batch);
        if let Err(why) = state.reader.read(state.clicks.read_position(), &mut batch) {
            self.count_and_log_read_error_and_delay_retry(lane, &why, now);
            self.batch = batch;
            return CycleResult::default();
        }
        state.retry_read_at = None;
        state.safe = state.reader.durable_watermark();
        let sent_all = self.send_frames_and_advance_read_position(lane, &batch, room, &mut ranges_left, now);
        let unread_bytes = self.lanes[lane].reader.head().saturating_bytes_from(batch.next_position());
        let result = CycleResult { progress: !batch.is_empty(), backlog: sent_all && unread_bytes > BACKLOG_BYTES };
        self.batch = batch;
        result
    }

    /// Sends the frames of a batch. Reading stops at the frame that could not be sent. Returns whether all were sent.
    fn send_frames_and_advance_read_position(
        &mut self,
        lane: usize,
        batch: &Batch,
        room: &mut usize,
        ranges_left: &mut RangesLeft,
        now: Instant,
    ) -> bool {
        for frame in batch.frames() {
            let may_send = *room > 0 && ranges_left.allow_new_click(&self.lanes[lane].clicks, &frame);
            if !may_send || !self.try_label_and_send_or_skip_new_click(lane, &frame, now) {
                let state = &mut self.lanes[lane];
                state.clicks.advance_read_position(frame.position);
                state.reader.continue_account_at(frame.position, state.clicks.read_watermark());
                return false;
            }
            *room -= 1;
        }
        self.lanes[lane].clicks.advance_read_position(batch.next_position());
        true
    }

    /// Labels and sends a click that was not read before, or passes over it if it is delivered. `false` if the click
    /// stays unread: the sink has no room, or a newer build wrote the click.
    fn try_label_and_send_or_skip_new_click(&mut self, lane: usize, frame: &Frame<'_>, now: Instant) -> bool {
        let clicks = &mut self.lanes[lane].clicks;
        if clicks.is_delivered_with_all_before(frame) {
            self.count_already_delivered_if_journal_did_not_know(lane, frame);
            // The ring's delivered end was remembered at the start; this click the journal took for undelivered.
            if let Ok(click) = DecodedClick::decode(frame.payload) {
                self.events.remember_click_if_it_can_count(self.topic, &click);
            }
            return true;
        }
        let click = match DecodedClick::decode(frame.payload) {
            Ok(click) => click,
            Err(UndecodableClick::NewerFormat) => {
                self.count_log_and_block_lane_at_unreadable_click(lane, frame);
                return false;
            }
            Err(UndecodableClick::Malformed) => {
                self.quarantine_malformed_click(lane, frame);
                return true;
            }
        };
        if clicks.is_committed_above_watermark(frame) {
            self.events.remember_click_if_it_can_count(self.topic, &click);
            self.count_and_track_committed_click(lane, frame, click.click.at_ms);
            return true;
        }
        // Checked before the duplicate verdict: a click judged twice would be its own duplicate.
        if self.sink.record_buffer_if_accepting(now).is_none() {
            return false;
        }
        let labels = self.events.compute_labels(&click);
        let verdict = self.events.decide_duplicate_and_remember_if_it_can_count(self.topic, &click, &labels);
        self.metrics.count_class_and_duplicate(labels.class, verdict);
        let timestamp_shift = self.gate.choose_timestamp_shift_or_periodic_unshifted_trial(now);
        let state = &mut self.lanes[lane];
        let number = state.clicks.track_click_advance_read_position_and_return_number(
            frame,
            click.click.at_ms,
            verdict,
            ClickState::InFlight,
            timestamp_shift,
        );
        state.last_read_ms = click.click.at_ms;
        let id = InFlightId { lane_index: lane, number };
        let options = EventOptions { labels: &labels, verdict, timestamp_shift, stub: None };
        match self.encode_event_or_given_stub_and_send(&click, frame, id, options, now) {
            SendOutcome::Accepted => {}
            SendOutcome::QueueFull => self.lanes[lane].clicks.mark_returned(number),
            SendOutcome::Refused(refusal) => self.mark_refused_click_returned_count_and_log(id, refusal, now),
        }
        true
    }

    fn quarantine_malformed_click(&mut self, lane: usize, frame: &Frame<'_>) {
        let state = &mut self.lanes[lane];
        state.reader.quarantine_and_keep_malformed_frame(frame);
        let met_at_ms = if state.last_read_ms > 0 { state.last_read_ms } else { clock::wall_ms() };
        state.clicks.track_quarantined_click_and_advance_read_position(frame, met_at_ms);
    }

    /// A committed click stays tracked, because the next commit has to contain it too.
    fn count_and_track_committed_click(&mut self, lane: usize, frame: &Frame<'_>, at_ms: u64) {
        self.metrics.already_delivered.increment(1);
        self.already_delivered += 1;
        let (verdict, state) = (DuplicateVerdict::First, ClickState::Delivered);
        let clicks = &mut self.lanes[lane].clicks;
        clicks.track_click_advance_read_position_and_return_number(frame, at_ms, verdict, state, 0);
    }

    /// Counts a click of the last process. The journal counts the clicks as recovered that it did not know to be
    /// delivered, so those are counted as delivered here.
    fn count_already_delivered_if_journal_did_not_know(&mut self, lane: usize, frame: &Frame<'_>) {
        let mark = Watermark { epoch: frame.epoch, next: frame.seq };
        if mark >= self.lanes[lane].delivered_at_start {
            self.metrics.already_delivered.increment(1);
            self.metrics.delivered.increment(1);
            self.delivered += 1;
            self.already_delivered += 1;
        }
    }

    fn count_log_and_block_lane_at_unreadable_click(&mut self, lane: usize, frame: &Frame<'_>) {
        let state = &mut self.lanes[lane];
        state.clicks.block_at_unreadable_click(clock::wall_ms());
        self.metrics.unreadable.increment(1);
        log_fault!(
            error,
            faults::CLICK_UNREADABLE,
            lane = state.reader.lane(),
            epoch = frame.epoch.get(),
            seq = frame.seq.get(),
            topic = self.topic.name(),
            "a click has the format of a newer build: the click, and the lane behind it, wait for a build that reads it"
        );
    }

    /// Counts and logs the error, and delays the next attempt.
    pub(super) fn count_and_log_read_error_and_delay_retry(&mut self, lane: usize, why: &ReadError, now: Instant) {
        let state = &mut self.lanes[lane];
        self.metrics.read_errors.increment(1);
        if state.retry_read_at.is_none() {
            let topic = self.topic.name();
            log_fault!(error, faults::JOURNAL_UNREAD, topic, lane = state.reader.lane(), "{why}");
        }
        state.retry_read_at = Some(now + READ_RETRY_INTERVAL);
    }
}
