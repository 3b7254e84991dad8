//! The scan of one lane in one segment or ring: contiguous runs of frames, damaged places, and the numbers that damaged
//! bytes were to hold.

use std::mem;

use super::{boundary::DeliveryBoundary, seq_coverage::SeqCoverage};
use crate::journal::{
    frame::{self, Frame},
    segment::{BLOCK_HEADER, BlockHeader},
    segment_index::{Extent, MAX_SHARED_EXTENT},
    units::{Position, SeqRange, Watermark},
    walk::WalkItem,
};

/// What the frames and blocks of all scanned files of a lane say together.
#[derive(Debug, Default)]
pub(in crate::journal) struct FrameSummary {
    pub(in crate::journal) seqs: SeqCoverage,
    pub(in crate::journal) boundary: DeliveryBoundary,
    /// Everything below is delivered, as the blocks say.
    pub(in crate::journal) acked_below: Position,
    /// The highest position seen.
    pub(in crate::journal) top: Position,
    /// Readable frames at or above the acknowledged position.
    pub(in crate::journal) count: u64,
}

/// Which lane the bytes of a segment belong to, while it is walked.
#[derive(Debug, Default)]
pub(super) struct BlockOwner {
    /// The lane of the last block.
    pub(super) lane: Option<u16>,
    /// The offset at which the last block ends.
    block_end: u64,
    /// There is damage behind the last block, and no item behind the damage yet.
    pub(super) has_damage_before_next_item: bool,
}

impl BlockOwner {
    pub(super) fn is_inside_block(&self, offset: u64) -> bool {
        offset < self.block_end
    }

    /// Takes the next item of the file into account.
    pub(super) fn update(&mut self, lane: u16, offset: u64, item: &WalkItem<'_>) {
        self.lane = Some(lane);
        if let WalkItem::Block(block) = item {
            self.block_end = offset + block.whole_len();
        }
    }
}

/// The runs of contiguous frames of one lane in one file, filled by [`FileScan::add_next_item`].
#[derive(Debug)]
pub(super) struct FileScan {
    pub(super) file_number: u64,
    acked: Position,
    pub(super) runs: Vec<Extent>,
    /// The highest position in the file.
    pub(super) top: Position,
    /// Damaged places with a good item behind them.
    pub(super) damaged: u64,
    /// There is damage at the end, with no good item behind it yet.
    pub(super) ends_with_damage: bool,
    /// An undelivered frame is of a version that this build does not read. Another build may need the file.
    pub(super) has_undelivered_of_other_version: bool,
    /// The end of the last good item.
    pub(super) good_end: Position,
    /// Where the last block is to end, as its header says.
    pub(super) block_end: Position,
    /// The watermark at `block_end`, as the block's header says.
    watermark_at_block_end: Watermark,
    /// Everything of the last block up to here is good.
    verified_to: Position,
    /// The watermark at `verified_to`, if it is known.
    watermark_at_verified: Option<Watermark>,
}

impl FileScan {
    pub(super) fn new(file_number: u64, acked: Position) -> FileScan {
        FileScan {
            file_number,
            acked,
            runs: Vec::new(),
            top: Position::ZERO,
            damaged: 0,
            ends_with_damage: false,
            has_undelivered_of_other_version: false,
            good_end: Position::ZERO,
            block_end: Position::ZERO,
            watermark_at_block_end: Watermark::default(),
            verified_to: Position::ZERO,
            watermark_at_verified: None,
        }
    }

    /// Takes the next item of the file into account.
    pub(super) fn add_next_item(&mut self, summary: &mut FrameSummary, offset: u64, item: WalkItem<'_>) {
        match item {
            WalkItem::Damage => self.ends_with_damage = true,
            WalkItem::OtherVersion { position } => {
                self.ends_with_damage = true;
                self.has_undelivered_of_other_version |= position >= self.acked;
            }
            WalkItem::Block(block) => self.begin_block_and_record_missing_end_of_last(summary, &block),
            WalkItem::Frame(frame) => {
                self.add_frame_and_record_damage_before(summary, &frame);
                self.extend_or_start_run_and_count_damage_before(summary, offset, frame.position, frame.next_position);
            }
            WalkItem::Pad { position, len } => {
                summary.boundary.note_pad_end_if_pad_is_at_acked(position, len, self.acked);
                if self.verified_to == position {
                    self.verified_to = position + len;
                }
                self.extend_or_start_run_and_count_damage_before(summary, offset, position, position + len);
            }
        }
    }

    /// Records the numbers that the last block was to hold behind its last good frame as damaged. Called at the end of
    /// the file.
    pub(super) fn record_missing_end_of_last_block(&mut self, summary: &mut FrameSummary) {
        self.record_missing_end_of_block_if_scan_is_past_it(summary, self.block_end);
    }

    fn begin_block_and_record_missing_end_of_last(&mut self, summary: &mut FrameSummary, block: &BlockHeader) {
        summary.acked_below = summary.acked_below.max(block.acked_below);
        summary.top = summary.top.max(block.to);
        self.top = self.top.max(block.to);
        self.record_missing_end_of_last_block(summary);
        self.watermark_at_verified = self.watermark_at_verified.filter(|_| self.verified_to == block.from);
        (self.good_end, self.block_end, self.verified_to) = (block.from, block.to, block.from);
        self.watermark_at_block_end = block.watermark_at_to;
        if block.to > self.acked {
            summary.seqs.mark_seqs_below_as_used(block.watermark_at_to);
        }
    }

    fn add_frame_and_record_damage_before(&mut self, summary: &mut FrameSummary, frame: &Frame<'_>) {
        summary.boundary.update_nearest_edges_around_acked(frame, self.acked);
        if frame.position >= self.acked {
            summary.count += 1;
            summary.seqs.mark_frame_seq_as_found(frame);
        }
        self.record_missing_end_of_block_if_scan_is_past_it(summary, frame.position);
        if (self.verified_to..self.block_end).contains(&frame.position) && self.verified_to < frame.position {
            self.record_seqs_since_last_verified_as_damaged(summary, frame.position, frame.watermark_before());
        }
        self.verified_to = frame.next_position;
        self.watermark_at_verified = Some(frame.watermark_after());
    }

    /// If the scan is past the last block at `position`: records the numbers that the block was to hold behind its last
    /// good frame.
    fn record_missing_end_of_block_if_scan_is_past_it(&mut self, summary: &mut FrameSummary, position: Position) {
        if self.verified_to < self.block_end && position >= self.block_end {
            self.record_seqs_since_last_verified_as_damaged(summary, self.block_end, self.watermark_at_block_end);
            (self.verified_to, self.watermark_at_verified) = (self.block_end, Some(self.watermark_at_block_end));
        }
    }

    /// Records the numbers from `verified_to` to `end`, which is the watermark at `up_to_position`, as damaged. If the
    /// first of them is not known, there are at most as many as frames fit into the bytes between.
    fn record_seqs_since_last_verified_as_damaged(
        &self,
        summary: &mut FrameSummary,
        up_to_position: Position,
        end: Watermark,
    ) {
        let max_frames = (up_to_position - self.verified_to) / frame::HEADER as u64;
        let known = self.watermark_at_verified.unwrap_or_default().first_uncovered_in(end.epoch);
        let first = known.max(end.next.saturating_sub(max_frames));
        summary.seqs.add_damaged(SeqRange { epoch: end.epoch, first, end: end.next });
    }

    fn extend_or_start_run_and_count_damage_before(
        &mut self,
        summary: &mut FrameSummary,
        offset: u64,
        from: Position,
        to: Position,
    ) {
        summary.top = summary.top.max(to);
        self.top = self.top.max(to);
        self.good_end = to;
        let after_damage = mem::take(&mut self.ends_with_damage);
        if to <= self.acked {
            return;
        }
        self.damaged += u64::from(after_damage);
        let end = offset + (to - from);
        match self.runs.last_mut() {
            Some(run) if run.to == from && !after_damage && may_extend_run(run, offset, end) => {
                run.to = to;
                run.end = end;
            }
            _ => self.runs.push(Extent { from, to, file: self.file_number, offset, end }),
        }
    }
}

/// Whether a run may be extended by the item in the bytes `[offset, end)`.
fn may_extend_run(run: &Extent, offset: u64, end: u64) -> bool {
    offset - run.end <= BLOCK_HEADER as u64 || end - run.offset <= MAX_SHARED_EXTENT
}
