//! The metrics of the topic.

use metrics::{Counter, Gauge, Histogram};

use super::{
    apply_records::{AppliedRecords, RecordOutcome},
    generation::RereadReason,
    record::RejectReason,
    state::TopicState,
};
use crate::{clock, metrics as table};

/// The handles.
pub(super) struct TopicMetrics {
    records: [Counter; RecordOutcome::ALL.len()],
    rejections: [Counter; RejectReason::ALL.len()],
    rejected: Gauge,
    fingerprint: Gauge,
    next_offset: Gauge,
    at_end: Gauge,
    propagation_seconds: Histogram,
    rereads: [Counter; RereadReason::ALL.len()],
    shrunk: Gauge,
}

impl TopicMetrics {
    pub(super) fn register() -> TopicMetrics {
        TopicMetrics {
            records: RecordOutcome::ALL.map(|outcome| table::counter(&table::LINKS_TOPIC_RECORDS, &[outcome.as_str()])),
            rejections: RejectReason::ALL
                .map(|reason| table::counter(&table::LINKS_TOPIC_REJECTED, &[reason.as_str()])),
            rejected: table::gauge(&table::LINKS_TOPIC_REJECTED_KEPT, &[]),
            fingerprint: table::gauge(&table::LINKS_TOPIC_FINGERPRINT, &[]),
            next_offset: table::gauge(&table::LINKS_TOPIC_OFFSET, &[]),
            at_end: table::gauge(&table::LINKS_TOPIC_AT_END, &[]),
            propagation_seconds: table::histogram(&table::LINKS_TOPIC_PROPAGATION_SECONDS, &[]),
            rereads: RereadReason::ALL.map(|reason| table::counter(&table::LINKS_TOPIC_REREADS, &[reason.as_str()])),
            shrunk: table::gauge(&table::LINKS_TOPIC_SHRUNK, &[]),
        }
    }

    /// Counts what became of records. `measures_propagation`: they were written a moment ago.
    pub(super) fn count(&self, applied: &AppliedRecords, measures_propagation: bool) {
        let now_ms = clock::wall_ms();
        for (outcome, at_ms) in &applied.outcomes {
            self.records[*outcome as usize].increment(1);
            if measures_propagation && *at_ms > 0 {
                self.propagation_seconds.record(now_ms.saturating_sub(*at_ms) as f64 / 1000.0);
            }
        }
        for (_, reason) in &applied.rejections {
            self.rejections[*reason as usize].increment(1);
        }
        self.show_rejected(applied.rejected_kept);
    }

    /// Shows how many skipped records are listed.
    pub(super) fn show_rejected(&self, kept: u64) {
        self.rejected.set(kept as f64);
    }

    /// Counts a reading from the beginning.
    pub(super) fn count_reread(&self, reason: RereadReason) {
        self.rereads[reason as usize].increment(1);
    }

    /// Shows whether the topic lacks too many links.
    pub(super) fn show_shrunk(&self, is_shrunk: bool) {
        self.shrunk.set(f64::from(u8::from(is_shrunk)));
    }

    /// Shows how far the topic is read.
    pub(super) fn show(&self, state: &TopicState) {
        // A gauge is a double, which holds 53 bits.
        self.fingerprint.set((state.fingerprint >> 16) as f64);
        self.next_offset.set(state.next_offset as f64);
        self.at_end.set(state.at_end_ms as f64 / 1000.0);
    }
}
