//! A lane as its files show it at one moment, beside a process that may append and deliver meanwhile.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use super::location::{InspectError, JournalLocation};
use crate::journal::{
    checkpoint::{Checkpoint, read_newer_valid_checkpoint},
    disk::{Disk, boot_id},
    epoch_ends::read_epoch_ends,
    frame::Frame,
    lane_files::{LaneFiles, PathError},
    ring_file::{RingFile, RingLookup, RingPositions},
    scan::{LaneScan, RING_FILE_NUMBER, RingRange, ScannedLane},
    segment_index::SegmentIndex,
    units::{Position, Watermark},
    walk::{WalkItem, walk_items_in_file_range},
};

/// What a lane's ring file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingInspection {
    /// There is none.
    Absent,
    /// Damaged, of another version, or of another directory.
    Unreadable,
    /// The positions of a good ring.
    Ring {
        /// Bytes of frames that the ring holds.
        size: u64,
        /// Everything below is appended.
        head: Position,
        /// Everything below is delivered.
        acked: Position,
        /// Everything below is delivered or synced.
        spilled: Position,
        /// The ring was opened since this machine was started.
        is_of_this_boot: bool,
    },
}

/// A lane as its files show it at one moment.
#[derive(Debug)]
pub(in crate::journal) struct LaneSnapshot {
    pub(super) checkpoint: Option<Checkpoint>,
    ring: Option<RingFile>,
    pub(super) ring_inspection: RingInspection,
    pub(super) acked: Position,
    pub(in crate::journal) scan: LaneScan,
    /// Bytes of the ring that should be frames cannot be read.
    pub(super) is_ring_damaged: bool,
    /// Clicks were delivered while the snapshot was taken, so a gap in the numbers is no evidence of a missing click.
    pub(super) has_moved: bool,
}

/// A lane whose ring is read and whose segments are not.
struct BegunSnapshot<'a> {
    files: LaneFiles<'a>,
    checkpoint: Option<Checkpoint>,
    ring: Option<RingFile>,
    ring_inspection: RingInspection,
    acked: Position,
    /// The lowest position of interest.
    from: Position,
    is_ring_damaged: bool,
}

/// Reads all files of a log, its segments once. `from`: the lowest position of interest in each lane; `None`: the first
/// undelivered one. Gives each lane that has a directory or a block, in the order of their numbers.
pub(in crate::journal) fn read_snapshots_of_all_lanes(
    location: &JournalLocation,
    from: Option<Position>,
) -> Result<Vec<(u16, LaneSnapshot)>, InspectError> {
    let mut begun = BTreeMap::new();
    let mut scans = BTreeMap::new();
    // The rings first: a frame that leaves one meanwhile is in the segments by the time these are read, or delivered.
    for lane in location.list_lane_numbers_sorted()? {
        let (snapshot, scan) = BegunSnapshot::read_checkpoint_and_ring(location.lane_files(lane), from)?;
        scans.insert(lane, ScannedLane { acked: snapshot.from, scan });
        begun.insert(lane, snapshot);
    }
    let mut snapshots = Vec::new();
    for (lane, scanned) in location.scan_segments(scans)? {
        let snapshot = match begun.remove(&lane) {
            Some(snapshot) => snapshot,
            // A lane of which there are only blocks.
            None => BegunSnapshot::read_checkpoint_and_ring(location.lane_files(lane), from)?.0,
        };
        snapshots.push((lane, snapshot.finish(scanned.scan)?));
    }
    Ok(snapshots)
}

impl<'a> BegunSnapshot<'a> {
    fn read_checkpoint_and_ring(
        files: LaneFiles<'a>,
        from: Option<Position>,
    ) -> Result<(BegunSnapshot<'a>, LaneScan), InspectError> {
        let path = files.checkpoints_path();
        let checkpoint = read_newer_valid_checkpoint(files.disk, &path, files.lane_id)
            .map_err(|error| (path, error))?
            .into_checkpoint_if_found();
        let (ring, ring_inspection) = open_and_inspect_own_ring(&files)?;
        let plausible_ring = ring.as_ref().filter(|ring| ring.has_plausible_positions());
        let noted = checkpoint.map_or(Position::ZERO, |checkpoint| checkpoint.acked);
        let acked = plausible_ring.map_or(noted, |ring| noted.max(ring.positions.acked));
        let from = from.unwrap_or(acked);
        let mut scan = LaneScan::default();
        let mut is_ring_damaged = false;
        if let Some(ring) = plausible_ring {
            is_ring_damaged = add_ring_to_scan_and_return_if_damaged(&files, ring, &mut scan, from)
                .map_err(|error| (files.ring_path(), error))?
                && checkpoint.is_none_or(|checkpoint| checkpoint.clean_head.is_none());
        }
        let snapshot = BegunSnapshot { files, checkpoint, ring, ring_inspection, acked, from, is_ring_damaged };
        Ok((snapshot, scan))
    }

    /// `scan`: what the ring and the segments hold.
    fn finish(self, mut scan: LaneScan) -> Result<LaneSnapshot, InspectError> {
        let BegunSnapshot { files, mut checkpoint, ring, ring_inspection, acked, from, is_ring_damaged } = self;
        scan.add_salvaged_rings(&files, from)?;
        // As a start does: a mark below what was appended since is of an earlier run.
        let plausible_ring = ring.as_ref().filter(|ring| ring.has_plausible_positions());
        let appended_to = scan.frames.top.max(plausible_ring.map_or(Position::ZERO, |ring| ring.positions.head));
        if let Some(checkpoint) = &mut checkpoint {
            checkpoint.clean_head = checkpoint.clean_head.filter(|head| *head >= appended_to);
        }
        let path = files.ring_path();
        let positions_now = read_ring_positions_if_readable(files.disk, &path).map_err(|error| (path, error))?;
        let has_moved = positions_now.is_some_and(|now| now.acked > acked);
        let is_ring_plausible = ring.as_ref().is_some_and(RingFile::has_plausible_positions);
        // As a start would find the lane: a ring of an earlier boot would be salvaged, and all of it would count.
        let ring_range = match (checkpoint.and_then(|checkpoint| checkpoint.clean_head), ring_inspection) {
            (Some(head), _) => Some(RingRange { durable: head, head }),
            (None, RingInspection::Ring { head, acked, spilled, is_of_this_boot: true, .. })
                if is_ring_plausible && !is_ring_damaged =>
            {
                let head = positions_now.map_or(head, |now| now.head.max(head));
                Some(RingRange { durable: acked.max(spilled), head })
            }
            _ => None,
        };
        scan.finish(ring_range);
        let dir = files.dir();
        let ends = read_epoch_ends(files.disk, &dir, files.lane_id).map_err(|error| (dir, error))?;
        ends.iter().for_each(|end| scan.frames.seqs.add_used_seqs_and_cut_of_epoch_end(end));
        Ok(LaneSnapshot { checkpoint, ring, ring_inspection, acked, scan, is_ring_damaged, has_moved })
    }
}

impl LaneSnapshot {
    /// How far the lane is delivered, by number.
    pub(in crate::journal) fn delivered_watermark(&self) -> Watermark {
        self.scan.frames.boundary.delivered_watermark(self.checkpoint.as_ref(), self.acked)
    }

    /// The position at which the answered clicks end. `None`: not known, because the ring is gone or of an earlier
    /// boot.
    pub(in crate::journal) fn find_end_of_answered_clicks(&self) -> Option<Position> {
        if let Some(clean_head) = self.checkpoint.and_then(|checkpoint| checkpoint.clean_head) {
            return Some(clean_head);
        }
        match self.ring_inspection {
            RingInspection::Ring { head, is_of_this_boot: true, .. } if !self.is_ring_damaged => Some(head),
            _ => None,
        }
    }

    /// Shows every frame of the snapshot in order.
    pub(in crate::journal) fn visit_all_frames_in_order(
        self,
        files: &LaneFiles<'_>,
        mut visit: impl FnMut(&Frame<'_>) -> io::Result<()>,
    ) -> Result<(), InspectError> {
        let SegmentIndex { extents, files: indexed_files } = self.scan.index;
        for extent in extents {
            let Some(path) = indexed_files.get(&extent.file).map(|file| &file.path) else { continue };
            let failed = |source| InspectError::Io { path: path.clone(), source };
            let opened;
            let file = match (&self.ring, extent.file) {
                (Some(ring), RING_FILE_NUMBER) => &ring.file,
                _ => match File::open(path) {
                    Ok(file) => {
                        opened = file;
                        &opened
                    }
                    // Delivered and removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(error)),
                },
            };
            let mut outcome = Ok(());
            let is_inside = |_: u64, position: Position| position >= extent.from && position < extent.to;
            let (start, end) = (extent.offset, extent.end);
            walk_items_in_file_range(files.disk, file, start, end, files.lane_id, is_inside, |_, item| {
                if let (WalkItem::Frame(frame), Ok(())) = (&item, &outcome) {
                    outcome = visit(frame);
                }
            })
            .and(outcome)
            .map_err(failed)?;
        }
        Ok(())
    }
}

fn open_and_inspect_own_ring(files: &LaneFiles<'_>) -> Result<(Option<RingFile>, RingInspection), PathError> {
    let path = files.ring_path();
    Ok(match RingFile::open_and_verify_header(files.disk, &path, false).map_err(|error| (path, error))? {
        RingLookup::Absent => (None, RingInspection::Absent),
        RingLookup::Found(ring) if ring.header.lane_id == files.lane_id => {
            let RingPositions { head, acked, spilled } = ring.positions;
            let is_of_this_boot = ring.header.boot_id == boot_id();
            let size = ring.header.size;
            (Some(ring), RingInspection::Ring { size, head, acked, spilled, is_of_this_boot })
        }
        RingLookup::Found(_) | RingLookup::Unreadable => (None, RingInspection::Unreadable),
    })
}

/// Adds the ring to the scan. Returns whether something between its durable position and its head cannot be read,
/// though it was not overwritten meanwhile.
fn add_ring_to_scan_and_return_if_damaged(
    files: &LaneFiles<'_>,
    ring: &RingFile,
    scan: &mut LaneScan,
    from: Position,
) -> io::Result<bool> {
    let (durable, head) = (ring.positions.durable(), ring.positions.head);
    let mut readable = Vec::new();
    ring.walk_items_in_file_order(files.lane_id, |_, item| {
        let (position, len) = match item {
            WalkItem::Frame(frame) => (frame.position, frame.whole_len()),
            WalkItem::Pad { position, len } => (position, len),
            _ => return,
        };
        if position >= durable && position + len <= head {
            readable.push((position, len));
        }
    })?;
    scan.add_ring_ignoring_damage(files, ring, RING_FILE_NUMBER, files.ring_path(), from)?;
    // A frame that became durable while the ring was read may be overwritten by now.
    let positions_now = read_ring_positions_if_readable(files.disk, &files.ring_path())?;
    let durable = positions_now.map_or(head, |now| now.durable().clamp(durable, head));
    let readable_bytes: u64 = readable.iter().filter(|(position, _)| *position >= durable).map(|(_, len)| len).sum();
    Ok(readable_bytes != head - durable)
}

/// The positions in the ring file now; `None`: there is no readable ring any more.
fn read_ring_positions_if_readable(disk: &Disk, ring: &Path) -> io::Result<Option<RingPositions>> {
    match RingFile::open_and_verify_header(disk, ring, false)? {
        RingLookup::Found(ring) => Ok(Some(ring.positions)),
        RingLookup::Absent | RingLookup::Unreadable => Ok(None),
    }
}
