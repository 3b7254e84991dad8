//! A file of preallocated slots of a lane. The slots are written in turn, so that a full disk stops no write, and the
//! oldest entry is overwritten first.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use crate::journal::{
    bytes::{put_bytes, put_u16_le, put_u32_le, put_u64_le, u16_le_at, u32_le_at, u64_le_at},
    disk::{Disk, PendingFile},
    units::LaneId,
};

/// Entries that are kept.
pub(super) const SLOTS: u64 = 256;
const SLOT: usize = 64;

const LANE: usize = 4;
const FLAGS: usize = LANE + 2;
const DIRECTORY: usize = FLAGS + 2;
const COUNTER: usize = DIRECTORY + 8;
const VALUES: usize = COUNTER + 8;
const CRC: usize = VALUES + 8 * VALUES_PER_SLOT;
const VALUES_PER_SLOT: usize = 3;
const _: () = assert!(CRC + 4 <= SLOT);

/// A kind of slot file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotFile {
    /// The file's name in the directory of a lane.
    pub(super) name: &'static str,
    /// The first bytes of each slot.
    pub(super) magic: [u8; LANE],
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotEntry {
    pub(super) flags: u16,
    pub(super) values: [u64; VALUES_PER_SLOT],
}

impl SlotFile {
    /// Creates the file if it does not exist. Called when room is needed anyway: before a lane's first checkpoint and
    /// ring.
    pub(super) fn create_preallocated_if_absent(self, disk: &Disk, dir: &Path) -> io::Result<()> {
        let path = dir.join(self.name);
        if path.try_exists()? {
            return Ok(());
        }
        let pending = PendingFile::create_temporary_replacing_leftover(disk, &path)?;
        pending.preallocate_zeroed_and_sync(SLOTS * SLOT as u64)?;
        pending.write_start_sync_and_rename(&[], &path)?;
        disk.sync_dir(dir)
    }

    /// Reads the entries in the order in which they were written; none if there is no file or no valid slot.
    pub(super) fn read_entries(self, disk: &Disk, dir: &Path, lane_id: LaneId) -> io::Result<Vec<SlotEntry>> {
        Ok(self.read_entries_by_counter(disk, dir, lane_id)?.into_values().collect())
    }

    /// Adds entries, durably, each in place of the oldest one.
    pub(super) fn append_entries_and_sync(
        self,
        disk: &Disk,
        dir: &Path,
        lane_id: LaneId,
        entries: &[SlotEntry],
    ) -> io::Result<()> {
        let known = self.read_entries_by_counter(disk, dir, lane_id)?;
        let last = known.last_key_value().map_or(0, |(counter, _)| *counter);
        let file = File::options().read(true).write(true).open(dir.join(self.name))?;
        for (counter, entry) in (last + 1..).zip(entries) {
            disk.write_at(&file, &self.encode(entry, lane_id, counter), counter % SLOTS * SLOT as u64)?;
        }
        disk.sync_file_and_fail_if_unlinked(&file)
    }

    /// Writes the file's bytes again and syncs them: an earlier start may have ended before they were on the medium.
    /// Pages that cannot be read are overwritten, or no entry could be stored in them.
    pub(super) fn rewrite_same_bytes_and_sync(self, disk: &Disk, dir: &Path) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(dir.join(self.name))?;
        let mut bytes = vec![0; SLOTS as usize * SLOT];
        let got = disk.read_at_marking_unreadable_pages(&file, &mut bytes, 0)?.len;
        disk.write_at(&file, &bytes[..got], 0)?;
        disk.sync_file_and_fail_if_unlinked(&file)
    }

    fn read_entries_by_counter(self, disk: &Disk, dir: &Path, lane_id: LaneId) -> io::Result<BTreeMap<u64, SlotEntry>> {
        let file = match File::open(dir.join(self.name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; SLOTS as usize * SLOT];
        let got = disk.read_at_marking_unreadable_pages(&file, &mut bytes, 0)?.len;
        let slots = bytes[..got].chunks_exact(SLOT);
        Ok(slots.filter_map(|slot| self.decode_counter_and_entry_if_valid(slot, lane_id)).collect())
    }

    fn encode(self, entry: &SlotEntry, lane_id: LaneId, counter: u64) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        put_bytes(&mut bytes, 0, &self.magic);
        put_u16_le(&mut bytes, LANE, lane_id.lane);
        put_u16_le(&mut bytes, FLAGS, entry.flags);
        put_u64_le(&mut bytes, DIRECTORY, lane_id.directory_id);
        put_u64_le(&mut bytes, COUNTER, counter);
        for (at, value) in entry.values.iter().enumerate() {
            put_u64_le(&mut bytes, VALUES + 8 * at, *value);
        }
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put_u32_le(&mut bytes, CRC, crc);
        bytes
    }

    /// The slot's counter and entry; `None`: empty, damaged, or of another lane.
    fn decode_counter_and_entry_if_valid(self, slot: &[u8], lane_id: LaneId) -> Option<(u64, SlotEntry)> {
        let is_valid = slot.len() >= SLOT
            && slot[..LANE] == self.magic
            && u32_le_at(slot, CRC) == crc32c::crc32c(&slot[..CRC])
            && u16_le_at(slot, LANE) == lane_id.lane
            && u64_le_at(slot, DIRECTORY) == lane_id.directory_id;
        is_valid.then(|| {
            let values = std::array::from_fn(|at| u64_le_at(slot, VALUES + 8 * at));
            (u64_le_at(slot, COUNTER), SlotEntry { flags: u16_le_at(slot, FLAGS), values })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SlotFile = SlotFile { name: "slots", magic: *b"TEST" };
    const LANE_ID: LaneId = LaneId { directory_id: 7, lane: 1 };

    fn entry(number: u64) -> SlotEntry {
        SlotEntry { flags: number as u16, values: [number, 2 * number, 3 * number] }
    }

    fn read(dir: &Path, lane_id: LaneId) -> Vec<SlotEntry> {
        FILE.read_entries(&Disk::default(), dir, lane_id).unwrap()
    }

    fn append(dir: &Path, numbers: impl IntoIterator<Item = u64>) {
        let entries: Vec<_> = numbers.into_iter().map(entry).collect();
        FILE.append_entries_and_sync(&Disk::default(), dir, LANE_ID, &entries).unwrap();
    }

    #[test]
    fn entries_come_back_in_order_and_the_oldest_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), LANE_ID), []);
        FILE.create_preallocated_if_absent(&Disk::default(), dir.path()).unwrap();
        append(dir.path(), 1..=3);
        append(dir.path(), 4..=300);
        assert_eq!(read(dir.path(), LANE_ID), (45..=300).map(entry).collect::<Vec<_>>());
        FILE.create_preallocated_if_absent(&Disk::default(), dir.path()).unwrap();
        FILE.rewrite_same_bytes_and_sync(&Disk::default(), dir.path()).unwrap();
        assert_eq!(read(dir.path(), LANE_ID).len(), 256);
        assert_eq!(read(dir.path(), LaneId { lane: 2, ..LANE_ID }), [], "of another lane");
        assert_eq!(read(dir.path(), LaneId { directory_id: 8, ..LANE_ID }), [], "of another directory");
    }

    #[test]
    fn a_damaged_slot_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        FILE.create_preallocated_if_absent(&Disk::default(), dir.path()).unwrap();
        append(dir.path(), 1..=3);
        let path = dir.path().join(FILE.name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2 * SLOT + VALUES] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path(), LANE_ID), [entry(1), entry(3)]);
    }
}
