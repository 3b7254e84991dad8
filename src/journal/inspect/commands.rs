//! Inspects, verifies and dumps a data directory, whether or not a process runs on it.

use std::{io, path::Path};

use super::{
    location::{InspectError, JournalLocation},
    report::{Inspection, LaneInspection, SegmentInspection, VerifyReport},
    snapshot::{LaneSnapshot, RingInspection, read_snapshots_of_all_lanes},
};
use crate::journal::{
    disk::Disk,
    frame::Frame,
    scan::RING_FILE_NUMBER,
    segment_index::IndexedFile,
    units::{Epoch, Position},
};

/// Describes the lanes, rings and segments of a log in the data directory `dir`, and how far each lane is delivered.
///
/// # Errors
/// There is no journal, or the system refused to read it.
pub fn inspect(dir: &Path, log: &'static str) -> Result<Inspection, InspectError> {
    inspect_on_disk(&Disk::default(), dir, log)
}

pub(in crate::journal) fn inspect_on_disk(
    disk: &Disk,
    dir: &Path,
    log: &'static str,
) -> Result<Inspection, InspectError> {
    let location = JournalLocation::find_in_data_or_journals_dir(disk, dir, log, None)?;
    let snapshots = read_snapshots_of_all_lanes(&location, None)?;
    let lanes = snapshots.into_iter().map(|(lane, snapshot)| build_lane_inspection(lane, snapshot)).collect();
    let quarantine = location.list_quarantined_files();
    let JournalLocation { log, journal_dir, ring_dir, directory_id, .. } = location;
    Ok(Inspection { log, journal_dir, ring_dir, directory_id, lanes, quarantine })
}

fn build_lane_inspection(lane: u16, snapshot: LaneSnapshot) -> LaneInspection {
    let delivered = snapshot.delivered_watermark();
    let undelivered = snapshot.scan.frames.seqs.count_present_and_surely_missing_from(delivered).present;
    let files = snapshot.scan.index.files.into_iter().filter(|(number, _)| *number != RING_FILE_NUMBER);
    let segment = |file: IndexedFile| {
        let IndexedFile { path, to, bytes, damaged } = file;
        SegmentInspection { path, bytes, to, damaged }
    };
    LaneInspection {
        lane,
        epoch: snapshot.checkpoint.map_or(Epoch::NONE, |checkpoint| checkpoint.appended.epoch),
        acked: snapshot.acked,
        delivered,
        clean_head: snapshot.checkpoint.and_then(|checkpoint| checkpoint.clean_head),
        ring: snapshot.ring_inspection,
        segments: files.map(|(_, file)| segment(file)).collect(),
        undelivered,
    }
}

/// Reads every undelivered frame of a log in the data directory `dir` and verifies its checksum, position and number.
///
/// # Errors
/// There is no journal, or the system refused to read it. Damage is not an error; the report counts it.
pub fn verify_undelivered_frames(dir: &Path, log: &'static str) -> Result<VerifyReport, InspectError> {
    verify_undelivered_frames_on_disk(&Disk::default(), dir, log)
}

pub(in crate::journal) fn verify_undelivered_frames_on_disk(
    disk: &Disk,
    dir: &Path,
    log: &'static str,
) -> Result<VerifyReport, InspectError> {
    let location = JournalLocation::find_in_data_or_journals_dir(disk, dir, log, None)?;
    let quarantined = location.list_quarantined_files().len() as u64;
    let mut report =
        VerifyReport { quarantined, damaged: u64::from(location.is_id_damaged), ..VerifyReport::default() };
    for (_, snapshot) in read_snapshots_of_all_lanes(&location, None)? {
        let is_ring_unreadable = snapshot.ring_inspection == RingInspection::Unreadable;
        report.frames += snapshot.scan.frames.count;
        report.damaged += snapshot.scan.damaged + u64::from(snapshot.is_ring_damaged);
        report.torn += snapshot.scan.torn;
        report.foreign += snapshot.scan.foreign.len() as u64 + u64::from(is_ring_unreadable);
        let delivered = snapshot.delivered_watermark();
        let counts = snapshot.scan.frames.seqs.count_present_and_surely_missing_from(delivered);
        report.undelivered += counts.present;
        report.missing += if snapshot.has_moved { 0 } else { counts.missing };
    }
    Ok(report)
}

/// Shows every readable frame of a log in the data directory `dir`, lane by lane in order. With `include_delivered`,
/// shows delivered frames too, as far as they are not overwritten. Returns the number of frames.
///
/// # Errors
/// There is no journal, the system refused to read it, or `visit` failed.
pub fn dump_frames_and_count(
    dir: &Path,
    log: &'static str,
    include_delivered: bool,
    visit: impl FnMut(u16 /* lane */, &Frame<'_>) -> io::Result<()>,
) -> Result<u64, InspectError> {
    dump_frames_on_disk_and_count(&Disk::default(), dir, log, include_delivered, visit)
}

pub(in crate::journal) fn dump_frames_on_disk_and_count(
    disk: &Disk,
    dir: &Path,
    log: &'static str,
    include_delivered: bool,
    mut visit: impl FnMut(u16 /* lane */, &Frame<'_>) -> io::Result<()>,
) -> Result<u64, InspectError> {
    let location = JournalLocation::find_in_data_or_journals_dir(disk, dir, log, None)?;
    let mut shown = 0;
    for (lane, snapshot) in read_snapshots_of_all_lanes(&location, include_delivered.then_some(Position::ZERO))? {
        let files = location.lane_files(lane);
        snapshot.visit_all_frames_in_order(&files, |frame| {
            shown += 1;
            visit(lane, frame)
        })?;
    }
    Ok(shown)
}
