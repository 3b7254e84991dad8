//! A ring's file before it is mapped: made, read, checked. The layout is specified in [`crate::journal`].

use std::{fs::File, io, path::Path};

use crate::journal::{
    disk::{Disk, Unfinished},
    frame::{put, u32_at, u64_at},
    ring::{ACKED, DATA, HEAD, SPILLED},
    segment::{Item, read_up_to, walk_file},
};

/// The version this build writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"WPLANE\r\n";
const RING_VERSION: usize = MAGIC.len();
const LANE: usize = RING_VERSION + 4;
const SIZE: usize = LANE + 4;
const DIRECTORY: usize = SIZE + 8;
const BOOT: usize = DIRECTORY + 8;
const EPOCH: usize = BOOT + 16;
const CRC: usize = EPOCH + 8;
const STATIC: usize = CRC + 4;
const _: () = assert!(STATIC <= HEAD && SPILLED + 128 <= DATA);

/// The first line of a ring: written whole at each opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Static {
    pub(super) lane: u16,
    pub(super) size: u64,
    pub(super) directory: u64,
    pub(super) boot: [u8; 16],
    pub(super) epoch: u64,
}

/// The three positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) head: u64,
    pub(super) acked: u64,
    pub(super) spilled: u64,
}

/// What lies under a ring's name.
#[derive(Debug)]
pub(super) enum Found {
    Absent,
    /// Not a ring, a damaged one, or one of a newer version.
    Unreadable,
    Ring(RingFile),
}

/// A ring whose first line is sound.
#[derive(Debug)]
pub(super) struct RingFile {
    pub(super) file: File,
    pub(super) fixed: Static,
    pub(super) words: Words,
}

impl Static {
    pub(super) fn encode(&self) -> [u8; STATIC] {
        let mut bytes = [0; STATIC];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, RING_VERSION, &VERSION.to_le_bytes());
        put(&mut bytes, LANE, &self.lane.to_le_bytes());
        put(&mut bytes, SIZE, &self.size.to_le_bytes());
        put(&mut bytes, DIRECTORY, &self.directory.to_le_bytes());
        put(&mut bytes, BOOT, &self.boot);
        put(&mut bytes, EPOCH, &self.epoch.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// `None`: damaged, or of a version this build does not read.
    pub(super) fn decode(bytes: &[u8]) -> Option<Static> {
        let sound = bytes.len() >= STATIC
            && bytes[..MAGIC.len()] == MAGIC
            && u32_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC])
            && u32_at(bytes, RING_VERSION) == VERSION;
        let mut boot = [0; 16];
        sound.then(|| {
            boot.copy_from_slice(&bytes[BOOT..EPOCH]);
            Static {
                lane: u16::from_le_bytes([bytes[LANE], bytes[LANE + 1]]),
                size: u64_at(bytes, SIZE),
                directory: u64_at(bytes, DIRECTORY),
                boot,
                epoch: u64_at(bytes, EPOCH),
            }
        })
    }
}

impl RingFile {
    /// Sets a new ring's bytes aside, zeroed and synced, without a name yet: so that nothing has changed if there is no room.
    pub(super) fn prepare(disk: &Disk, path: &Path, size: u64) -> io::Result<Unfinished> {
        let unfinished = Unfinished::begin(disk, path)?;
        unfinished.set_aside(DATA as u64 + size)?;
        Ok(unfinished)
    }

    /// Gives a prepared ring its header and name. The caller syncs the directory.
    pub(super) fn create(prepared: Unfinished, path: &Path, fixed: Static, words: Words) -> io::Result<RingFile> {
        let file = prepared.finish(&header(&fixed, &words), path)?;
        Ok(RingFile { file, fixed, words })
    }

    /// Reads what lies at `path`; `write`: to go on in it.
    pub(super) fn open(path: &Path, write: bool) -> io::Result<Found> {
        let file = match File::options().read(true).write(write).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; DATA];
        let got = read_up_to(&file, &mut bytes, 0)?;
        let whole = |fixed: &Static| file.metadata().map(|meta| meta.len() == DATA as u64 + fixed.size);
        match Static::decode(&bytes[..got]) {
            Some(fixed) if got == DATA && fixed.size > 0 && whole(&fixed)? => {
                let words = Words {
                    head: u64_at(&bytes, HEAD),
                    acked: u64_at(&bytes, ACKED),
                    spilled: u64_at(&bytes, SPILLED),
                };
                Ok(Found::Ring(RingFile { file, fixed, words }))
            }
            _ => Ok(Found::Unreadable),
        }
    }

    /// Goes on in it: a new first line and positions, in place, so that a full disk does not matter.
    pub(super) fn renew(&mut self, disk: &Disk, fixed: Static, words: Words) -> io::Result<()> {
        disk.write_at(&self.file, &header(&fixed, &words), 0)?;
        self.fixed = fixed;
        self.words = words;
        Ok(())
    }

    /// Whether the positions can be true of a ring of this size.
    pub(super) fn sensible(&self) -> bool {
        let Words { head, acked, spilled } = self.words;
        let home = acked.max(spilled);
        home <= head && head - home <= self.fixed.size && head.is_multiple_of(16)
    }

    /// Walks all of it in the order of the file; garbage of frames half overwritten is ordinary here.
    pub(super) fn walk(&self, seed: u32, visit: impl FnMut(u64, Item<'_>)) -> io::Result<()> {
        walk_ring(&self.file, self.fixed.size, seed, visit)
    }
}

/// Walks a ring of `size` in the order of the file.
pub(super) fn walk_ring(file: &File, size: u64, seed: u32, visit: impl FnMut(u64, Item<'_>)) -> io::Result<()> {
    let data = DATA as u64;
    walk_file(file, data, data + size, seed, |offset, pos| pos % size == offset - data, visit)
}

fn header(fixed: &Static, words: &Words) -> [u8; SPILLED + 8] {
    let mut bytes = [0; SPILLED + 8];
    put(&mut bytes, 0, &fixed.encode());
    put(&mut bytes, HEAD, &words.head.to_le_bytes());
    put(&mut bytes, ACKED, &words.acked.to_le_bytes());
    put(&mut bytes, SPILLED, &words.spilled.to_le_bytes());
    bytes
}
