//! Frames that segments have lost and the ring still holds: they are copied, before the worker may overwrite them.

use std::{io, path::Path};

use super::context::LaneRecoveryContext;
use crate::journal::{
    error::{OpenError, with_path},
    frame::{Frame, FrameHeader, checksum_seed, write_frame},
    layout,
    report::LaneCondition,
    ring_file::RingFile,
    scan::{LaneScan, RingRange},
    segment::{self, BlockHeader, SegmentHeader},
    segment_index::{Extent, sort_extents_and_cut_starts_below_covered},
    units::{LaneId, Position},
    walk::WalkItem,
};

/// Blocks are written in pieces of about this size, bytes.
const PIECE: usize = 1 << 20;

/// The positions below the ring's durable one that no segment holds.
struct LostRange {
    acked: Position,
    durable: Position,
    /// What segments hold below `durable`, by position.
    held: Vec<Extent>,
}

impl LostRange {
    /// Whether segments hold everything from `acked` to `durable` without a gap.
    fn is_empty(&self) -> bool {
        let extend = |reached: Position, extent: &Extent| if extent.from <= reached { extent.to } else { reached };
        self.held.iter().fold(self.acked, extend) >= self.durable
    }

    fn is_unacked_durable_and_held_nowhere(&self, frame: &Frame<'_>) -> bool {
        let before = self.held.partition_point(|extent| extent.from <= frame.position);
        let is_held = before.checked_sub(1).is_some_and(|last| self.held[last].to > frame.position);
        frame.position >= self.acked && frame.next_position <= self.durable && !is_held
    }
}

impl LaneRecoveryContext<'_> {
    /// Copies the frames that should lie in segments, lie in none, and are whole in the ring into a new segment, and
    /// adds it to the scan. Does nothing for a lane that is cut, for its ring is kept with all it holds.
    ///
    /// A disk that refuses the copies does not block the start: the frames then count as damaged.
    pub(super) fn rescue_lost_frames_from_ring_into_segment(
        &self,
        condition: LaneCondition,
        ring: Option<&RingFile>,
        scan: &mut LaneScan,
        acked: Position,
    ) -> Result<(), OpenError> {
        let Some(ring) = ring else { return Ok(()) };
        let range = match condition {
            LaneCondition::Clean { head } => RingRange { durable: head, head },
            LaneCondition::Intact => RingRange { durable: ring.positions.durable(), head: ring.positions.head },
            LaneCondition::Fresh | LaneCondition::Cut => return Ok(()),
        };
        let mut held: Vec<Extent> = sort_extents_and_cut_starts_below_covered(scan.extents.clone()).into();
        held.retain(|extent| extent.from < range.durable);
        let lost = LostRange { acked, durable: range.durable, held };
        if lost.is_empty() {
            return Ok(());
        }
        // Counted without the copies, which do not make the damaged files good.
        scan.count_missing_tails_held_nowhere_else_as_damage_and_mark_files(Some(range));
        let number = self.take_file_number();
        let path = self.files.journal_dir.join(layout::segment_file_name(number));
        let (topic, lane) = (self.log, self.files.lane_id.lane);
        match self.copy_lost_frames_to_synced_segment_and_count(ring, &path, number, &lost) {
            Ok(0) => Ok(()),
            Ok(clicks) => {
                tracing::warn!(topic, lane, clicks, "clicks damaged in segments, copied from the ring");
                with_path(&path, scan.add_own_segment(&self.files, number, &path, acked))
            }
            Err(error) => {
                tracing::warn!(topic, lane, %error, "clicks damaged in segments, and not copied from the ring");
                let _ = self.disk.remove(&path);
                Ok(())
            }
        }
    }

    /// Writes the lost frames into the segment `path` and syncs it. Returns how many there are; if none, no file is
    /// made.
    fn copy_lost_frames_to_synced_segment_and_count(
        &self,
        ring: &RingFile,
        path: &Path,
        number: u64,
        lost: &LostRange,
    ) -> io::Result<u64> {
        let lane_id = self.files.lane_id;
        let header = SegmentHeader { version: segment::VERSION, directory_id: lane_id.directory_id, number };
        let (mut file, mut piece, mut offset, mut frames) = (None, Vec::from(header.encode()), 0, 0);
        let mut flush = |piece: &mut Vec<u8>| -> io::Result<()> {
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(self.disk.create_new_file_with_mode_0600(path)?),
            };
            self.disk.write_at(file, piece, offset)?;
            offset += piece.len() as u64;
            piece.clear();
            Ok(())
        };
        let mut written = Ok(());
        ring.walk_items_in_file_order(lane_id, |_, item| {
            let WalkItem::Frame(frame) = item else { return };
            if written.is_err() || !lost.is_unacked_durable_and_held_nowhere(&frame) {
                return;
            }
            frames += 1;
            append_block_of_one_frame(&mut piece, lane_id, &frame);
            if piece.len() >= PIECE {
                written = flush(&mut piece);
            }
        })?;
        written?;
        if frames > 0 {
            flush(&mut piece)?;
            if let Some(file) = &file {
                self.disk.sync_file_and_fail_if_unlinked(file)?;
            }
            self.disk.sync_dir(self.files.journal_dir)?;
        }
        Ok(frames)
    }
}

fn append_block_of_one_frame(bytes: &mut Vec<u8>, lane_id: LaneId, frame: &Frame<'_>) {
    let checksum_seed = checksum_seed(lane_id);
    let Frame { position, next_position, epoch, seq, payload } = *frame;
    let block = BlockHeader {
        lane: lane_id.lane,
        from: position,
        to: next_position,
        acked_below: Position::ZERO,
        watermark_at_to: frame.watermark_after(),
    };
    bytes.extend(block.encode(checksum_seed));
    let start = bytes.len();
    bytes.resize(start + frame.whole_len() as usize, 0);
    write_frame(&mut bytes[start..], checksum_seed, &FrameHeader { position, epoch, seq }, payload);
}
