//! Walks over the bytes of a segment or a ring: shows each frame, pad, block and damaged place in order, of one lane or
//! of all.

use std::{collections::BTreeMap, fs::File, io};

use crate::journal::{
    disk::Disk,
    frame::{self, ALIGN, Frame, MAX_FRAME, ParsedItem},
    segment::{BLOCK_HEADER, BlockHeader},
    units::{LaneId, Position},
};

/// Bytes read at once while a file is walked; at least two frames.
const CHUNK: usize = 1 << 20;
const _: () = assert!(CHUNK as u64 >= 2 * MAX_FRAME);

/// What lies at an offset of a file.
#[derive(Debug)]
pub(super) enum WalkItem<'a> {
    Block(BlockHeader),
    Frame(Frame<'a>),
    Pad {
        position: Position,
        len: u64,
    },
    /// A whole frame with a good checksum, of a version that this build does not read.
    OtherVersion {
        position: Position,
    },
    /// Unreadable bytes, up to the next item.
    Damage,
}

/// Shows each item of one lane in `bytes` with its offset there. `bytes` is a part of a file that begins at an offset
/// that is a multiple of 16. Blocks of other lanes are passed over.
///
/// `is_last`: nothing follows in the file, so an item that does not end in `bytes` is damage. Returns how many bytes
/// were walked, which are more than `bytes` if the last block of another lane ends behind them; the next call begins
/// there. `is_plausible` gets the offset in `bytes` and the position that a frame there claims.
pub(super) fn walk_items_and_return_walked_bytes<'a>(
    bytes: &'a [u8],
    lane_id: LaneId,
    is_last: bool,
    is_plausible: impl Fn(usize, Position) -> bool,
    mut visit: impl FnMut(usize, WalkItem<'a>),
) -> usize {
    let mut lanes = LaneSeeds::of_lane(lane_id);
    walk_items_of_lanes(bytes, &mut lanes, is_last, is_plausible, |_, offset, item| visit(offset, item))
}

/// Walks as [`walk_items_and_return_walked_bytes`] does, over the items of all `lanes`. `visit` gets the lane too; of
/// a damaged place, the lane of the item before it.
fn walk_items_of_lanes<'a>(
    bytes: &'a [u8],
    lanes: &mut LaneSeeds,
    is_last: bool,
    is_plausible: impl Fn(usize, Position) -> bool,
    mut visit: impl FnMut(Option<u16>, usize, WalkItem<'a>),
) -> usize {
    let mut offset = 0;
    let mut damaged = 0;
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        if !is_last && rest.len() < BLOCK_HEADER {
            break;
        }
        let lane_before = lanes.current_lane;
        let block = BlockHeader::decode_if_valid(rest, lanes.directory_id);
        let (item, len) = if let Some(block) = block {
            let is_shown = lanes.select_lane_unless_foreign(block.lane);
            (is_shown.then_some(WalkItem::Block(block)), if is_shown { BLOCK_HEADER as u64 } else { block.whole_len() })
        } else {
            match lanes.parse_item_of_current_or_any_lane(rest, |position| is_plausible(offset, position)) {
                ParsedItem::Frame(frame) => (Some(WalkItem::Frame(frame)), frame.whole_len()),
                ParsedItem::Pad { position, len } => (Some(WalkItem::Pad { position, len }), len),
                ParsedItem::OtherVersion { position, len } => (Some(WalkItem::OtherVersion { position }), len),
                ParsedItem::Incomplete if !is_last && rest.len() as u64 <= MAX_FRAME => break,
                ParsedItem::Incomplete | ParsedItem::Invalid => {
                    let step = rest.len().min(ALIGN as usize);
                    damaged += step;
                    offset += step;
                    continue;
                }
            }
        };
        if damaged > 0 {
            visit(lane_before, offset - damaged, WalkItem::Damage);
            damaged = 0;
        }
        if let Some(item) = item {
            visit(lanes.current_lane, offset, item);
        }
        offset += len as usize;
    }
    if damaged > 0 {
        visit(lanes.current_lane, offset - damaged, WalkItem::Damage);
    }
    offset
}

/// Shows each item of one lane in the bytes `[from, end)` of a file, with its offset in the file. Reads the file in
/// chunks. Pages that cannot be read are damage.
pub(super) fn walk_items_in_file_range(
    disk: &Disk,
    file: &File,
    from: u64,
    end: u64,
    lane_id: LaneId,
    is_plausible: impl Fn(u64, Position) -> bool,
    mut visit: impl FnMut(u64, WalkItem<'_>),
) -> io::Result<()> {
    let mut lanes = LaneSeeds::of_lane(lane_id);
    let visit = |_, offset, item: WalkItem<'_>| visit(offset, item);
    walk_items_of_lanes_in_file_range(disk, file, from, end, &mut lanes, is_plausible, visit)
}

/// Walks as [`walk_items_in_file_range`] does, over the items of all `lanes`. `visit` gets the lane too; of a damaged
/// place, the lane of the item before it.
pub(super) fn walk_items_of_lanes_in_file_range(
    disk: &Disk,
    file: &File,
    from: u64,
    end: u64,
    lanes: &mut LaneSeeds,
    is_plausible: impl Fn(u64, Position) -> bool,
    mut visit: impl FnMut(Option<u16>, u64, WalkItem<'_>),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min((end.saturating_sub(from)) as usize)];
    let mut start = from;
    while start < end {
        let wanted = ((end - start) as usize).min(buffer.len());
        let got = disk.read_at_marking_unreadable_pages(file, &mut buffer[..wanted], start)?.len;
        if got == 0 {
            break;
        }
        let is_last = got < wanted || start + got as u64 == end;
        let walked = walk_items_of_lanes(
            &buffer[..got],
            lanes,
            is_last,
            |offset, position| is_plausible(start + offset as u64, position),
            |lane, offset, item| visit(lane, start + offset as u64, item),
        );
        start += walked as u64;
        if is_last {
            break;
        }
    }
    Ok(())
}

/// The lanes whose items a walk shows, with the start values of their checksums.
#[derive(Debug)]
pub(super) struct LaneSeeds {
    directory_id: u64,
    /// The lane of the item that was found last.
    current_lane: Option<u16>,
    seeds: BTreeMap<u16, u32>,
    /// Lanes are added as their blocks are found. If not, blocks of other lanes are passed over.
    are_all_lanes_shown: bool,
}

impl LaneSeeds {
    fn of_lane(lane_id: LaneId) -> LaneSeeds {
        let LaneId { directory_id, lane } = lane_id;
        let seeds = BTreeMap::from([(lane, frame::checksum_seed(lane_id))]);
        LaneSeeds { directory_id, current_lane: Some(lane), seeds, are_all_lanes_shown: false }
    }

    /// All lanes of a directory. Behind a damaged block header, frames are found of the `known` lanes, and of those
    /// whose blocks were found before.
    pub(super) fn of_all_lanes(directory_id: u64, known: impl Iterator<Item = u16>) -> LaneSeeds {
        let seed = |lane| (lane, frame::checksum_seed(LaneId { directory_id, lane }));
        LaneSeeds { directory_id, current_lane: None, seeds: known.map(seed).collect(), are_all_lanes_shown: true }
    }

    /// Makes the lane of a block the current one. Returns `false` if the walk passes over its blocks.
    fn select_lane_unless_foreign(&mut self, lane: u16) -> bool {
        if self.are_all_lanes_shown {
            let directory_id = self.directory_id;
            self.seeds.entry(lane).or_insert_with(|| frame::checksum_seed(LaneId { directory_id, lane }));
        }
        let is_shown = self.seeds.contains_key(&lane);
        if is_shown {
            self.current_lane = Some(lane);
        }
        is_shown
    }

    /// Parses the item at the beginning of `bytes` as one of the current lane, else as one of any other lane, which
    /// then becomes the current one: the header of its block is damaged.
    fn parse_item_of_current_or_any_lane<'a>(
        &mut self,
        bytes: &'a [u8],
        is_plausible: impl Fn(Position) -> bool,
    ) -> ParsedItem<'a> {
        let current = self.current_lane.and_then(|lane| self.seeds.get(&lane));
        let mut parsed = ParsedItem::Invalid;
        if let Some(seed) = current {
            parsed = frame::parse_and_verify_frame_or_pad(bytes, *seed, &is_plausible);
        }
        if !self.are_all_lanes_shown || !matches!(parsed, ParsedItem::Invalid) {
            return parsed;
        }
        for (lane, seed) in &self.seeds {
            let of_lane = frame::parse_and_verify_frame_or_pad(bytes, *seed, &is_plausible);
            if !matches!(of_lane, ParsedItem::Invalid) {
                // More bytes are needed to tell the lane of an item that is not complete.
                if !matches!(of_lane, ParsedItem::Incomplete) {
                    self.current_lane = Some(*lane);
                }
                return of_lane;
            }
        }
        parsed
    }
}
