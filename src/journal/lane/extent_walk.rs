//! A walk over the bytes of an extent that takes frames up to the first place that cannot be read, or from such a place
//! on.

use super::batch::Batch;
use crate::journal::{
    segment_index::Extent,
    units::{LaneId, Position},
    walk::{WalkItem, walk_items_and_return_walked_bytes},
};

/// A walk over an extent. It puts the frames without a gap in their positions into a batch. A batch ends where
/// something lacks, so that the caller can ask the ring for it; a batch that begins there passes over the gap.
#[derive(Debug)]
pub(super) struct ExtentWalk {
    extent: Extent,
    /// The ring holds everything from here on.
    ring_from: Position,
    /// Everything below is taken, delivered, or lost.
    reached: Position,
    has_frames: bool,
    /// The batch ends here, although more bytes were read.
    is_stopped: bool,
    /// Damaged places since the last good item.
    pending_damage: u64,
    damaged_places: u64,
    is_damaged: bool,
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalkEnd {
    /// Where the next read begins.
    pub(super) next_position: Position,
    /// Damaged or missing places that were passed.
    pub(super) damaged_places: u64,
    /// The extent lacks something of what it was to hold, passed or not.
    pub(super) is_damaged: bool,
}

impl ExtentWalk {
    /// Takes what lies at `from` or above. `ring_from`: the lowest position that the ring holds.
    pub(super) fn new(from: Position, extent: &Extent, ring_from: Position) -> ExtentWalk {
        ExtentWalk {
            extent: *extent,
            ring_from,
            reached: from,
            has_frames: false,
            is_stopped: false,
            pending_damage: 0,
            damaged_places: 0,
            is_damaged: false,
        }
    }

    /// Whether the batch has no frame yet, and may get one.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_stopped && !self.has_frames
    }

    /// Notes the offsets of frames in the batch's bytes. `is_last`: the extent or its file ends with them. Returns how
    /// many bytes are done; the next chunk begins behind them.
    pub(super) fn walk_chunk(&mut self, batch: &mut Batch, lane_id: LaneId, is_last: bool) -> usize {
        let Batch { bytes, offsets, .. } = batch;
        // The bytes may begin with frames below the extent, which another extent has too: these are passed over.
        let to = self.extent.to;
        let is_plausible = |_, position: Position| position < to;
        let mut end_of_taken = 0;
        let walked = walk_items_and_return_walked_bytes(bytes, lane_id, is_last, is_plausible, |offset, item| {
            let (position, end) = match &item {
                WalkItem::Frame(frame) => (frame.position, frame.next_position),
                WalkItem::Pad { position, len } => (*position, *position + *len),
                WalkItem::Damage | WalkItem::OtherVersion { .. } => return self.pending_damage += 1,
                WalkItem::Block(_) => return,
            };
            if self.is_stopped {
                return;
            }
            if position >= self.reached {
                if !self.may_take_item_at(position) {
                    return;
                }
                self.reached = end;
                if let WalkItem::Frame(_) = item {
                    offsets.push(offset as u32);
                    self.has_frames = true;
                }
            } else {
                // Damage below what is wanted was counted by the read that met it, or lies in another extent's copy.
                self.pending_damage = 0;
            }
            end_of_taken = offset + (end - position) as usize;
        });
        if self.is_stopped { end_of_taken } else { walked }
    }

    /// Ends the walk. `is_exhausted`: nothing of the extent is left to be walked.
    pub(super) fn finish(mut self, is_exhausted: bool) -> WalkEnd {
        if is_exhausted && !self.is_stopped {
            if self.reached < self.extent.to {
                self.may_take_item_at(self.extent.to);
                if !self.is_stopped {
                    self.reached = self.extent.to;
                }
            } else {
                self.count_pending_damage();
            }
        }
        let ExtentWalk { reached, damaged_places, is_damaged, .. } = self;
        WalkEnd { next_position: reached, damaged_places, is_damaged }
    }

    /// Whether the next good item, at `position`, belongs to the batch. If not, stops the walk: before a gap behind the
    /// frames of the batch, or where the ring holds the rest of a gap.
    fn may_take_item_at(&mut self, position: Position) -> bool {
        if position == self.reached {
            self.count_pending_damage();
            return true;
        }
        self.is_damaged = true;
        if self.has_frames {
            self.is_stopped = true;
            return false;
        }
        self.pending_damage = self.pending_damage.max(1);
        self.count_pending_damage();
        if self.ring_from < position {
            self.reached = self.reached.max(self.ring_from);
            self.is_stopped = true;
        }
        !self.is_stopped
    }

    fn count_pending_damage(&mut self) {
        self.is_damaged |= self.pending_damage > 0;
        self.damaged_places += std::mem::take(&mut self.pending_damage);
    }
}
