//! Sending: encodes an event and hands it to the sink. Returned clicks are read from the journal again; a click refused
//! even alone becomes a dead letter first.

use std::{ops::RangeInclusive, time::Instant};

use super::{
    Engine,
    event_options::{EventOptions, Stub},
    ranges_left::RangesLeft,
};
use crate::{
    delivery::{
        click_tracker::{ClickState, REFUSALS_OF_PROOF, TrackedClick},
        lane::LaneProgress,
        sink::{InFlightId, OutgoingRecord, SendOutcome, Sink},
    },
    events::{
        encoder::{self, ClickIdentity},
        event_builder::DecodedClick,
    },
    journal::Frame,
    kafka::Refusal,
    model::click::Click,
};

impl<S: Sink> Engine<S> {
    /// Reads returned clicks that were refused so many times from the journal again and sends at most `limit` of them.
    /// Returns whether any click was sent, or given up because the journal has lost it.
    pub(super) fn try_reread_and_resend_returned_clicks(
        &mut self,
        refusals: RangeInclusive<u8>,
        limit: usize,
        now: Instant,
    ) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        let (mut room, mut has_progress) = (limit, false);
        let max_ranges = self.sink.max_committed_ranges(self.lanes.len());
        for lane in 0..self.lanes.len() {
            let state = &mut self.lanes[lane];
            if state.retry_read_at.is_some_and(|at| now < at) {
                continue;
            }
            let Some(position) =
                state.clicks.find_position_of_first_returned_click(|click| is_returned_after(click.state, &refusals))
            else {
                continue;
            };
            if let Err(why) = state.reader.read_again(position, &mut batch) {
                self.count_and_log_read_error_and_delay_retry(lane, &why, now);
                continue;
            }
            let mut ranges_left = RangesLeft::of(&state.clicks, max_ranges);
            has_progress |= state.quarantine_returned_clicks_absent_from(position, &batch);
            for frame in batch.frames() {
                if room == 0 {
                    break;
                }
                match self.try_resend_click_of_frame_if_returned(lane, &frame, &refusals, &mut ranges_left, now) {
                    Some(SendOutcome::QueueFull) => room = 0,
                    Some(_) => room -= 1,
                    None => {}
                }
            }
        }
        self.batch = batch;
        has_progress || room < limit
    }

    /// Sends the frame's click again if it is returned after so many refusals; else `None`.
    fn try_resend_click_of_frame_if_returned(
        &mut self,
        lane: usize,
        frame: &Frame<'_>,
        refusals: &RangeInclusive<u8>,
        ranges_left: &mut RangesLeft,
        now: Instant,
    ) -> Option<SendOutcome> {
        let clicks = &self.lanes[lane].clicks;
        let number = clicks.find_number(frame)?;
        let tracked = *clicks.find_click(number)?;
        if !is_returned_after(tracked.state, refusals) {
            return None;
        }
        if !ranges_left.allow_returned_click(clicks, number) {
            return None;
        }
        let click = DecodedClick::decode(frame.payload).ok()?;
        let id = InFlightId { lane_index: lane, number };
        let outcome = self.resend_click_or_dead_letter_it_and_send_stub(&click, frame, id, &tracked, now);
        let clicks = &mut self.lanes[lane].clicks;
        match outcome {
            SendOutcome::QueueFull => {}
            SendOutcome::Accepted => clicks.mark_in_flight(number),
            SendOutcome::Refused(refusal) => {
                clicks.mark_in_flight(number);
                self.mark_refused_click_returned_count_and_log(id, refusal, now);
            }
        }
        Some(outcome)
    }

    /// Sends a returned click again. A click that is proved bad is written to a dead-letter file first, and its stub is
    /// sent.
    fn resend_click_or_dead_letter_it_and_send_stub(
        &mut self,
        click: &DecodedClick<'_>,
        frame: &Frame<'_>,
        id: InFlightId,
        tracked: &TrackedClick,
        now: Instant,
    ) -> SendOutcome {
        let labels = self.events.compute_labels(click);
        let TrackedClick { verdict, timestamp_shift, .. } = *tracked;
        let mut options = EventOptions { labels: &labels, verdict, timestamp_shift, stub: None };
        if let Some(reason) = tracked.refusal.filter(|_| tracked.refusals >= REFUSALS_OF_PROOF) {
            let written = tracked.dead_letter_bytes.map(|event_bytes| Stub { reason, event_bytes });
            // Without a dead letter the click itself is tried once more: somebody may have raised the limit.
            options.stub =
                written.or_else(|| self.try_write_dead_letter_and_return_stub(click, frame, id, options, reason));
        }
        self.encode_event_or_given_stub_and_send(click, frame, id, options, now)
    }

    /// Writes a click that was refused alone to a dead-letter file. Returns the stub to send; `None` if the write
    /// failed.
    fn try_write_dead_letter_and_return_stub(
        &mut self,
        click: &DecodedClick<'_>,
        frame: &Frame<'_>,
        id: InFlightId,
        options: EventOptions<'_>,
        reason: Refusal,
    ) -> Option<Stub> {
        let identity = identity_of(&self.edge, &self.lanes[id.lane_index], frame);
        self.events.append_event_json(
            self.dead_letters.event_buffer(),
            &identity,
            click,
            options.labels,
            options.verdict,
        );
        let event_bytes = self.dead_letters.event_bytes();
        if !self.dead_letters.try_write_buffered_event_sync_and_log(self.sink.topic_name(), reason, &identity) {
            return None;
        }
        self.lanes[id.lane_index].clicks.mark_written_to_dead_letter_file(id.number, event_bytes);
        Some(Stub { reason, event_bytes })
    }

    /// Encodes the event, or the stub in its place, into the sink's buffer and hands the record over.
    pub(super) fn encode_event_or_given_stub_and_send(
        &mut self,
        click: &DecodedClick<'_>,
        frame: &Frame<'_>,
        id: InFlightId,
        options: EventOptions<'_>,
        now: Instant,
    ) -> SendOutcome {
        let encoding = self.sink.value_encoding();
        let Some(buffer) = self.sink.record_buffer_if_accepting(now) else { return SendOutcome::QueueFull };
        let identity = identity_of(&self.edge, &self.lanes[id.lane_index], frame);
        match options.stub {
            Some(Stub { reason, event_bytes }) => {
                encoder::append_dead_letter_stub(buffer, encoding, &identity, &click.click, reason, event_bytes)
            }
            None => self.events.append_event(buffer, encoding, &identity, click, options.labels, options.verdict),
        }
        let Click { id: click_id, visitor, at_ms, .. } = &click.click;
        self.sink.send_buffered(&OutgoingRecord {
            id,
            click_id,
            visitor: visitor.as_ref(),
            at_ms: *at_ms,
            timestamp_shift: options.timestamp_shift,
            is_stub: options.stub.is_some(),
        })
    }
}

fn is_returned_after(state: ClickState, refusals: &RangeInclusive<u8>) -> bool {
    matches!(state, ClickState::Returned(count) if refusals.contains(&count))
}

fn identity_of<'a>(edge: &'a str, lane: &LaneProgress, frame: &Frame<'_>) -> ClickIdentity<'a> {
    let (epoch, seq, safe) =
        (frame.epoch.get(), frame.seq.get(), lane.find_seq_below_which_all_is_durable(frame).get());
    ClickIdentity { edge, lane: lane.reader.lane(), epoch, seq, safe }
}
