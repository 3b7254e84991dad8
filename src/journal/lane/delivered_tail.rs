//! Delivered frames that the ring still holds after a start. A reader that judges a click by the clicks before it needs
//! them: the journal gives undelivered frames alone.

use std::{fs::File, io};

use crate::journal::{
    disk::Disk,
    frame::Frame,
    ring::DATA,
    units::{LaneId, Position},
    walk::{WalkItem, walk_items_and_return_walked_bytes},
};

/// Bytes between the beginnings of two parts that are read.
const PART: u64 = 1 << 20;
/// Bytes read beyond the end of a part, so that the frame that begins before the end is whole.
const OVERLAP: u64 = crate::journal::frame::MAX_FRAME;

/// The delivered end of a ring as it was at the start. It is read through the ring's file: if a worker overwrites a
/// frame meanwhile, its checksum or its position does not fit, and it is not shown.
#[derive(Debug)]
pub(in crate::journal) struct DeliveredTail {
    pub(in crate::journal) file: File,
    pub(in crate::journal) ring_size: u64,
    /// Everything below was delivered at the start.
    pub(in crate::journal) acked: Position,
    pub(in crate::journal) lane_id: LaneId,
    pub(in crate::journal) disk: Disk,
    /// The machine went down, or the ring was lost: clicks may have been delivered of which nothing is known.
    pub(in crate::journal) was_cut: bool,
}

/// Whether a ring holds the frames that were delivered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailCoverage {
    /// Up to the position that was acknowledged last, or nothing was ever delivered.
    Whole,
    /// The ring was lost: nothing is known of the clicks that were delivered last.
    Lost,
}

impl DeliveredTail {
    /// Shows the delivered frames, part by part, the newest part first and each part in order. Stops behind a part in
    /// which `visit` returned `false`.
    ///
    /// # Errors
    /// The ring's file cannot be read.
    pub(in crate::journal) fn visit_newest_part_first(
        &self,
        mut visit: impl FnMut(&Frame<'_>) -> bool,
    ) -> io::Result<TailCoverage> {
        let oldest = self.acked.get().saturating_sub(self.ring_size);
        let mut end = self.acked.get();
        let mut coverage = if end == 0 && !self.was_cut { TailCoverage::Whole } else { TailCoverage::Lost };
        let mut buffer = Vec::new();
        while end > oldest {
            // A part does not pass the end of the ring.
            let ring_start = (end - 1) / self.ring_size * self.ring_size;
            let start = end.saturating_sub(PART).max(oldest).max(ring_start);
            let ring_end = ring_start + self.ring_size;
            buffer.resize((((end + OVERLAP).min(ring_end)) - start) as usize, 0);
            let offset = DATA as u64 + start % self.ring_size;
            let got = self.disk.read_at_marking_unreadable_pages(&self.file, &mut buffer, offset)?.len;
            let mut go_on = true;
            let is_plausible = |offset: usize, position: Position| position.get() == start + offset as u64;
            walk_items_and_return_walked_bytes(&buffer[..got], self.lane_id, true, is_plausible, |offset, item| {
                let item_end = match item {
                    WalkItem::Frame(frame) if frame.position.get() < end => {
                        go_on &= visit(&frame);
                        frame.next_position.get()
                    }
                    WalkItem::Pad { len, .. } => start + offset as u64 + len,
                    _ => return,
                };
                if item_end == self.acked.get() && !self.was_cut {
                    coverage = TailCoverage::Whole;
                }
            });
            if !go_on {
                break;
            }
            end = start;
        }
        Ok(coverage)
    }
}
