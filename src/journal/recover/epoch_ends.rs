//! Stores how a lane's epochs ended, as far as recovery can know.

use std::cmp::Ordering;

use super::context::{Evidence, LaneRecoveryContext};
use crate::journal::{
    epoch_ends::{EpochEnd, HISTORY, append_epoch_end_synced_and_return_all_ends, read_epoch_ends},
    error::{OpenError, with_path},
    report::LaneCondition,
    scan::SeqCoverage,
    units::{Epoch, Seq, Watermark},
    walk::WalkItem,
};

impl LaneRecoveryContext<'_> {
    /// Stores how the last epoch ended, durably, and returns every end that is known.
    ///
    /// The end must be durable before the ring names the next epoch: if a start died between the two, the next start
    /// would take the new epoch for the last one, and the end of this one would never be stated. A power loss can also
    /// take clicks of epochs before the last one, as long as these lay in the ring alone. Such epochs had ended whole,
    /// and are stored again as cut.
    pub(super) fn store_last_epoch_end_and_return_all_ends(
        &self,
        condition: LaneCondition,
        last_epoch: Option<Watermark>,
        evidence: Evidence<'_>,
    ) -> Result<Vec<EpochEnd>, OpenError> {
        let (dir, lane_id) = (self.files.dir(), self.files.lane_id);
        let read = || with_path(&dir, read_epoch_ends(self.disk, &dir, lane_id));
        let append = |end| with_path(&dir, append_epoch_end_synced_and_return_all_ends(self.disk, &dir, lane_id, end));
        with_path(&dir, HISTORY.rewrite_same_bytes_and_sync(self.disk, &dir))?;
        let stored = read()?;
        // The end is stored already for a lane without a worker, and after a start that died: nothing was appended
        // since then.
        let last_epoch = last_epoch.filter(|last| stored.iter().all(|end| end.epoch != last.epoch));
        if condition == LaneCondition::Cut {
            let surviving = self.find_surviving_seqs_in_scan_and_ring(evidence)?;
            for end in stored.iter().filter(|end| !end.cut) {
                let next_seq = surviving.find_end_of_gapless_seqs_in(end.epoch, end.next_seq);
                if next_seq != end.next_seq {
                    append(EpochEnd { next_seq, cut: true, ..*end })?;
                }
            }
            if let Some(Watermark { epoch, next }) = last_epoch {
                let used = next.max(surviving.seqs.next_seq_in(epoch));
                append(EpochEnd { epoch, next_seq: surviving.find_end_of_gapless_seqs_in(epoch, used), cut: true })?;
            }
        } else if let Some(Watermark { epoch, next }) = last_epoch {
            append(EpochEnd { epoch, next_seq: next, cut: false })?;
        }
        read()
    }

    /// The numbers that a power loss left: those of the segments' frames and of the ring's.
    fn find_surviving_seqs_in_scan_and_ring(&self, evidence: Evidence<'_>) -> Result<SurvivingSeqs, OpenError> {
        let Evidence { checkpoint, ring, scan, acked } = evidence;
        let (mut seqs, mut boundary) = (scan.frames.seqs.clone(), scan.frames.boundary);
        if let Some(ring) = ring {
            let walked = ring.walk_items_in_file_order(self.files.lane_id, |_, item| match item {
                WalkItem::Frame(frame) => {
                    boundary.update_nearest_edges_around_acked(&frame, acked);
                    if frame.position >= acked {
                        seqs.mark_frame_seq_as_found(&frame);
                    }
                }
                WalkItem::Pad { position, len } => boundary.note_pad_end_if_pad_is_at_acked(position, len, acked),
                _ => {}
            });
            with_path(&self.files.ring_path(), walked)?;
        }
        Ok(SurvivingSeqs { seqs, delivered: boundary.delivered_watermark(checkpoint, acked) })
    }
}

/// The numbers that survived a power loss.
struct SurvivingSeqs {
    seqs: SeqCoverage,
    delivered: Watermark,
}

impl SurvivingSeqs {
    /// The number below which none of the epoch is missing, `used` at most. Numbers behind the first missing one may
    /// have survived, for a lost page can be older than one that was kept.
    fn find_end_of_gapless_seqs_in(&self, epoch: Epoch, used: Seq) -> Seq {
        match self.delivered.epoch.cmp(&epoch) {
            Ordering::Less => used.min(self.seqs.find_first_unfound_seq_from(epoch, Seq::ZERO)),
            Ordering::Equal => used.min(self.seqs.find_first_unfound_seq_from(epoch, self.delivered.next)),
            Ordering::Greater => used,
        }
    }
}
