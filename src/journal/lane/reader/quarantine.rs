//! The account of a lane by number: what is neither in a segment nor in the ring, or is no click, is quarantined,
//! logged and passed over.

use std::path::Path;

use super::{Frontier, LaneReader};
#[cfg(test)]
use crate::journal::quarantined_seqs::read_quarantined_ranges;
use crate::{
    faults::{self, log_fault},
    journal::{
        frame::Frame,
        lane::Batch,
        quarantined_seqs::append_new_quarantined_ranges_and_sync,
        units::{Epoch, Seq, SeqRange, Watermark},
    },
};

impl LaneReader {
    /// Advances the frontier over the batch. Quarantines and logs the numbers that the lane had between its frames and
    /// that no frame has. `watermark_at_end`: the watermark that the lane has at the end of the batch, if it is known.
    pub(super) fn advance_frontier_and_quarantine_skipped_seqs(
        &mut self,
        batch: &Batch,
        watermark_at_end: Option<Watermark>,
    ) {
        let Frontier { end, mut seen } = self.frontier;
        if batch.next_position <= end {
            return;
        }
        let mut gaps = Vec::new();
        let mut note_gap_before = |seen: Option<Watermark>, next: Watermark| {
            gaps.extend(seen.filter(|seen| *seen < next).map(|seen| (seen, next)));
        };
        for frame in batch.frames().filter(|frame| frame.position >= end) {
            note_gap_before(seen, frame.watermark_before());
            seen = seen.max(Some(frame.watermark_after()));
        }
        if let Some(at_end) = watermark_at_end {
            note_gap_before(seen, at_end);
            seen = seen.map(|seen| seen.max(at_end));
        }
        self.frontier = Frontier { end: batch.next_position, seen };
        if !gaps.is_empty() {
            self.quarantine_appended_seqs_in_gaps_and_log(&gaps);
        }
    }

    /// Quarantines the number of a frame whose payload nobody can use, and keeps the frame in a file in the quarantine.
    /// The frame is passed over even if it cannot be kept, which is logged.
    pub fn quarantine_and_keep_malformed_frame(&mut self, frame: &Frame<'_>) {
        let kept = self.malformed_frames.append_frame_and_sync(&self.disk, self.shared.checksum_seed, frame);
        if let Err(error) = kept {
            tracing::warn!(topic = self.log, lane = self.shared.lane, %error, "cannot keep a malformed click");
        }
        self.faulty_file = self.malformed_frames.path().map(Path::to_owned);
        self.quarantine_appended_seqs_in_gaps_and_log(&[(frame.watermark_before(), frame.watermark_after())]);
    }

    /// Quarantines the numbers of frames that were read once and that a later read did not give any more.
    pub fn quarantine_lost_seqs(&mut self, seqs: &[(Epoch, Seq)]) {
        let gap = |(epoch, seq): &(Epoch, Seq)| {
            let before = Watermark { epoch: *epoch, next: *seq };
            (before, Watermark::after(*epoch, *seq))
        };
        if !seqs.is_empty() {
            self.quarantine_appended_seqs_in_gaps_and_log(&seqs.iter().map(gap).collect::<Vec<_>>());
        }
    }

    /// Before the delivered position passes the ranges, so that a later process states them too. A disk that fails
    /// stops no delivery: then this process alone states them.
    fn store_quarantined_ranges_or_log_error(&self, ranges: &[SeqRange]) {
        let (topic, lane) = (self.log, self.shared.lane);
        let lane_id = self.shared.lane_id;
        if let Err(error) = append_new_quarantined_ranges_and_sync(&self.disk, &self.lane_dir, lane_id, ranges) {
            tracing::warn!(topic, lane, %error, "cannot store the numbers of lost clicks: {}", self.lane_dir.display());
        }
    }

    /// The quarantined ranges that the disk holds.
    #[cfg(test)]
    pub(crate) fn read_stored_quarantined_ranges(&self) -> Vec<SeqRange> {
        read_quarantined_ranges(&self.disk, &self.lane_dir, self.shared.lane_id).unwrap_or_default()
    }

    fn quarantine_appended_seqs_in_gaps_and_log(&mut self, gaps: &[(Watermark, Watermark)]) {
        let epoch = self.shared.epoch;
        let mut progress = self.shared.lock_progress();
        let quarantine = |(from, to): &(_, _)| progress.quarantine_appended_seqs_between(*from, *to, epoch);
        let ranges: Vec<SeqRange> = gaps.iter().flat_map(quarantine).collect();
        drop(progress);
        self.store_quarantined_ranges_or_log_error(&ranges);
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return };
        let file = self.faulty_file.take();
        log_fault!(
            error,
            faults::CLICKS_QUARANTINED,
            topic = self.log,
            lane = self.shared.lane,
            clicks = ranges.iter().map(|range| range.end - range.first).sum::<u64>(),
            ranges = ranges.len(),
            epoch = first.epoch.get(),
            first_seq = first.first.get(),
            last_epoch = last.epoch.get(),
            last_seq = last.end.saturating_sub(1).get(),
            file = file.map(|path| path.display().to_string()),
            "clicks can be read neither from segments nor from the ring, or their bytes are no clicks: their numbers \
             are quarantined, and delivery goes on behind them"
        );
    }
}
