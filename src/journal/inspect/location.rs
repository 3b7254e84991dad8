//! Finds the journal and its rings from the data directory.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::journal::{
    disk::Disk,
    error::older_layout_text,
    identity::{find_directory_id_in_rings_or_segments, read_directory_id_if_present},
    lane_files::{LaneFiles, LogFiles, PathError},
    layout,
    ring_location::read_ring_root_of_last_run,
    scan::{LogScan, ScannedLane},
    units::LaneId,
};

/// Why a data directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No journal was ever opened there.
    #[error("{path} holds no journal: name the data directory of a waypost (--data-dir)")]
    NoJournal {
        /// The given directory.
        path: PathBuf,
    },
    /// The directory holds the journal of an earlier build, in which one lane carried all topics.
    #[error("{}", older_layout_text(path))]
    OlderLayout {
        /// The directory of the journal.
        path: PathBuf,
    },
    /// An error of the system.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl From<PathError> for InspectError {
    fn from((path, source): PathError) -> InspectError {
        InspectError::Io { path, source }
    }
}

/// The journal of a log in a data directory, and its rings.
#[derive(Debug)]
pub(in crate::journal) struct JournalLocation {
    disk: Disk,
    pub(super) log: &'static str,
    pub(super) journal_dir: PathBuf,
    pub(super) ring_dir: PathBuf,
    pub(super) directory_id: u64,
    /// The file with the id is damaged; a ring or a segment has named it.
    pub(super) is_id_damaged: bool,
}

/// A file in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantinedFile {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl JournalLocation {
    /// Finds the journal of `log` in `dir`, which is a data directory or the directory of the journals in it.
    /// `other_ring_root`: the ring root, if it is not the one of the last run.
    pub(in crate::journal) fn find_in_data_or_journals_dir(
        disk: &Disk,
        dir: &Path,
        log: &'static str,
        other_ring_root: Option<&Path>,
    ) -> Result<JournalLocation, InspectError> {
        let inner = layout::journals_dir(dir);
        let journals_dir = if inner.is_dir() { inner } else { dir.to_owned() };
        let journal_dir = journals_dir.join(log);
        let path = journal_dir.join(layout::DIRECTORY_ID);
        let mut is_id_damaged = false;
        let ring_root = match other_ring_root {
            Some(ring_root) => Some(ring_root.to_owned()),
            None => read_ring_root_of_last_run(&journal_dir).map_err(|error| (journal_dir.clone(), error))?,
        };
        let ring_dir = ring_root.unwrap_or_else(|| journals_dir.clone()).join(log);
        let found = match read_directory_id_if_present(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                is_id_damaged = true;
                find_directory_id_in_rings_or_segments(disk, &journal_dir, &ring_dir)
            }
            found => found,
        };
        let directory_id = match found.map_err(|error| (path, error))? {
            Some(directory_id) => directory_id,
            None if is_id_damaged => return Err(InspectError::NoJournal { path: dir.to_owned() }),
            None if layout::is_older_layout(&journals_dir) => {
                return Err(InspectError::OlderLayout { path: journals_dir });
            }
            None => match layout::is_log_not_created_beside_others(&journals_dir, log) {
                // Without lanes, nothing asks for the id.
                Ok(true) => 0,
                Ok(false) => return Err(InspectError::NoJournal { path: dir.to_owned() }),
                Err(source) => return Err(InspectError::Io { path: journals_dir, source }),
            },
        };
        Ok(JournalLocation { disk: disk.clone(), log, journal_dir, ring_dir, directory_id, is_id_damaged })
    }

    pub(in crate::journal) fn list_lane_numbers_sorted(&self) -> Result<Vec<u16>, InspectError> {
        if !self.journal_dir.exists() {
            return Ok(Vec::new());
        }
        Ok(layout::list_lane_numbers_sorted(&self.journal_dir).map_err(|source| (self.journal_dir.clone(), source))?)
    }

    pub(in crate::journal) fn lane_files(&self, lane: u16) -> LaneFiles<'_> {
        let lane_id = LaneId { directory_id: self.directory_id, lane };
        LaneFiles { disk: &self.disk, lane_id, journal_dir: &self.journal_dir, ring_dir: &self.ring_dir }
    }

    /// Scans the segments of the log once. `lanes`: what is known of each lane before. Files of another version or
    /// directory count as foreign files of the first lane.
    pub(super) fn scan_segments(
        &self,
        lanes: BTreeMap<u16, ScannedLane>,
    ) -> Result<BTreeMap<u16, ScannedLane>, InspectError> {
        if !self.journal_dir.exists() {
            return Ok(lanes);
        }
        let files = LogFiles { disk: &self.disk, directory_id: self.directory_id, journal_dir: &self.journal_dir };
        let LogScan { mut lanes, foreign, .. } = LogScan::scan_segments(&files, lanes)?;
        if let Some(mut first) = lanes.first_entry() {
            first.get_mut().scan.foreign.extend(foreign);
        }
        Ok(lanes)
    }

    /// The files in the quarantines of the journal directory and the ring directory, sorted.
    pub(super) fn list_quarantined_files(&self) -> Vec<QuarantinedFile> {
        let mut files = Vec::new();
        for base in [&self.journal_dir, &self.ring_dir] {
            let Ok(entries) = std::fs::read_dir(base.join(layout::QUARANTINE)) else { continue };
            files.extend(entries.flatten().map(|entry| {
                let bytes = entry.metadata().map_or(0, |meta| meta.len());
                QuarantinedFile { path: entry.path(), bytes }
            }));
        }
        files.sort();
        files.dedup();
        files
    }
}
