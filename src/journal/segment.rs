//! Segments on disk, and the index of what they hold. The layout is specified in [`crate::journal`].

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
};

use crate::journal::{
    STREAMS,
    frame::{self, ALIGN, Found, MAX_FRAME, put, u32_at, u64_at},
};

/// Bytes before the first block.
pub(super) const HEADER: usize = 64;
/// Bytes of a block's header.
pub(super) const BLOCK: usize = 64;
/// The version this build writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"WPSEGMT\n";
const SEGMENT_VERSION: usize = MAGIC.len();
const LANE: usize = SEGMENT_VERSION + 4;
const DIRECTORY: usize = LANE + 4;
const NUMBER: usize = DIRECTORY + 8;
const ZERO: usize = NUMBER + 8;
const CRC: usize = HEADER - 4;
const _: () = assert!(ZERO + 28 == CRC);

const BLOCK_MAGIC: [u8; 4] = *b"BLCK";
const BLOCK_CRC: usize = 0;
const BLOCK_MARK: usize = BLOCK_CRC + 4;
const FROM: usize = BLOCK_MARK + 4;
const TO: usize = FROM + 8;
const ACKED_BELOW: usize = TO + 8;
const EPOCH: usize = ACKED_BELOW + 8;
const NEXT: usize = EPOCH + 8;
const _: () = assert!(NEXT + 8 * STREAMS + 8 == BLOCK);

/// What is read at once while a file is scanned; at least two frames.
const CHUNK: usize = 1 << 20;
const _: () = assert!(CHUNK as u64 >= 2 * MAX_FRAME);

/// What the first 64 bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) lane: u16,
    pub(super) directory: u64,
    pub(super) number: u64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, SEGMENT_VERSION, &self.version.to_le_bytes());
        put(&mut bytes, LANE, &self.lane.to_le_bytes());
        put(&mut bytes, DIRECTORY, &self.directory.to_le_bytes());
        put(&mut bytes, NUMBER, &self.number.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC]);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// `None`: not the beginning of a segment.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Head> {
        let sound = bytes[..MAGIC.len()] == MAGIC && u32_at(bytes, CRC) == crc32c::crc32c(&bytes[..CRC]);
        sound.then(|| Head {
            version: u32_at(bytes, SEGMENT_VERSION),
            lane: u16::from_le_bytes([bytes[LANE], bytes[LANE + 1]]),
            directory: u64_at(bytes, DIRECTORY),
            number: u64_at(bytes, NUMBER),
        })
    }
}

/// What stands before the frames of one write of the spiller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Everything below was delivered when it was written.
    pub(super) acked_below: u64,
    /// The epoch of the last frame before `to`, and the next numbers in it.
    pub(super) epoch: u64,
    pub(super) next: [u64; STREAMS],
}

impl Block {
    pub(super) fn encode(&self, seed: u32) -> [u8; BLOCK] {
        let mut bytes = [0; BLOCK];
        put(&mut bytes, BLOCK_MARK, &BLOCK_MAGIC);
        put(&mut bytes, FROM, &self.from.to_le_bytes());
        put(&mut bytes, TO, &self.to.to_le_bytes());
        put(&mut bytes, ACKED_BELOW, &self.acked_below.to_le_bytes());
        put(&mut bytes, EPOCH, &self.epoch.to_le_bytes());
        for (stream, next) in self.next.iter().enumerate() {
            put(&mut bytes, NEXT + 8 * stream, &next.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(seed, &bytes[BLOCK_MARK..]);
        put(&mut bytes, BLOCK_CRC, &crc.to_le_bytes());
        bytes
    }

    /// `None`: no block begins here.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> Option<Block> {
        let bytes = bytes.get(..BLOCK)?;
        let sound = bytes[BLOCK_MARK..FROM] == BLOCK_MAGIC
            && u32_at(bytes, BLOCK_CRC) == crc32c::crc32c_append(seed, &bytes[BLOCK_MARK..]);
        sound.then(|| Block {
            from: u64_at(bytes, FROM),
            to: u64_at(bytes, TO),
            acked_below: u64_at(bytes, ACKED_BELOW),
            epoch: u64_at(bytes, EPOCH),
            next: std::array::from_fn(|stream| u64_at(bytes, NEXT + 8 * stream)),
        })
    }
}

/// What a walk over a file meets at a place.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Block(Block),
    Frame(frame::Frame<'a>),
    Pad {
        pos: u64,
        len: u64,
    },
    /// Whole and good, but of a version this build does not read.
    Newer,
    /// Bytes of nothing known, up to the next item.
    Bad,
}

/// Walks `bytes`, a part of a file that begins at a 16-aligned place, and shows each item with its offset in `bytes`.
/// `last`: nothing follows, so what does not end here is bad. Returns how many bytes were walked.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    seed: u32,
    last: bool,
    plausible: impl Fn(usize, u64) -> bool,
    mut visit: impl FnMut(usize, Item<'a>),
) -> usize {
    let mut at = 0;
    let mut bad = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (item, len) = if let Some(block) = Block::decode(rest, seed) {
            (Item::Block(block), BLOCK as u64)
        } else {
            match frame::parse(rest, seed, |pos| plausible(at, pos)) {
                Found::Frame(frame) => (Item::Frame(frame), frame.next_pos - frame.pos),
                Found::Pad { pos, len } => (Item::Pad { pos, len }, len),
                Found::Newer { len } => (Item::Newer, len),
                Found::Short if !last && rest.len() as u64 <= MAX_FRAME => break,
                Found::Short | Found::Bad => {
                    let step = rest.len().min(ALIGN as usize);
                    bad += step;
                    at += step;
                    continue;
                }
            }
        };
        if bad > 0 {
            visit(at - bad, Item::Bad);
            bad = 0;
        }
        visit(at, item);
        at += len as usize;
    }
    if bad > 0 {
        visit(at - bad, Item::Bad);
    }
    at
}

/// Walks the bytes `[from, end)` of a file in parts; `visit` gets offsets in the file.
pub(super) fn walk_file(
    file: &File,
    from: u64,
    end: u64,
    seed: u32,
    plausible: impl Fn(u64, u64) -> bool,
    mut visit: impl FnMut(u64, Item<'_>),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min((end.saturating_sub(from)) as usize)];
    let mut at = from;
    while at < end {
        let want = ((end - at) as usize).min(buffer.len());
        let got = read_up_to(file, &mut buffer[..want], at)?;
        if got == 0 {
            break;
        }
        let last = got < want || at + got as u64 == end;
        let base = at;
        let walked = walk(
            &buffer[..got],
            seed,
            last,
            |offset, pos| plausible(base + offset as u64, pos),
            |offset, item| visit(base + offset as u64, item),
        );
        at += walked as u64;
        if last {
            break;
        }
    }
    Ok(())
}

/// Fills `buffer` from `offset`; less only at the file's end.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Frames `[from, to)` without a gap, in the bytes `[offset, end)` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) end: u64,
}

/// A file that holds extents.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The highest position it holds: once the checkpoint has passed it the file goes.
    pub(super) to: u64,
    /// What it takes on the disk.
    pub(super) bytes: u64,
    /// Something in it could not be read: it is put aside, never deleted.
    pub(super) damaged: bool,
}

/// What is where, for one lane; each position in one place at most.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) extents: VecDeque<Extent>,
    pub(super) files: BTreeMap<u64, Segment>,
}

impl Index {
    /// The extent in which to go on at `pos`: the first that ends above it.
    pub(super) fn at(&self, pos: u64) -> Option<Extent> {
        let first = self.extents.partition_point(|extent| extent.to <= pos);
        self.extents.get(first).copied()
    }

    /// Adds what was synced; it continues the last extent if it can.
    pub(super) fn push(&mut self, extent: Extent) {
        if let Some(file) = self.files.get_mut(&extent.file) {
            file.to = file.to.max(extent.to);
            file.bytes = file.bytes.max(extent.end);
        }
        match self.extents.back_mut() {
            Some(last) if last.file == extent.file && last.to == extent.from && last.end == extent.offset => {
                last.to = extent.to;
                last.end = extent.end;
            }
            _ => self.extents.push_back(extent),
        }
    }

    /// Takes out the files that hold nothing at or above `acked`, apart from the open one.
    pub(super) fn finished(&mut self, acked: u64, open: Option<u64>) -> Vec<(u64, Segment)> {
        let numbers: Vec<u64> =
            self.files.iter().filter(|(n, file)| file.to <= acked && Some(**n) != open).map(|(n, _)| *n).collect();
        self.extents.retain(|extent| !numbers.contains(&extent.file));
        numbers.into_iter().filter_map(|number| self.files.remove_entry(&number)).collect()
    }

    /// Bytes its files take.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// The union of what was found, by position: sorted, without doubles. Of doubles the first in `found` stays.
pub(super) fn union(mut found: Vec<Extent>) -> VecDeque<Extent> {
    found.sort_by_key(|extent| extent.from);
    let mut union: VecDeque<Extent> = VecDeque::new();
    let mut covered = 0;
    for mut extent in found {
        if extent.to <= covered {
            continue;
        }
        extent.from = extent.from.max(covered);
        covered = extent.to;
        union.push_back(extent);
    }
    union
}
