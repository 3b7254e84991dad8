//! The boundary between the delivery engine and a sink: the trait [`Sink`], the record that a sink takes, and the
//! reports that it gives back.

use std::time::Instant;

use super::{committed::CommittedLanes, lane::JournalConflict};
use crate::{
    events::encoder::ValueEncoding,
    journal::{SinkNote, Watermark},
    kafka::Refusal,
};

/// A destination of the events of one topic. The engine calls it on one thread.
///
/// A record is handed over in two steps: the engine appends the event to [`Sink::record_buffer_if_accepting`], then
/// calls [`Sink::send_buffered`]. What became of the record follows in the reports of a later [`Sink::poll`]. The
/// default methods fit a sink that publishes no lane statements and keeps no checkpoints.
pub(crate) trait Sink {
    /// The buffer to append the next event to; `None` while the sink accepts no record.
    fn record_buffer_if_accepting(&mut self, now: Instant) -> Option<&mut Vec<u8>>;

    /// How the event in that buffer is encoded.
    fn value_encoding(&self) -> ValueEncoding {
        ValueEncoding::Json
    }

    /// Takes the event that was appended to [`Sink::record_buffer_if_accepting`].
    fn send_buffered(&mut self, record: &OutgoingRecord<'_>) -> SendOutcome;

    /// Does the work that is due and appends a report for every record whose fate is known. `flush_now`: everything
    /// gathered is written, synced or committed at once.
    ///
    /// A sink that keeps checkpoints puts `next_commit()` into the next one: the set that is delivered once everything
    /// in flight is. It returns the committed lanes once it has read its last checkpoint; the engine resumes from them.
    fn poll(
        &mut self,
        now: Instant,
        flush_now: bool,
        reports: &mut Vec<DeliveryReport>,
        next_commit: &dyn Fn() -> CommittedLanes,
    ) -> Option<CommittedLanes>;

    /// The bytes that the journal keeps for the sink until the next start.
    fn journal_note(&self) -> SinkNote;

    /// The topic's name at the destination, for messages and statements.
    fn topic_name(&self) -> &str;

    /// The watermark below which the sink holds all clicks of the lane, as the sink found at its opening.
    fn delivered_at_open(&self, _lane: u16) -> Watermark {
        Watermark::default()
    }

    /// Whether the checkpoints of the sink cover everything that was ever delivered of the lane with this note.
    fn checkpoints_cover(&self, _note: &SinkNote) -> bool {
        false
    }

    /// The most ranges of clicks above an undelivered one that the sink can commit for each of so many lanes.
    fn max_committed_ranges(&self, _lanes: usize) -> usize {
        usize::MAX
    }

    /// Whether the sink can refuse a click for its content.
    fn can_refuse_clicks(&self) -> bool {
        true
    }

    /// Whether the sink knows what it has committed, so that "everything is delivered" can be believed.
    fn is_resumed(&self) -> bool {
        true
    }

    /// Stops all sending until the next start, because the committed lanes contradict the journal.
    fn stop_delivery_until_next_start(&mut self, _conflict: JournalConflict, _reports: &mut Vec<DeliveryReport>) {}

    /// Sends a lane's statement with its timestamp shifted by so many steps; `false` if it cannot be sent now.
    fn try_send_statement(&mut self, _lane: u16, _statement: &[u8], _at_ms: u64, _timestamp_shift: u8) -> bool {
        true
    }

    /// The statements sent so far.
    fn statement_counts(&self) -> StatementCounts {
        StatementCounts::default()
    }
}

/// Identifies a click that the sink holds. It fits 64 bits, because a Kafka producer returns so many with a delivery
/// report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlightId {
    /// The lane's index in the engine.
    pub(crate) lane_index: usize,
    /// The click's number in its lane, counted by the engine.
    pub(crate) number: u64,
}

impl InFlightId {
    const LANE_SHIFT: u32 = 48;

    /// Packs the id: 16 bits of lane and 48 of number, which last for 89 years at 100 000 clicks a second.
    pub(crate) const fn to_bits(self) -> usize {
        self.lane_index << InFlightId::LANE_SHIFT | self.number as usize
    }

    /// Unpacks an id that [`InFlightId::to_bits`] packed.
    pub(crate) const fn from_bits(bits: usize) -> InFlightId {
        let number = (bits & ((1 << InFlightId::LANE_SHIFT) - 1)) as u64;
        InFlightId { lane_index: bits >> InFlightId::LANE_SHIFT, number }
    }
}

const _: () = assert!(usize::BITS == 64, "an id in flight fills 64 bits");

/// The properties of a record beside its value.
pub(crate) struct OutgoingRecord<'a> {
    pub(crate) id: InFlightId,
    pub(crate) click_id: &'a [u8; 16],
    pub(crate) visitor: Option<&'a [u8; 16]>,
    /// The click's time, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The steps by which the record's timestamp is shifted, because the broker refused the click's own.
    pub(crate) timestamp_shift: u8,
    /// Whether the value is the stub of a dead letter.
    pub(crate) is_stub: bool,
}

/// The answer to [`Sink::send_buffered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The sink holds the record; a report follows.
    Accepted,
    /// The sink has no room now; no report follows.
    QueueFull,
    /// The sink refused the record at once; no report follows.
    Refused(Refusal),
}

/// What became of records that the sink accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryReport {
    /// The click is delivered.
    Delivered(InFlightId),
    /// Kafka refused the click's record, or the batch it was in.
    Refused(InFlightId, Refusal),
    /// Every click in flight is delivered.
    AllDelivered,
    /// No click in flight is delivered, through no fault of the clicks.
    AllReturned(ReturnCause),
}

/// Why a sink gave back every click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnCause {
    /// Kafka's transaction was aborted, or the producer has failed.
    Kafka(Refusal),
    /// A click file could not be written or synced.
    FileError,
}

/// Lane statements sent by a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatementCounts {
    /// Statements, or the commit that holds them, without an answer yet.
    pub(crate) pending: u64,
    /// Statements that failed since the start.
    pub(crate) failed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_packing() {
        for lane_index in [0, 1, 65_535] {
            for number in [0, 1, (1 << 48) - 1] {
                let id = InFlightId { lane_index, number };
                assert_eq!(InFlightId::from_bits(id.to_bits()), id);
            }
        }
    }
}
