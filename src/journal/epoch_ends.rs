//! The history of a lane: how its epochs ended. A reader of the topics needs it to tell a missing number from one that
//! was never used. An end is durable before the next epoch is. The current epoch has no end.

use std::{collections::BTreeMap, io, path::Path};

use crate::journal::{
    disk::Disk,
    layout,
    slot_file::{SlotEntry, SlotFile},
    units::{Epoch, LaneId, Seq},
};

/// So many starts as the file has slots may follow each other before a statement with the oldest end is delivered.
pub(super) const HISTORY: SlotFile = SlotFile { name: layout::HISTORY, magic: *b"WPEN" };

/// How an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: Epoch,
    /// The next number: exact if not `cut`. If `cut`, the first number that is missing; later numbers may exist.
    pub next_seq: Seq,
    /// The machine died or the ring was lost: clicks with numbers from `next_seq` on may have been answered and lost.
    pub cut: bool,
}

/// Reads the ends in the order of their epochs; none if there is no file or no valid slot.
pub(super) fn read_epoch_ends(disk: &Disk, dir: &Path, lane_id: LaneId) -> io::Result<Vec<EpochEnd>> {
    // Of two ends of one epoch the later one counts.
    let ends: BTreeMap<Epoch, EpochEnd> = HISTORY
        .read_entries(disk, dir, lane_id)?
        .into_iter()
        .map(|SlotEntry { flags, values: [epoch, next_seq, _] }| {
            let end = EpochEnd { epoch: Epoch::new(epoch), next_seq: Seq::new(next_seq), cut: flags != 0 };
            (end.epoch, end)
        })
        .collect();
    Ok(ends.into_values().collect())
}

/// Adds an end, durably, and returns all ends. If the last end equals it, nothing changes. Called before the next epoch
/// is durable.
pub(super) fn append_epoch_end_synced_and_return_all_ends(
    disk: &Disk,
    dir: &Path,
    lane_id: LaneId,
    end: EpochEnd,
) -> io::Result<Vec<EpochEnd>> {
    let mut ends = read_epoch_ends(disk, dir, lane_id)?;
    if ends.last() == Some(&end) {
        return Ok(ends);
    }
    let entry = SlotEntry { flags: u16::from(end.cut), values: [end.epoch.get(), end.next_seq.get(), 0] };
    HISTORY.append_entries_and_sync(disk, dir, lane_id, &[entry])?;
    ends.retain(|known| known.epoch != end.epoch);
    ends.push(end);
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE_ID: LaneId = LaneId { directory_id: 7, lane: 1 };

    fn end(epoch: u64) -> EpochEnd {
        EpochEnd { epoch: Epoch::new(epoch), next_seq: Seq::new(epoch * 2), cut: epoch.is_multiple_of(3) }
    }

    #[test]
    fn ends_come_back_in_order_and_the_oldest_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        HISTORY.create_preallocated_if_absent(&disk, dir.path()).unwrap();
        for epoch in 1..=300 {
            let ends = append_epoch_end_synced_and_return_all_ends(&disk, dir.path(), LANE_ID, end(epoch)).unwrap();
            assert_eq!(ends.last(), Some(&end(epoch)));
        }
        assert_eq!(read_epoch_ends(&disk, dir.path(), LANE_ID).unwrap(), (45..=300).map(end).collect::<Vec<_>>());
    }

    #[test]
    fn an_end_appended_again_is_one_end_and_the_later_end_of_an_epoch_counts() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        HISTORY.create_preallocated_if_absent(&disk, dir.path()).unwrap();
        for _ in 0..3 {
            append_epoch_end_synced_and_return_all_ends(&disk, dir.path(), LANE_ID, end(5)).unwrap();
        }
        let later = EpochEnd { next_seq: Seq::new(50), ..end(5) };
        assert_eq!(append_epoch_end_synced_and_return_all_ends(&disk, dir.path(), LANE_ID, later).unwrap(), [later]);
        assert_eq!(read_epoch_ends(&disk, dir.path(), LANE_ID).unwrap(), [later]);
    }
}
