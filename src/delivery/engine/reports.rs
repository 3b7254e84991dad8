//! Handling of delivery reports: marks clicks delivered or returned, and tells the gate.

use std::time::Instant;

use super::Engine;
use crate::{
    delivery::{
        click_tracker::REFUSALS_OF_PROOF,
        gate::LearnedShift,
        sink::{DeliveryReport, InFlightId, ReturnCause, Sink},
    },
    kafka::Refusal,
};

/// The steps by which a refused timestamp is shifted before the refusal counts against the record.
pub(crate) const MAX_TIMESTAMP_SHIFT: u8 = 14;

impl<S: Sink> Engine<S> {
    /// Handles every report that the sink has given. Returns whether there was one.
    pub(crate) fn handle_delivery_reports_and_return_if_any(&mut self, now: Instant) -> bool {
        let mut reports = std::mem::take(&mut self.reports);
        let any = !reports.is_empty();
        for report in reports.drain(..) {
            match report {
                DeliveryReport::Delivered(id) => self.mark_click_delivered_and_update_gate(id, now),
                DeliveryReport::Refused(id, refusal) => {
                    self.mark_refused_click_returned_count_and_log(id, refusal, now)
                }
                DeliveryReport::AllDelivered => self.mark_all_in_flight_delivered_and_update_gate(now),
                DeliveryReport::AllReturned(cause) => self.count_and_mark_all_in_flight_returned(cause),
            }
        }
        self.reports = reports;
        any
    }

    fn mark_click_delivered_and_update_gate(&mut self, id: InFlightId, now: Instant) {
        let gate = &mut self.gate;
        let Some(lane) = self.lanes.get_mut(id.lane_index) else { return };
        let clicks = &mut lane.clicks;
        let timestamp_shift = clicks.find_click(id.number).map_or(0, |click| click.timestamp_shift);
        gate.note_report(now);
        gate.end_pause_and_allow_blocked_retry_if(clicks.is_proved_bad(id.number));
        clicks.mark_delivered(id.number);
        self.learn_accepted_timestamp_shift_and_reset_refusals(timestamp_shift, now);
    }

    fn mark_all_in_flight_delivered_and_update_gate(&mut self, now: Instant) {
        let was_on_trial = self.sum_undelivered_counts_over_lanes().on_trial > 0;
        let timestamp_shift = self.lanes.iter().filter_map(|lane| lane.clicks.max_timestamp_shift_in_flight()).max();
        self.gate.note_report(now);
        self.gate.end_pause_and_allow_blocked_retry_if(was_on_trial);
        self.lanes.iter_mut().for_each(|lane| lane.clicks.mark_in_flight_delivered());
        if let Some(timestamp_shift) = timestamp_shift {
            self.learn_accepted_timestamp_shift_and_reset_refusals(timestamp_shift, now);
        }
    }

    fn count_and_mark_all_in_flight_returned(&mut self, cause: ReturnCause) {
        self.metrics.count_returned_clicks(cause, self.sum_undelivered_counts_over_lanes().in_flight as u64);
        self.lanes.iter_mut().for_each(|lane| lane.clicks.mark_in_flight_returned());
    }

    /// Marks a refused click returned. The refusal counts against the click only if the click may be at fault.
    pub(super) fn mark_refused_click_returned_count_and_log(&mut self, id: InFlightId, refusal: Refusal, now: Instant) {
        let gate = &mut self.gate;
        let Some(lane) = self.lanes.get_mut(id.lane_index) else { return };
        let clicks = &mut lane.clicks;
        gate.note_report(now);
        self.metrics.count_refused_click(refusal);
        let click = clicks.find_click(id.number);
        let may_shift = click.is_some_and(|click| click.timestamp_shift < MAX_TIMESTAMP_SHIFT);
        match refusal {
            Refusal::Retriable | Refusal::TopicMissing | Refusal::NotAuthorized => {
                clicks.mark_returned(id.number);
                gate.start_or_double_pause_after_failure(now);
            }
            // The sink has dropped its producer, or is about to, and logs why.
            Refusal::Fatal | Refusal::Fenced => return clicks.mark_returned(id.number),
            Refusal::InvalidTimestamp if may_shift => clicks.mark_refused_for_timestamp_and_shift_click(id.number),
            Refusal::InvalidTimestamp | Refusal::TooLarge | Refusal::Invalid => {
                clicks.mark_returned_and_count_refusal(id.number, refusal);
                if clicks.find_click(id.number).is_some_and(|click| click.refusals > REFUSALS_OF_PROOF) {
                    gate.delay_blocked_retry(now);
                }
            }
        }
        gate.log_refusal_rate_limited(self.sink.topic_name(), refusal, now);
    }

    /// Tells the gate that a timestamp passed after so many steps, and gives refused clicks another try if the shift is
    /// new.
    fn learn_accepted_timestamp_shift_and_reset_refusals(&mut self, timestamp_shift: u8, now: Instant) {
        let learned = self.gate.store_accepted_timestamp_shift(timestamp_shift, now);
        if learned == LearnedShift::NewShift {
            self.lanes
                .iter_mut()
                .for_each(|lane| lane.clicks.reset_unproved_refusals_and_set_timestamp_shift(timestamp_shift));
        }
    }
}
