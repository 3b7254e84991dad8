//! Where the files of a log and of its lanes are.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use crate::journal::{disk::Disk, layout, units::LaneId};

/// A path beside the system's error about it.
pub(super) type PathError = (PathBuf, io::Error);

/// A segment or salvaged ring in its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NumberedFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

/// A log's journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFiles<'a> {
    pub(super) disk: &'a Disk,
    pub(super) directory_id: u64,
    /// The directory of the log's journal.
    pub(super) journal_dir: &'a Path,
}

impl LogFiles<'_> {
    /// The log's segments, by number.
    pub(super) fn list_segments(&self) -> Result<Vec<NumberedFile>, PathError> {
        list_numbered_files_sorted(self.journal_dir, layout::parse_segment_file_name)
    }

    /// Above the numbers of the salvaged rings of all lanes.
    pub(super) fn find_number_above_salvaged_rings(&self) -> Result<u64, PathError> {
        let number = |name: &OsStr| layout::parse_salvaged_ring_file_name(name).map(|(_, number)| number);
        Ok(list_numbered_files_sorted(self.journal_dir, number)?.last().map_or(0, |last| last.number + 1))
    }
}

/// A lane and the directories that its files are in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneFiles<'a> {
    pub(super) disk: &'a Disk,
    pub(super) lane_id: LaneId,
    /// The directory of the log's journal.
    pub(super) journal_dir: &'a Path,
    /// The directory of the log's rings.
    pub(super) ring_dir: &'a Path,
}

impl LaneFiles<'_> {
    /// The lane's directory.
    pub(super) fn dir(&self) -> PathBuf {
        self.journal_dir.join(layout::lane_dir_name(self.lane_id.lane))
    }

    pub(super) fn ring_path(&self) -> PathBuf {
        self.ring_dir.join(layout::ring_file_name(self.lane_id.lane))
    }

    /// The file with the checkpoints of all lanes of the log.
    pub(super) fn checkpoints_path(&self) -> PathBuf {
        self.journal_dir.join(layout::CHECKPOINTS)
    }

    /// The rings that earlier recoveries kept for reading, by number.
    pub(super) fn list_salvaged_rings(&self) -> Result<Vec<NumberedFile>, PathError> {
        let own = |name: &OsStr| {
            layout::parse_salvaged_ring_file_name(name).filter(|(lane, _)| *lane == self.lane_id.lane).map(|(_, n)| n)
        };
        list_numbered_files_sorted(self.journal_dir, own)
    }
}

/// The files in `dir` in whose names `parse_number` finds a number, sorted by it.
fn list_numbered_files_sorted(
    dir: &Path,
    parse_number: impl Fn(&OsStr) -> Option<u64>,
) -> Result<Vec<NumberedFile>, PathError> {
    let mut files = Vec::new();
    let failed = |error| (dir.to_owned(), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(&parse_number);
        files.extend(number.map(|number| NumberedFile { number, path: path.clone() }));
    }
    files.sort_unstable();
    Ok(files)
}
