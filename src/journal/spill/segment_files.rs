//! The files of a log: its segments and salvaged rings, and which lanes still need each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
};

use crate::journal::{disk::Disk, layout, segment_index::IndexedFile};

/// The files of a log. A file is removed once no lane needs it.
#[derive(Debug)]
pub(super) struct SegmentFiles {
    disk: Disk,
    dir: PathBuf,
    quarantine: PathBuf,
    files: BTreeMap<u64, SharedFile>,
}

#[derive(Debug)]
struct SharedFile {
    path: PathBuf,
    /// Bytes that the file takes on the disk.
    bytes: u64,
    /// A lane could not read something in it. Such a file goes to the quarantine and is never deleted.
    damaged: bool,
    /// The lanes that have frames in it above their durable checkpoint.
    users: BTreeSet<u16>,
}

impl SegmentFiles {
    /// `dir`: the directory of the log's journal.
    pub(super) fn new(disk: Disk, dir: PathBuf, quarantine: PathBuf) -> SegmentFiles {
        SegmentFiles { disk, dir, quarantine, files: BTreeMap::new() }
    }

    pub(super) fn is_known(&self, number: u64) -> bool {
        self.files.contains_key(&number)
    }

    pub(super) fn is_without_user(&self, number: u64) -> bool {
        self.files.get(&number).is_some_and(|file| file.users.is_empty())
    }

    /// Bytes that all files take on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// Adds a file, without users.
    pub(super) fn add_if_unknown(&mut self, number: u64, file: &IndexedFile) {
        let IndexedFile { path, bytes, damaged, .. } = file;
        let new = || SharedFile { path: path.clone(), bytes: *bytes, damaged: *damaged, users: BTreeSet::new() };
        self.files.entry(number).or_insert_with(new);
    }

    /// Notes that the file has grown to so many bytes.
    pub(super) fn grow(&mut self, number: u64, bytes: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.bytes = file.bytes.max(bytes);
        }
    }

    /// Notes that the lane needs the file.
    pub(super) fn add_user(&mut self, number: u64, lane: u16) {
        if let Some(file) = self.files.get_mut(&number) {
            file.users.insert(lane);
        }
    }

    /// Notes that the lane does not need the file any more, and whether it has found damage in it.
    pub(super) fn remove_user(&mut self, number: u64, lane: u16, has_found_damage: bool) {
        if let Some(file) = self.files.get_mut(&number) {
            file.users.remove(&lane);
            file.damaged |= has_found_damage;
        }
    }

    /// Removes the files that no lane needs, except the segment that is being written. Damaged ones are moved to the
    /// quarantine.
    pub(super) fn remove_or_quarantine_files_without_user(&mut self, open_file_number: Option<u64>) -> io::Result<()> {
        let passed: Vec<u64> = self
            .files
            .iter()
            .filter(|(number, file)| file.users.is_empty() && Some(**number) != open_file_number)
            .map(|(number, _)| *number)
            .collect();
        if passed.is_empty() {
            return Ok(());
        }
        for file in passed.into_iter().filter_map(|number| self.files.remove(&number)) {
            let removed = match file.path.file_name().filter(|_| file.damaged) {
                Some(name) => {
                    layout::move_to_quarantine_under_free_name(&self.disk, &file.path, &self.quarantine, name)
                }
                None => self.disk.remove(&file.path),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // The next start finds that the segment is delivered, and removes it.
                    tracing::warn!(path = %file.path.display(), %error, "cannot remove a delivered segment");
                }
                _ => {}
            }
        }
        self.disk.sync_dir(&self.dir)
    }
}
