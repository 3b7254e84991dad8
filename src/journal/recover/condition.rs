//! The condition in which a lane is found: fresh, clean, intact or cut.

use super::context::{Evidence, LaneRecoveryContext};
use crate::journal::{
    error::{OpenError, with_path},
    report::LaneCondition,
    ring_file::RingFile,
    scan::{DeliveryBoundary, SeqCoverage},
    units::{Epoch, Position},
    walk::WalkItem,
};

/// The condition of a lane.
pub(super) struct FoundCondition {
    pub(super) condition: LaneCondition,
    /// Of an intact lane: the scan's numbers and boundary with the ring's frames added.
    pub(super) with_ring_frames: Option<(SeqCoverage, DeliveryBoundary)>,
}

impl From<LaneCondition> for FoundCondition {
    fn from(condition: LaneCondition) -> FoundCondition {
        FoundCondition { condition, with_ring_frames: None }
    }
}

impl LaneRecoveryContext<'_> {
    /// Finds the lane's condition from the clean mark in its checkpoint, else from the frames in its ring.
    pub(super) fn find_lane_condition_by_clean_mark_or_ring(
        &self,
        evidence: Evidence<'_>,
    ) -> Result<FoundCondition, OpenError> {
        let top = evidence.scan.frames.top;
        // A mark below what was appended since is of an earlier run: the slot of the newer checkpoint is damaged.
        let ring_head = evidence.ring.filter(|ring| ring.has_plausible_positions()).map(|ring| ring.positions.head);
        let is_last_mark = |head: &Position| *head >= top.max(ring_head.unwrap_or_default());
        if let Some(head) = evidence.checkpoint.and_then(|checkpoint| checkpoint.clean_head).filter(is_last_mark) {
            let is_fresh = head == Position::ZERO && top == Position::ZERO;
            let condition = if is_fresh { LaneCondition::Fresh } else { LaneCondition::Clean { head } };
            return Ok(condition.into());
        }
        let checkpoint_epoch = evidence.checkpoint.map_or(Epoch::NONE, |checkpoint| checkpoint.appended.epoch);
        let is_of_this_boot = |ring: &&RingFile| {
            self.boot_id != [0; 16]
                && ring.header.boot_id == self.boot_id
                && ring.header.epoch >= checkpoint_epoch
                && ring.has_plausible_positions()
                && top <= ring.positions.head
        };
        let Some(ring) = evidence.ring.filter(is_of_this_boot) else { return Ok(LaneCondition::Cut.into()) };
        let with_ring_frames = self.merge_scan_with_ring_frames_if_all_readable(evidence, ring)?;
        let condition = if with_ring_frames.is_some() { LaneCondition::Intact } else { LaneCondition::Cut };
        Ok(FoundCondition { condition, with_ring_frames })
    }

    /// Adds the ring's frames to the scan's numbers and boundary. `None`: a frame between the durable position and the
    /// head cannot be read.
    fn merge_scan_with_ring_frames_if_all_readable(
        &self,
        evidence: Evidence<'_>,
        ring: &RingFile,
    ) -> Result<Option<(SeqCoverage, DeliveryBoundary)>, OpenError> {
        let (durable, head, acked) = (ring.positions.durable(), ring.positions.head, evidence.acked);
        let mut seqs = evidence.scan.frames.seqs.clone();
        let mut boundary = evidence.scan.frames.boundary;
        let mut readable = 0;
        let walked = ring.walk_items_in_file_order(self.files.lane_id, |_, item| match item {
            WalkItem::Frame(frame) if frame.position >= durable && frame.next_position <= head => {
                readable += frame.whole_len();
                boundary.update_nearest_edges_around_acked(&frame, acked);
                if frame.position >= acked {
                    seqs.mark_frame_seq_as_found(&frame);
                }
            }
            WalkItem::Frame(frame) if frame.next_position <= durable => {
                boundary.update_nearest_edges_around_acked(&frame, acked);
                if frame.next_position == durable {
                    seqs.mark_seqs_below_as_used(frame.watermark_after());
                }
            }
            WalkItem::Pad { position, len } if position >= durable && position + len <= head => {
                boundary.note_pad_end_if_pad_is_at_acked(position, len, acked);
                readable += len;
            }
            _ => {}
        });
        with_path(&self.files.ring_path(), walked)?;
        Ok((readable == head - durable).then_some((seqs, boundary)))
    }
}
