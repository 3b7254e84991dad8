//! The scan of a log's segments: each is read once, and its blocks are given to their lanes.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{
    file_scan::{BlockOwner, FileScan},
    lane_scan::LaneScan,
};
use crate::journal::{
    lane_files::{LogFiles, PathError},
    segment::{self, SEGMENT_HEADER, SegmentHeader},
    units::Position,
    walk::{LaneSeeds, WalkItem, walk_items_of_lanes_in_file_range},
};

/// What the segments of a log hold.
#[derive(Debug, Default)]
pub(in crate::journal) struct LogScan {
    /// By number: every lane that was given, and every other lane of which there is a block.
    pub(in crate::journal) lanes: BTreeMap<u16, ScannedLane>,
    /// The segments that this build can read.
    pub(in crate::journal) segments: Vec<ScannedSegment>,
    /// Segments that this build must not change: of another version, or of another directory.
    pub(in crate::journal) foreign: Vec<PathBuf>,
    /// Above the number of every segment.
    pub(in crate::journal) next_file_number: u64,
}

/// A lane of a [`LogScan`].
#[derive(Debug, Default)]
pub(in crate::journal) struct ScannedLane {
    /// Everything below is delivered.
    pub(in crate::journal) acked: Position,
    pub(in crate::journal) scan: LaneScan,
}

/// A segment of a [`LogScan`].
#[derive(Debug)]
pub(in crate::journal) struct ScannedSegment {
    pub(in crate::journal) number: u64,
    pub(in crate::journal) path: PathBuf,
    pub(in crate::journal) bytes: u64,
    /// Bytes in it cannot be read although a good item follows, or nothing behind the header can be read. The item's
    /// lane need not be the one that lacks something.
    pub(in crate::journal) is_damaged: bool,
}

impl LogScan {
    /// Scans every segment of a log, each lane from its acknowledged position on. `lanes` may hold what other files of
    /// a lane have shown before. A file that vanishes meanwhile was delivered, and is left out.
    pub(in crate::journal) fn scan_segments(
        files: &LogFiles<'_>,
        lanes: BTreeMap<u16, ScannedLane>,
    ) -> Result<LogScan, PathError> {
        let mut scan = LogScan { lanes, ..LogScan::default() };
        let known: Vec<u16> = scan.lanes.keys().copied().collect();
        for segment in files.list_segments()? {
            scan.next_file_number = scan.next_file_number.max(segment.number + 1);
            let mut seeds = LaneSeeds::of_all_lanes(files.directory_id, known.iter().copied());
            match scan.add_segment_or_note_as_foreign(files, segment.number, &segment.path, &mut seeds) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((segment.path, error)),
                _ => {}
            }
        }
        Ok(scan)
    }

    fn add_segment_or_note_as_foreign(
        &mut self,
        files: &LogFiles<'_>,
        number: u64,
        path: &Path,
        seeds: &mut LaneSeeds,
    ) -> io::Result<()> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if is_foreign_segment(files, &file)? {
            self.foreign.push(path.to_owned());
            return Ok(());
        }
        let mut scans = BTreeMap::<u16, FileScan>::new();
        let mut owner = BlockOwner::default();
        let lanes = &mut self.lanes;
        let (mut ends_with_damage, mut is_damaged) = (false, false);
        walk_items_of_lanes_in_file_range(
            files.disk,
            &file,
            SEGMENT_HEADER as u64,
            bytes,
            seeds,
            |_, _| true,
            |lane, offset, item| {
                is_damaged |= ends_with_damage;
                ends_with_damage = matches!(item, WalkItem::Damage);
                if matches!(item, WalkItem::Damage | WalkItem::OtherVersion { .. }) && !owner.is_inside_block(offset) {
                    // The next item tells whose block it was.
                    owner.has_damage_before_next_item = true;
                    return;
                }
                let Some(lane) = lane else { return };
                let ScannedLane { acked, scan } = lanes.entry(lane).or_default();
                let file_scan = scans.entry(lane).or_insert_with(|| FileScan::new(number, *acked));
                if std::mem::take(&mut owner.has_damage_before_next_item) {
                    file_scan.ends_with_damage = true;
                }
                owner.update(lane, offset, &item);
                file_scan.add_next_item(&mut scan.frames, offset, item);
            },
        )?;
        if owner.has_damage_before_next_item
            && let Some(last) = owner.lane.and_then(|lane| scans.get_mut(&lane))
        {
            last.ends_with_damage = true;
        }
        is_damaged |= scans.is_empty() && bytes > SEGMENT_HEADER as u64;
        self.segments.push(ScannedSegment { number, path: path.to_owned(), bytes, is_damaged });
        for (lane, file_scan) in scans {
            let ScannedLane { acked, scan } = self.lanes.entry(lane).or_default();
            scan.add_scanned_segment(file_scan, path, bytes, *acked);
        }
        Ok(())
    }
}

/// Whether the header says that another version or directory owns the segment. Without a valid header its blocks
/// decide.
fn is_foreign_segment(files: &LogFiles<'_>, file: &File) -> io::Result<bool> {
    let mut bytes = [0; SEGMENT_HEADER];
    let got = files.disk.read_at_marking_unreadable_pages(file, &mut bytes, 0)?.len;
    let header = SegmentHeader::decode_if_valid(&bytes).filter(|_| got == bytes.len());
    Ok(header.is_some_and(|header| header.version != segment::VERSION || header.directory_id != files.directory_id))
}

impl ScannedLane {
    /// A lane that is to be scanned from `acked` on.
    pub(in crate::journal) fn not_scanned_yet(acked: Position) -> ScannedLane {
        ScannedLane { acked, scan: LaneScan::default() }
    }
}
