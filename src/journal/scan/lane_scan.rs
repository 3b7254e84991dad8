//! What all files hold of a lane, from the acknowledged position on: segments, salvaged rings and the ring.

use std::{
    fs::File,
    io, mem,
    path::{Path, PathBuf},
};

use super::file_scan::{FileScan, FrameSummary};
use crate::journal::{
    lane_files::{LaneFiles, PathError},
    ring_file::{RingFile, RingLookup},
    segment::SEGMENT_HEADER,
    segment_index::{Extent, IndexedFile, SegmentIndex, sort_extents_and_cut_starts_below_covered},
    units::Position,
    walk::{WalkItem, walk_items_in_file_range},
};

/// The file number of a ring that is scanned in place beside the segments.
pub(in crate::journal) const RING_FILE_NUMBER: u64 = u64::MAX;

/// What the files of a lane hold from the acknowledged position on.
#[derive(Debug, Default)]
pub(in crate::journal) struct LaneScan {
    pub(in crate::journal) frames: FrameSummary,
    /// Every run of frames found; runs of different files may overlap.
    pub(in crate::journal) extents: Vec<Extent>,
    /// The files. The extents are put into it by [`LaneScan::finish`].
    pub(in crate::journal) index: SegmentIndex,
    /// Damaged places with a good item behind them, and tails that are not found elsewhere.
    pub(in crate::journal) damaged: u64,
    /// Files that end in the middle of an item.
    pub(in crate::journal) torn: u64,
    /// Salvaged rings that this build must not change: of another version, or damaged.
    pub(in crate::journal) foreign: Vec<PathBuf>,
    missing_tails: Vec<MissingTail>,
}

/// Positions that the last block of a file was to hold and does not.
#[derive(Clone, Copy, Debug)]
struct MissingTail {
    file_number: u64,
    from: Position,
    to: Position,
}

/// The positions that a ring holds for certain: `[durable, head)`.
#[derive(Clone, Copy, Debug)]
pub(in crate::journal) struct RingRange {
    pub(in crate::journal) durable: Position,
    pub(in crate::journal) head: Position,
}

impl LaneScan {
    /// Adds every salvaged ring of the lane. One that vanishes meanwhile was delivered, and is left out.
    pub(in crate::journal) fn add_salvaged_rings(
        &mut self,
        files: &LaneFiles<'_>,
        acked: Position,
    ) -> Result<(), PathError> {
        for salvaged in files.list_salvaged_rings()? {
            match RingFile::open_and_verify_header(files.disk, &salvaged.path, false) {
                Ok(RingLookup::Found(ring)) => {
                    let added =
                        self.add_ring_ignoring_damage(files, &ring, salvaged.number, salvaged.path.clone(), acked);
                    added.map_err(|error| (salvaged.path, error))?;
                }
                Ok(RingLookup::Unreadable) => self.foreign.push(salvaged.path),
                Ok(RingLookup::Absent) => {}
                Err(error) => return Err((salvaged.path, error)),
            }
        }
        Ok(())
    }

    /// Adds a segment of which only the lane's own blocks count.
    pub(in crate::journal) fn add_own_segment(
        &mut self,
        files: &LaneFiles<'_>,
        file_number: u64,
        path: &Path,
        acked: Position,
    ) -> io::Result<()> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut scan = FileScan::new(file_number, acked);
        let visit = |offset, item: WalkItem<'_>| scan.add_next_item(&mut self.frames, offset, item);
        let start = SEGMENT_HEADER as u64;
        walk_items_in_file_range(files.disk, &file, start, len, files.lane_id, |_, _| true, visit)?;
        self.add_scanned_segment(scan, path, len, acked);
        Ok(())
    }

    /// Adds what was found of the lane in a segment of `len` bytes.
    pub(super) fn add_scanned_segment(&mut self, mut scan: FileScan, path: &Path, len: u64, acked: Position) {
        scan.record_missing_end_of_last_block(&mut self.frames);
        let is_tail_missing = scan.good_end < scan.block_end;
        if is_tail_missing {
            let (from, to) = (scan.good_end.max(acked), scan.block_end);
            self.missing_tails.push(MissingTail { file_number: scan.file_number, from, to });
        }
        self.torn += u64::from(scan.ends_with_damage || is_tail_missing);
        self.damaged += scan.damaged;
        self.add_scanned_file_and_extents(scan, path.to_owned(), len);
    }

    /// Adds a ring's frames. Damage in a ring is not counted: frames that are partly overwritten look the same.
    pub(in crate::journal) fn add_ring_ignoring_damage(
        &mut self,
        files: &LaneFiles<'_>,
        ring: &RingFile,
        file_number: u64,
        path: PathBuf,
        acked: Position,
    ) -> io::Result<()> {
        let mut scan = FileScan::new(file_number, acked);
        ring.walk_items_in_file_order(files.lane_id, |offset, item| {
            scan.add_next_item(&mut self.frames, offset, item)
        })?;
        scan.damaged = 0;
        self.add_scanned_file_and_extents(scan, path, ring.header.size);
        Ok(())
    }

    /// Counts the missing tails, then puts the extents of all files into the index, without overlaps.
    pub(in crate::journal) fn finish(&mut self, ring: Option<RingRange>) {
        self.count_missing_tails_held_nowhere_else_as_damage_and_mark_files(ring);
        self.index.extents = sort_extents_and_cut_starts_below_covered(mem::take(&mut self.extents));
    }

    /// Counts each missing tail that no other file holds as damage, and marks its file, so that it is kept as evidence:
    /// such a tail was perhaps never synced, and perhaps damaged since. `ring`: the range that the ring holds for
    /// certain; without it, all that was found in a ring counts.
    pub(in crate::journal) fn count_missing_tails_held_nowhere_else_as_damage_and_mark_files(
        &mut self,
        ring: Option<RingRange>,
    ) {
        let tails = mem::take(&mut self.missing_tails);
        if tails.is_empty() {
            return;
        }
        let counts = |extent: &&Extent| ring.is_none() || extent.file != RING_FILE_NUMBER;
        let extents = sort_extents_and_cut_starts_below_covered(self.extents.iter().filter(counts).copied().collect());
        for tail in tails {
            let mut reached = tail.from;
            for extent in &extents {
                if extent.from <= reached {
                    reached = reached.max(extent.to);
                }
            }
            if let Some(ring) = ring.filter(|ring| ring.durable <= reached) {
                reached = reached.max(ring.head);
            }
            if reached < tail.to {
                self.damaged += 1;
                if let Some(file) = self.index.files.get_mut(&tail.file_number) {
                    file.damaged = true;
                }
            }
        }
    }

    fn add_scanned_file_and_extents(&mut self, scan: FileScan, path: PathBuf, file_bytes: u64) {
        let damaged = scan.damaged > 0 || scan.has_undelivered_of_other_version;
        let file = IndexedFile { path, to: scan.top, bytes: file_bytes, damaged };
        self.index.files.insert(scan.file_number, file);
        self.extents.extend(scan.runs);
    }
}
