//! Acknowledging: advances delivered positions, tells the journal, and publishes progress (gauges and statements).

use std::time::{Duration, Instant};

use super::{Engine, NOTE_INTERVAL};
use crate::{
    clock,
    delivery::{
        click_tracker::REFUSALS_OF_PROOF,
        lane::LaneProgress,
        lane_statements::{build_statement, find_due_statement_kind},
        sink::Sink,
    },
};

/// The sleep between two polls while statements are waited for.
const STATEMENT_POLL_SLEEP: Duration = Duration::from_millis(2);
/// The time for which closing statements are waited for at the end.
const CLOSING_STATEMENTS_TIMEOUT: Duration = Duration::from_secs(2);

impl<S: Sink> Engine<S> {
    /// Advances the delivered position of each lane and acknowledges it to the journal. Once an interval it also stores
    /// the sink's note, sets the gauges and sends statements.
    pub(crate) fn acknowledge_delivered_to_journal_and_publish_progress(&mut self, now: Instant) {
        let wall_ms = clock::wall_ms();
        let note = self.sink.journal_note();
        let interval_over = now.duration_since(self.noted_at) >= NOTE_INTERVAL;
        for lane in &mut self.lanes {
            let oldest_ms = lane.clicks.oldest_undelivered_ms();
            let delivered = lane
                .clicks
                .advance_past_delivered_and_count_without_dead_letters(|reason| self.metrics.count_dead_letter(reason));
            if delivered > 0 {
                self.metrics.delivered.increment(delivered);
                self.delivered += delivered;
                let delay_ms = oldest_ms.map_or(0, |at_ms| wall_ms.saturating_sub(at_ms));
                self.metrics.delivery_seconds.record(delay_ms as f64 / 1e3);
            }
            let (position, watermark) = (lane.clicks.delivered_position(), lane.clicks.delivered_watermark());
            if position != lane.acknowledged_position || watermark != lane.acknowledged || interval_over {
                lane.reader.acknowledge(position, watermark, note);
                (lane.acknowledged_position, lane.acknowledged) = (position, watermark);
            }
        }
        if interval_over {
            self.noted_at = now;
            self.set_gauges_and_warn_if_reports_are_missing(now, wall_ms);
            self.send_due_statements(false, now, wall_ms);
            self.dead_letters.try_move_reserve_if_due(now);
        }
    }

    /// Sends the closing statement of each lane and waits a while for their acknowledgements.
    pub(crate) fn send_closing_statements_and_wait_until_settled(&mut self, now: Instant) {
        // A second time, because a sink that commits takes no statement meanwhile.
        for _ in 0..2 {
            self.send_due_statements(true, now, clock::wall_ms());
            self.poll_until_statements_are_settled(now + CLOSING_STATEMENTS_TIMEOUT);
        }
        self.mark_statements_if_any_has_failed(now);
    }

    /// Polls the sink until every statement is acknowledged or failed, at most until the deadline. Reports on clicks
    /// are handled too: clicks of an aborted transaction must not stand in the checkpoint of the next one.
    pub(crate) fn poll_until_statements_are_settled(&mut self, deadline: Instant) {
        while self.sink.statement_counts().pending > 0 && clock::now() < deadline {
            self.poll_sink_handle_reports_or_resume_and_return_if_any(clock::now(), true);
            clock::sleep(STATEMENT_POLL_SLEEP);
        }
    }

    /// If a statement has failed since the last call, the last statement of each lane may be the lost one.
    fn mark_statements_if_any_has_failed(&mut self, now: Instant) {
        let failed = self.sink.statement_counts().failed;
        if failed > std::mem::replace(&mut self.failed_statements, failed) {
            for last in self.lanes.iter_mut().filter_map(|lane| lane.last_statement.as_mut()) {
                (last.may_be_lost, last.at) = (true, now);
            }
        }
    }

    /// Sends the statements that are due. `is_closing`: no worker appends any more, so each lane closes its epoch.
    fn send_due_statements(&mut self, is_closing: bool, now: Instant, wall_ms: u64) {
        self.mark_statements_if_any_has_failed(now);
        let shift = self.gate.accepted_timestamp_shift();
        for lane in &mut self.lanes {
            let status = lane.reader.status();
            while let Some(kind) = find_due_statement_kind(lane, &status, now, is_closing) {
                let statement = build_statement(&self.edge, self.sink.topic_name(), kind, lane, &status, wall_ms);
                // Numbers and texts under text keys always encode.
                let value = serde_json::to_vec(&statement).unwrap_or_default();
                if !self.sink.try_send_statement(lane.reader.lane(), &value, wall_ms, shift) {
                    break;
                }
                lane.note_statement(status.clone(), kind, now);
                // A lane that closes before it could state its opening sends both statements.
                if !is_closing || !kind.begins_epoch() {
                    break;
                }
            }
        }
    }

    fn set_gauges_and_warn_if_reports_are_missing(&mut self, now: Instant, wall_ms: u64) {
        let counts = self.sum_undelivered_counts_over_lanes();
        self.gate.warn_if_reports_are_missing(self.sink.topic_name(), counts.in_flight, now);
        self.metrics.in_flight.set(counts.in_flight as f64);
        let blocked: usize = counts.returned[usize::from(REFUSALS_OF_PROOF)..].iter().sum();
        self.metrics.blocked.set(blocked as f64);
        let oldest_ms = self.lanes.iter().filter_map(LaneProgress::oldest_undelivered_ms).min();
        let age_ms = oldest_ms.map_or(0, |at_ms| wall_ms.saturating_sub(at_ms));
        self.metrics.oldest_undelivered_seconds.set(age_ms as f64 / 1e3);
    }
}
