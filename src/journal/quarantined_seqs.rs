//! The numbers of a lane whose clicks are damaged or gone, kept on the disk: a process may die after the delivered
//! position has passed such a number, and before a statement that lists it is delivered. Then the next process states
//! it.

use std::{io, path::Path};

use crate::journal::{
    disk::Disk,
    layout,
    slot_file::{SLOTS, SlotEntry, SlotFile},
    units::{Epoch, LaneId, Seq, SeqRange},
};

/// The file has as many slots as a statement lists ranges.
pub(super) const QUARANTINED_SEQS: SlotFile = SlotFile { name: layout::QUARANTINED_SEQS, magic: *b"WPQR" };

/// Reads the ranges, sorted and without those that lie in another; none if there is no file or no valid slot.
pub(super) fn read_quarantined_ranges(disk: &Disk, dir: &Path, lane_id: LaneId) -> io::Result<Vec<SeqRange>> {
    let range = |SlotEntry { values: [epoch, first, end], .. }: SlotEntry| SeqRange {
        epoch: Epoch::new(epoch),
        first: Seq::new(first),
        end: Seq::new(end),
    };
    Ok(merge_ranges(QUARANTINED_SEQS.read_entries(disk, dir, lane_id)?.into_iter().map(range).collect()))
}

/// Adds the ranges that the file lacks, durably: the highest, if there are more than slots.
pub(super) fn append_new_quarantined_ranges_and_sync(
    disk: &Disk,
    dir: &Path,
    lane_id: LaneId,
    ranges: &[SeqRange],
) -> io::Result<()> {
    let known = read_quarantined_ranges(disk, dir, lane_id)?;
    let is_new = |range: &&SeqRange| !known.iter().any(|known| known.contains(range));
    let entry =
        |range: &SeqRange| SlotEntry { flags: 0, values: [range.epoch.get(), range.first.get(), range.end.get()] };
    let new: Vec<SlotEntry> = ranges.iter().filter(is_new).map(entry).collect();
    match &new[new.len().saturating_sub(SLOTS as usize)..] {
        [] => Ok(()),
        new => QUARANTINED_SEQS.append_entries_and_sync(disk, dir, lane_id, new),
    }
}

/// Sorts the ranges and joins those that touch.
pub(super) fn merge_ranges(mut ranges: Vec<SeqRange>) -> Vec<SeqRange> {
    ranges.sort_unstable();
    let mut merged: Vec<SeqRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut().filter(|last| last.epoch == range.epoch && range.first <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE_ID: LaneId = LaneId { directory_id: 7, lane: 1 };

    fn range(epoch: u64, first: u64, end: u64) -> SeqRange {
        SeqRange { epoch: Epoch::new(epoch), first: Seq::new(first), end: Seq::new(end) }
    }

    #[test]
    fn a_range_is_kept_once_and_the_ranges_that_touch_come_back_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        QUARANTINED_SEQS.create_preallocated_if_absent(&disk, dir.path()).unwrap();
        for added in [range(5, 10, 20), range(5, 12, 15), range(6, 0, 1), range(5, 20, 22)] {
            append_new_quarantined_ranges_and_sync(&disk, dir.path(), LANE_ID, &[added]).unwrap();
        }
        let entries = QUARANTINED_SEQS.read_entries(&disk, dir.path(), LANE_ID).unwrap();
        assert_eq!(entries.len(), 3, "the second lay in the first");
        assert_eq!(read_quarantined_ranges(&disk, dir.path(), LANE_ID).unwrap(), [range(5, 10, 22), range(6, 0, 1)]);
    }

    #[test]
    fn of_more_ranges_than_slots_the_highest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        QUARANTINED_SEQS.create_preallocated_if_absent(&disk, dir.path()).unwrap();
        let ranges: Vec<_> = (0..1_000).map(|at| range(5, 2 * at, 2 * at + 1)).collect();
        append_new_quarantined_ranges_and_sync(&disk, dir.path(), LANE_ID, &ranges).unwrap();
        assert_eq!(read_quarantined_ranges(&disk, dir.path(), LANE_ID).unwrap(), ranges[744..]);
    }
}
