//! How a lane's epochs ended: what a reader of the topics needs to tell a number that is missing from one that was never given.
//!
//! A circle of slots, set aside once and written in place, so that a full disk stops no start. An end is durable before the
//! next epoch is; an epoch that was never followed by another has none.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use crate::journal::{
    STREAMS,
    disk::{Disk, Unfinished},
    frame::{put, u32_at, u64_at},
    layout,
    segment::read_up_to,
};

/// Ends kept: so many starts may follow each other without one statement getting through.
const SLOTS: u64 = 256;
const SLOT: usize = 64;

const MAGIC: [u8; 4] = *b"WPEN";
const LANE: usize = MAGIC.len();
const CUT: usize = LANE + 2;
const DIRECTORY: usize = CUT + 2;
const COUNTER: usize = DIRECTORY + 8;
const EPOCH: usize = COUNTER + 8;
const NEXT: usize = EPOCH + 8;
const CRC: usize = NEXT + 8 * STREAMS;
const _: () = assert!(CRC + 4 <= SLOT);

/// How an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The epoch.
    pub epoch: u64,
    /// The next number of each stream: exact; or with `cut` the first that is missing, behind which there may be more.
    pub next: [u64; STREAMS],
    /// The machine died or the ring was lost: numbers from `next` on may have been given and be lost.
    pub cut: bool,
}

/// Reads the ends in a lane's directory, in the order of their epochs; none where there is no file or no sound slot.
pub(super) fn read(dir: &Path, directory: u64, lane: u16) -> io::Result<Vec<End>> {
    Ok(slots(dir, directory, lane)?.1)
}

/// Notes one more end, durably. Called before the next epoch is durable; noting the same end again changes nothing.
pub(super) fn note(disk: &Disk, dir: &Path, (directory, lane): (u64, u16), end: End) -> io::Result<Vec<End>> {
    let (counter, mut ends) = slots(dir, directory, lane)?;
    if ends.last() == Some(&end) {
        return Ok(ends);
    }
    let file = File::options().read(true).write(true).open(dir.join(layout::HISTORY))?;
    disk.write_at(&file, &encode(&end, directory, lane, counter + 1), (counter + 1) % SLOTS * SLOT as u64)?;
    disk.sync(&file)?;
    ends.retain(|known| known.epoch != end.epoch);
    ends.push(end);
    Ok(ends)
}

/// Writes again what is there, durably: an earlier start may have died, or met an error, before its end was on the medium.
pub(super) fn keep(disk: &Disk, dir: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(dir.join(layout::HISTORY))?;
    let mut bytes = vec![0; SLOTS as usize * SLOT];
    let got = read_up_to(&file, &mut bytes, 0)?;
    disk.write_at(&file, &bytes[..got], 0)?;
    disk.sync(&file)
}

/// Makes the file where there is none. Called when room is needed in any case: before a lane's first checkpoint and ring.
pub(super) fn make(disk: &Disk, dir: &Path) -> io::Result<()> {
    let path = dir.join(layout::HISTORY);
    if path.try_exists()? {
        return Ok(());
    }
    let unfinished = Unfinished::begin(disk, &path)?;
    unfinished.set_aside(SLOTS * SLOT as u64)?;
    unfinished.finish(&[], &path)?;
    disk.sync_dir(dir)
}

fn slots(dir: &Path, directory: u64, lane: u16) -> io::Result<(u64, Vec<End>)> {
    let file = match File::open(dir.join(layout::HISTORY)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, Vec::new())),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; SLOTS as usize * SLOT];
    let got = read_up_to(&file, &mut bytes, 0)?;
    let found = bytes[..got].chunks_exact(SLOT).filter_map(|slot| decode(slot, directory, lane));
    let by_counter: BTreeMap<u64, End> = found.collect();
    let counter = by_counter.last_key_value().map_or(0, |(counter, _)| *counter);
    // Of two ends of one epoch the later knows more.
    let ends: BTreeMap<u64, End> = by_counter.into_values().map(|end| (end.epoch, end)).collect();
    Ok((counter, ends.into_values().collect()))
}

fn encode(end: &End, directory: u64, lane: u16, counter: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, LANE, &lane.to_le_bytes());
    put(&mut bytes, CUT, &u16::from(end.cut).to_le_bytes());
    put(&mut bytes, DIRECTORY, &directory.to_le_bytes());
    put(&mut bytes, COUNTER, &counter.to_le_bytes());
    put(&mut bytes, EPOCH, &end.epoch.to_le_bytes());
    for (stream, next) in end.next.iter().enumerate() {
        put(&mut bytes, NEXT + 8 * stream, &next.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[..CRC]);
    put(&mut bytes, CRC, &crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], directory: u64, lane: u16) -> Option<(u64, End)> {
    let sound = bytes.len() >= SLOT
        && bytes[..MAGIC.len()] == MAGIC
        && u32_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC])
        && bytes[LANE..CUT] == lane.to_le_bytes()
        && u64_at(bytes, DIRECTORY) == directory;
    sound.then(|| {
        let next = std::array::from_fn(|stream| u64_at(bytes, NEXT + 8 * stream));
        (u64_at(bytes, COUNTER), End { epoch: u64_at(bytes, EPOCH), next, cut: bytes[CUT] != 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: u64) -> End {
        End { epoch, next: [epoch * 2, epoch], cut: epoch.is_multiple_of(3) }
    }

    #[test]
    fn ends_come_back_in_order_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        assert_eq!(read(dir.path(), 7, 1).unwrap(), []);
        make(&disk, dir.path()).unwrap();
        for epoch in 1..=300 {
            let ends = note(&disk, dir.path(), (7, 1), end(epoch)).unwrap();
            assert_eq!(ends.last(), Some(&end(epoch)));
        }
        assert_eq!(read(dir.path(), 7, 1).unwrap(), (45..=300).map(end).collect::<Vec<_>>());
        assert_eq!(read(dir.path(), 7, 2).unwrap(), [], "another lane's");
        assert_eq!(read(dir.path(), 8, 1).unwrap(), [], "another directory's");
    }

    #[test]
    fn an_end_noted_again_is_one_and_a_later_word_on_an_epoch_counts() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        make(&disk, dir.path()).unwrap();
        for _ in 0..3 {
            note(&disk, dir.path(), (7, 0), end(5)).unwrap();
        }
        let later = End { next: [50, 50], ..end(5) };
        assert_eq!(note(&disk, dir.path(), (7, 0), later).unwrap(), [later]);
        assert_eq!(read(dir.path(), 7, 0).unwrap(), [later]);
    }

    #[test]
    fn a_damaged_slot_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        make(&disk, dir.path()).unwrap();
        for epoch in 1..=3 {
            note(&disk, dir.path(), (7, 0), end(epoch)).unwrap();
        }
        let path = dir.path().join(layout::HISTORY);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2 * SLOT + EPOCH] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(dir.path(), 7, 0).unwrap(), [end(1), end(3)]);
    }
}
