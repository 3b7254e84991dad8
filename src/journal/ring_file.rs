//! A ring's file before it is mapped: its header and positions, how it is created, opened and walked. The layout is
//! specified in [`crate::journal`].

use std::{fs::File, io, path::Path};

use crate::journal::{
    bytes::{put_bytes, put_u16_le, put_u32_le, put_u64_le, u16_le_at, u32_le_at, u64_le_at},
    disk::{Disk, PendingFile},
    frame::ALIGN,
    ring::{ACKED, DATA, HEAD, SPILLED},
    units::{Epoch, LaneId, Position},
    walk::{WalkItem, walk_items_in_file_range},
};

/// The version of rings that this build writes.
pub(super) const VERSION: u32 = 2;

/// Bytes read at once while a ring is checked.
const CHUNK: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"WPLANE\r\n";
const RING_VERSION: usize = MAGIC.len();
const LANE: usize = RING_VERSION + 4;
const SIZE: usize = LANE + 4;
const DIRECTORY: usize = SIZE + 8;
const BOOT: usize = DIRECTORY + 8;
const EPOCH: usize = BOOT + 16;
const CRC: usize = EPOCH + 8;
const HEADER: usize = CRC + 4;
const _: () = assert!(HEADER <= HEAD && SPILLED + 128 <= DATA);

/// The part of a ring's first page that an opening writes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingHeader {
    pub(super) lane_id: LaneId,
    /// Bytes of frames that the ring holds.
    pub(super) size: u64,
    pub(super) boot_id: [u8; 16],
    pub(super) epoch: Epoch,
}

/// The three positions of a ring, as last stored in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingPositions {
    pub(super) head: Position,
    pub(super) acked: Position,
    pub(super) spilled: Position,
}

impl RingPositions {
    /// The position below which everything is delivered or synced.
    pub(super) fn durable(&self) -> Position {
        self.acked.max(self.spilled)
    }
}

/// What a ring's path leads to.
#[derive(Debug)]
pub(super) enum RingLookup {
    Absent,
    /// Not a ring, a damaged one, or one of another version.
    Unreadable,
    Found(RingFile),
}

/// A ring file with a good header.
#[derive(Debug)]
pub(super) struct RingFile {
    disk: Disk,
    pub(super) file: File,
    pub(super) header: RingHeader,
    pub(super) positions: RingPositions,
}

impl RingHeader {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put_bytes(&mut bytes, 0, &MAGIC);
        put_u32_le(&mut bytes, RING_VERSION, VERSION);
        put_u16_le(&mut bytes, LANE, self.lane_id.lane);
        put_u64_le(&mut bytes, SIZE, self.size);
        put_u64_le(&mut bytes, DIRECTORY, self.lane_id.directory_id);
        put_bytes(&mut bytes, BOOT, &self.boot_id);
        put_u64_le(&mut bytes, EPOCH, self.epoch.get());
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put_u32_le(&mut bytes, CRC, crc);
        bytes
    }

    /// `None`: damaged, or of a version that this build does not read.
    pub(super) fn decode_if_valid(bytes: &[u8]) -> Option<RingHeader> {
        let is_valid = bytes.len() >= HEADER
            && bytes[..MAGIC.len()] == MAGIC
            && u32_le_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC])
            && u32_le_at(bytes, RING_VERSION) == VERSION;
        let mut boot_id = [0; 16];
        is_valid.then(|| {
            boot_id.copy_from_slice(&bytes[BOOT..EPOCH]);
            RingHeader {
                lane_id: LaneId { directory_id: u64_le_at(bytes, DIRECTORY), lane: u16_le_at(bytes, LANE) },
                size: u64_le_at(bytes, SIZE),
                boot_id,
                epoch: Epoch::new(u64_le_at(bytes, EPOCH)),
            }
        })
    }
}

impl RingFile {
    /// Preallocates a new ring under a temporary name, zeroed and synced. So nothing else has changed yet if there is
    /// no room.
    pub(super) fn preallocate_under_temporary_name(
        disk: &Disk,
        path: &Path,
        ring_bytes: u64,
    ) -> io::Result<PendingFile> {
        let pending = PendingFile::create_temporary_replacing_leftover(disk, path)?;
        pending.preallocate_zeroed_and_sync(DATA as u64 + ring_bytes)?;
        Ok(pending)
    }

    /// Gives a preallocated ring its header and its name. The caller syncs the directory.
    pub(super) fn publish_preallocated(
        disk: &Disk,
        preallocated: PendingFile,
        path: &Path,
        header: RingHeader,
        positions: RingPositions,
    ) -> io::Result<RingFile> {
        let file = preallocated.write_start_sync_and_rename(&encode_start(&header, &positions), path)?;
        Ok(RingFile { disk: disk.clone(), file, header, positions })
    }

    /// Opens the ring at `path`, for writing too if `writable`. Fails only where the system does. A header that cannot
    /// be read is damage.
    pub(super) fn open_and_verify_header(disk: &Disk, path: &Path, writable: bool) -> io::Result<RingLookup> {
        let file = match File::options().read(true).write(writable).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RingLookup::Absent),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; DATA];
        let got = disk.read_at_marking_unreadable_pages(&file, &mut bytes, 0)?.len;
        let is_whole = |header: &RingHeader| file.metadata().map(|meta| meta.len() == DATA as u64 + header.size);
        match RingHeader::decode_if_valid(&bytes[..got]) {
            Some(header) if got == DATA && header.size > 0 && is_whole(&header)? => {
                let positions = RingPositions {
                    head: Position::new(u64_le_at(&bytes, HEAD)),
                    acked: Position::new(u64_le_at(&bytes, ACKED)),
                    spilled: Position::new(u64_le_at(&bytes, SPILLED)),
                };
                Ok(RingLookup::Found(RingFile { disk: disk.clone(), file, header, positions }))
            }
            _ => Ok(RingLookup::Unreadable),
        }
    }

    /// Overwrites header and positions in place, so that a full disk does not matter.
    pub(super) fn overwrite_header_and_positions(
        &mut self,
        disk: &Disk,
        header: RingHeader,
        positions: RingPositions,
    ) -> io::Result<()> {
        disk.write_at(&self.file, &encode_start(&header, &positions), 0)?;
        self.header = header;
        self.positions = positions;
        Ok(())
    }

    /// Whether the medium gives every byte of the ring. A store into a mapped page that cannot be read ends the
    /// process.
    pub(super) fn is_readable_to_its_end(&self) -> io::Result<bool> {
        let (mut chunk, mut offset) = (vec![0; CHUNK], 0);
        loop {
            let read = self.disk.read_at_marking_unreadable_pages(&self.file, &mut chunk, offset)?;
            if !read.unreadable_pages.is_empty() || read.len == 0 {
                return Ok(read.unreadable_pages.is_empty());
            }
            offset += read.len as u64;
        }
    }

    /// Whether the positions can be true of a ring of this size.
    pub(super) fn has_plausible_positions(&self) -> bool {
        let (head, durable) = (self.positions.head, self.positions.durable());
        durable <= head && head - durable <= self.header.size && head.is_multiple_of(ALIGN)
    }

    /// Shows everything in the ring in the order of the file. Damage is ordinary here: frames that are partly
    /// overwritten.
    pub(super) fn walk_items_in_file_order(
        &self,
        lane_id: LaneId,
        visit: impl FnMut(u64, WalkItem<'_>),
    ) -> io::Result<()> {
        let (data, size) = (DATA as u64, self.header.size);
        let is_plausible = |offset, position: Position| position.offset_in_ring(size) == offset - data;
        walk_items_in_file_range(&self.disk, &self.file, data, data + size, lane_id, is_plausible, visit)
    }
}

fn encode_start(header: &RingHeader, positions: &RingPositions) -> [u8; SPILLED + 8] {
    let mut bytes = [0; SPILLED + 8];
    put_bytes(&mut bytes, 0, &header.encode());
    put_u64_le(&mut bytes, HEAD, positions.head.get());
    put_u64_le(&mut bytes, ACKED, positions.acked.get());
    put_u64_le(&mut bytes, SPILLED, positions.spilled.get());
    bytes
}
