//! The index in memory of a lane's segments: which positions lie in which bytes of which file.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
};

use crate::journal::units::Position;

/// Frames of the positions `[from, to)` without a gap, in the bytes `[offset, end)` of a file. Blocks of other lanes
/// may lie between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) from: Position,
    pub(super) to: Position,
    /// The number of the segment or salvaged ring.
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) end: u64,
}

/// The most bytes of an extent that holds blocks of other lanes: a reader passes over so many at most for one batch.
/// Merging such extents keeps the index small while there are many small blocks.
pub(super) const MAX_SHARED_EXTENT: u64 = 256 << 10;

impl Extent {
    fn can_be_lengthened_with(&self, next: &Extent) -> bool {
        self.file == next.file
            && self.to == next.from
            && (self.end == next.offset || next.end - self.offset <= MAX_SHARED_EXTENT)
    }
}

/// A file that holds extents of the lane: a segment, which other lanes share, or a salvaged ring.
#[derive(Clone, Debug)]
pub(super) struct IndexedFile {
    pub(super) path: PathBuf,
    /// The highest position of the lane in the file. The lane needs the file until the checkpoint has passed it.
    pub(super) to: Position,
    /// Bytes of the file, up to the last block of the lane at least.
    pub(super) bytes: u64,
    /// Something in the file could not be read. Such a file goes to the quarantine and is never deleted.
    pub(super) damaged: bool,
}

/// The extents and files of one lane. Each position lies in one extent at most.
#[derive(Debug, Default)]
pub(super) struct SegmentIndex {
    pub(super) extents: VecDeque<Extent>,
    pub(super) files: BTreeMap<u64, IndexedFile>,
}

impl SegmentIndex {
    /// The extent that holds `position`, else the first one above it.
    pub(super) fn find_extent_at_or_above(&self, position: Position) -> Option<Extent> {
        let first = self.extents.partition_point(|extent| extent.to <= position);
        self.extents.get(first).copied()
    }

    /// Adds an extent at the end, or lengthens the last extent with it. An extent that holds blocks of other lanes
    /// takes [`MAX_SHARED_EXTENT`] bytes at most.
    pub(super) fn push_or_merge_extent_and_grow_file(&mut self, extent: Extent) {
        if let Some(file) = self.files.get_mut(&extent.file) {
            file.to = file.to.max(extent.to);
        }
        match self.extents.back_mut() {
            Some(last) if last.can_be_lengthened_with(&extent) => {
                last.to = extent.to;
                last.end = extent.end;
            }
            _ => self.extents.push_back(extent),
        }
    }

    /// Takes out the files that hold nothing at or above `acked`, and returns them by number.
    pub(super) fn remove_files_wholly_below_and_return_them(&mut self, acked: Position) -> BTreeMap<u64, IndexedFile> {
        if self.files.values().all(|file| file.to > acked) {
            return BTreeMap::new();
        }
        let (passed, kept): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.files).into_iter().partition(|(_, file)| file.to <= acked);
        self.files = kept;
        self.extents.retain(|extent| !passed.contains_key(&extent.file));
        passed
    }
}

/// The extents sorted by position and cut so that none overlaps. Of two that hold the same position the one that begins
/// lower stays whole; of two that begin at the same position, the first in `extents`.
pub(super) fn sort_extents_and_cut_starts_below_covered(mut extents: Vec<Extent>) -> VecDeque<Extent> {
    extents.sort_by_key(|extent| extent.from);
    let mut disjoint: VecDeque<Extent> = VecDeque::new();
    let mut covered = Position::ZERO;
    for mut extent in extents {
        if extent.to <= covered {
            continue;
        }
        extent.from = extent.from.max(covered);
        covered = extent.to;
        disjoint.push_back(extent);
    }
    disjoint
}
