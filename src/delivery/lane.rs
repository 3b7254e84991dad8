//! One lane as the engine sees it: its journal reader, and its undelivered clicks.

use std::{cmp::Ordering, time::Instant};

use super::{
    click_tracker::{ClickState, ClickTracker},
    committed::{CommittedLanes, CommittedSet, LaneKey},
};
use crate::{
    events::statement::StatementKind,
    journal::{Batch, Epoch, Frame, LaneReader, LaneStatus, Position, Seq, SeqRange, Watermark},
};

/// One lane.
pub(crate) struct LaneProgress {
    pub(crate) reader: LaneReader,
    pub(crate) clicks: ClickTracker,
    /// Delivered according to the journal at the start: these clicks were counted by an earlier process.
    pub(super) delivered_at_start: Watermark,
    /// The position and the watermark that were acknowledged to the journal last.
    pub(super) acknowledged_position: Position,
    pub(super) acknowledged: Watermark,
    /// Every click below is delivered or synced, as of the last batch read.
    pub(super) safe: Watermark,
    /// The time of the last click read: the lane with the smallest is read first.
    pub(super) last_read_ms: u64,
    /// The journal could not be read; the next attempt follows at this time.
    pub(super) retry_read_at: Option<Instant>,
    pub(crate) last_statement: Option<LastStatement>,
    /// Whether the sink's checkpoints cover everything that was ever delivered.
    checkpoints_cover_lane: bool,
}

/// The progress that the lane stated last.
#[derive(Debug)]
pub(crate) struct LastStatement {
    pub(super) at: Instant,
    pub(super) status: LaneStatus,
    pub(super) delivered: Watermark,
    pub(super) kind: StatementKind,
    /// A statement has failed since: perhaps this one.
    pub(super) may_be_lost: bool,
}

/// A contradiction between the journal and the lanes that the sink has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JournalConflict {
    /// The journal has more delivered of a lane than the sink's last checkpoint says.
    CheckpointBehind {
        lane: u16,
        /// Delivered according to the journal.
        in_journal: Watermark,
        /// Committed according to the checkpoint.
        in_checkpoint: Watermark,
    },
    /// The sink's last checkpoint names an epoch that this data directory never had.
    UnknownEpoch { lane: u16, epoch: Epoch },
}

impl LaneProgress {
    /// A lane that goes on where the journal and the sink say. `delivered_at_open`: the watermark that the sink found
    /// at its opening. `checkpoints_cover_lane`: the sink's checkpoints cover everything that was ever delivered of the
    /// lane.
    pub(super) fn new(reader: LaneReader, delivered_at_open: Watermark, checkpoints_cover_lane: bool) -> LaneProgress {
        let delivered_at_start = reader.recovered_watermark();
        let start = reader.first_undelivered();
        LaneProgress {
            clicks: ClickTracker::new(start, delivered_at_start.max(delivered_at_open)),
            delivered_at_start,
            acknowledged_position: start,
            acknowledged: delivered_at_start,
            safe: delivered_at_start,
            last_read_ms: 0,
            retry_read_at: None,
            last_statement: None,
            checkpoints_cover_lane,
            reader,
        }
    }

    /// Quarantines and passes over returned clicks that the journal has lost since they were read: `batch` was read
    /// from `from` on and does not have them. Returns whether there were any.
    pub(super) fn quarantine_returned_clicks_absent_from(&mut self, from: Position, batch: &Batch) -> bool {
        let lost = self.clicks.list_returned_clicks_absent_from(from, batch);
        let seqs: Vec<(Epoch, Seq)> = lost
            .iter()
            .filter_map(|number| self.clicks.find_click(*number))
            .map(|click| click.epoch_and_seq())
            .collect();
        self.reader.quarantine_lost_seqs(&seqs);
        lost.iter().for_each(|number| self.clicks.mark_quarantined(*number));
        !lost.is_empty()
    }

    /// Notes the progress that a statement sent now contains.
    pub(super) fn note_statement(&mut self, status: LaneStatus, kind: StatementKind, now: Instant) {
        let delivered = self.clicks.delivered_watermark();
        self.last_statement = Some(LastStatement { at: now, status, delivered, kind, may_be_lost: false });
    }

    /// Whether it was stated that all of a lane without a worker is delivered.
    pub(crate) fn has_stated_drained(&self) -> bool {
        self.last_statement.as_ref().is_some_and(|last| last.kind == StatementKind::Drained && !last.may_be_lost)
    }

    /// The set that is committed once every click in flight is.
    pub(super) fn build_committed_set_including_in_flight(&self) -> (LaneKey, CommittedSet) {
        (self.key(), self.clicks.build_committed_set_including_in_flight())
    }

    fn key(&self) -> LaneKey {
        LaneKey { directory: self.reader.directory_id(), lane: self.reader.lane() }
    }

    /// Compares the journal with the committed lanes. Finds no conflict where the checkpoints do not cover the lane,
    /// because an at-least-once run lies between: then the journal alone is right.
    pub(crate) fn find_conflict_with_committed(&self, committed: &CommittedLanes) -> Option<JournalConflict> {
        if !self.checkpoints_cover_lane {
            return None;
        }
        let lane = self.reader.lane();
        let in_journal = self.acknowledged;
        let committed = committed.get(&self.key()).cloned().unwrap_or_default();
        let in_checkpoint = committed.watermark;
        // Nothing is committed for a quarantined click, nor for an epoch without a click, which recovery may know.
        if in_journal > in_checkpoint && !self.are_all_committed_or_quarantined_below(in_journal, &committed) {
            Some(JournalConflict::CheckpointBehind { lane, in_journal, in_checkpoint })
        } else if is_known_or_older(&self.list_known_epochs(), in_checkpoint.epoch) {
            None
        } else {
            Some(JournalConflict::UnknownEpoch { lane, epoch: in_checkpoint.epoch })
        }
    }

    /// Whether every click from the committed watermark on and below `to` is committed above that watermark, is
    /// quarantined, or may have been lost with the machine's power.
    fn are_all_committed_or_quarantined_below(&self, to: Watermark, committed: &CommittedSet) -> bool {
        let from = committed.watermark;
        let status = self.reader.status();
        let ended = status.epoch_ends.iter().filter(|end| (from.epoch..to.epoch).contains(&end.epoch));
        let ends = ended.map(|end| (end.epoch, end.next_seq)).chain([(to.epoch, to.next)]);
        let used = ends.map(|(epoch, end)| {
            let first = if epoch == from.epoch { from.next } else { Seq::ZERO };
            // Behind the first number that a power loss took, nobody knows which others it took.
            let end = self.reader.lower_watermark_to_cut_of_its_epoch(Watermark { epoch, next: end }).next;
            SeqRange { epoch, first, end }
        });
        let is_from_known = from.epoch == to.epoch || status.epoch_ends.iter().any(|end| end.epoch == from.epoch);
        let above = committed.above.iter().map(|range| SeqRange {
            epoch: Epoch::new(range.epoch),
            first: Seq::new(range.from),
            end: Seq::new(range.to),
        });
        let mut accounted: Vec<SeqRange> = status.quarantined.iter().copied().chain(above).collect();
        accounted.sort_unstable();
        let is_accounted = |range: SeqRange| {
            let of_epoch = accounted.iter().filter(|accounted| accounted.epoch == range.epoch);
            let reached =
                of_epoch.fold(
                    range.first,
                    |next, accounted| {
                        if accounted.first <= next { next.max(accounted.end) } else { next }
                    },
                );
            range.first >= range.end || reached >= range.end
        };
        (is_from_known || !from.epoch.is_some() || to.next == Seq::ZERO) && used.into_iter().all(is_accounted)
    }

    /// Takes over the committed clicks of this lane, as far as their epochs belong to this data directory.
    pub(crate) fn resume_known_epochs_from_committed(&mut self, committed: &CommittedLanes) {
        self.checkpoints_cover_lane = true;
        let Some(committed) = committed.get(&self.key()) else { return };
        if is_known_or_older(&self.list_known_epochs(), committed.watermark.epoch) {
            self.clicks.mark_committed_delivered_and_others_in_flight_returned(committed);
        }
    }

    /// The epochs that this data directory remembers.
    fn list_known_epochs(&self) -> Vec<Epoch> {
        let ended = self.reader.status().epoch_ends.into_iter().map(|end| end.epoch);
        ended.chain([self.acknowledged.epoch, self.reader.epoch()]).filter(|epoch| epoch.is_some()).collect()
    }

    /// Whether every appended click is delivered.
    pub(crate) fn is_all_delivered(&self) -> bool {
        self.clicks.delivered_position() >= self.reader.head()
    }

    /// The seq in the frame's epoch below which every click is delivered or synced.
    pub(super) fn find_seq_below_which_all_is_durable(&self, frame: &Frame<'_>) -> Seq {
        match self.safe.epoch.cmp(&frame.epoch) {
            Ordering::Less => Seq::ZERO,
            Ordering::Equal => self.safe.next,
            // A later epoch is safe up to some seq, so this one is safe as a whole, as far as a power loss left it.
            Ordering::Greater => {
                let watermark = Watermark { epoch: frame.epoch, next: frame.seq };
                self.reader.lower_watermark_to_cut_of_its_epoch(watermark).next
            }
        }
    }

    /// The time of the oldest click read and not delivered; if only unread clicks wait, the time of the last one read.
    pub(super) fn oldest_undelivered_ms(&self) -> Option<u64> {
        let read = self.clicks.oldest_undelivered_ms();
        read.or_else(|| (self.last_read_ms > 0 && !self.is_all_delivered()).then_some(self.last_read_ms))
    }

    /// Every click older than this time is delivered, as far as the wall clock did not go back; at most `now_ms`.
    /// `None` while the time is unknown, because nothing was read yet.
    pub(crate) fn find_time_before_which_all_is_delivered_ms(&self, now_ms: u64) -> Option<u64> {
        match self.clicks.oldest_undelivered_ms() {
            Some(oldest) => Some(oldest.min(now_ms)),
            None if self.clicks.read_position() >= self.reader.head() => Some(now_ms),
            None => (self.last_read_ms > 0).then_some(self.last_read_ms.min(now_ms)),
        }
    }

    /// The quarantined clicks that were not delivered at the start.
    pub(super) fn count_quarantined_since_start(&self) -> u64 {
        let status = self.reader.status();
        let count = |range: &SeqRange| {
            let start = self.delivered_at_start;
            let first = if range.epoch == start.epoch { range.first.max(start.next) } else { range.first };
            if range.epoch < start.epoch { 0 } else { range.end.saturating_count_from(first) }
        };
        status.quarantined.iter().map(count).sum::<u64>() + status.quarantined_omitted
    }

    /// Reads the rest of the lane and adds the undelivered clicks to `sum`. Returns whether it reached the end of the
    /// lane before the deadline.
    pub(super) fn count_undelivered(&mut self, batch: &mut Batch, deadline: Instant, sum: &mut u64) -> bool {
        let mut position = self.clicks.delivered_position();
        while position < self.reader.head() {
            if Instant::now() >= deadline
                || self.reader.read_again(position, batch).is_err()
                || batch.next_position() <= position
            {
                return false;
            }
            for frame in batch.frames() {
                let tracked = self.clicks.find_number(&frame).and_then(|number| self.clicks.find_click(number));
                let delivered = self.clicks.is_delivered_with_all_before(&frame)
                    || tracked.is_some_and(|click| click.state == ClickState::Delivered);
                *sum += u64::from(!delivered);
            }
            position = batch.next_position();
        }
        true
    }
}

/// Whether the directory knows this epoch, or all of its own are later: a checkpoint in an older epoch covers no
/// waiting click.
fn is_known_or_older(known_epochs: &[Epoch], epoch: Epoch) -> bool {
    known_epochs.contains(&epoch) || known_epochs.iter().all(|known| epoch < *known)
}
