//! Detects that files changed, by the versions that the file system reports for them.
//!
//! Files are polled instead of watched by notification: polling works the same on every file system, and a mounted
//! secret or config map is replaced by switching a symbolic link far from the polled name. A change counts once two
//! successive checks saw the same versions, so that a file is not read while it is written. A writer that takes longer
//! than that replaces the file by renaming another one onto it.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The version of a file. Two versions of a file differ in at least one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Differs for a file that was rewritten and given its old modification time.
    changed: (i64, i64),
}

impl FileVersion {
    /// The version of an open file, or of the file at a path.
    pub fn from_metadata(metadata: &Metadata) -> FileVersion {
        FileVersion {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The version of the file that `path` leads to; `None` if it is missing or the file system refuses to tell.
    pub fn read(path: &Path) -> Option<FileVersion> {
        std::fs::metadata(path).ok().map(|metadata| FileVersion::from_metadata(&metadata))
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// The versions of a set of files. A file that is missing or cannot be examined has none.
pub type FileVersions = BTreeMap<PathBuf, Option<FileVersion>>;

/// Reads the versions of these files; symbolic links are followed.
pub fn read_versions(paths: impl IntoIterator<Item = PathBuf>) -> FileVersions {
    paths.into_iter().map(|path| (path.clone(), FileVersion::read(&path))).collect()
}

/// Tells whether a set of files changed since it was loaded.
#[derive(Debug, Default)]
pub struct ChangeDetector {
    /// The versions that were loaded last, whether their content was good or not.
    loaded: FileVersions,
    /// The versions of the last check, if they differ from the loaded ones.
    settling: Option<FileVersions>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// The files are at the versions that were loaded.
    Unchanged,
    /// The files are at other versions; a file may still be written to.
    Settling,
    /// The files are at other versions, and were at the check before.
    Settled,
}

impl ChangeDetector {
    /// A detector for files whose content was loaded at these versions.
    pub fn new(loaded: FileVersions) -> ChangeDetector {
        ChangeDetector { loaded, settling: None }
    }

    /// Compares the versions that the files are at now with those that were loaded, and with those of the last check.
    pub fn compare_with_loaded_and_last_check(&mut self, current: FileVersions) -> FileChange {
        if current == self.loaded {
            self.settling = None;
            FileChange::Unchanged
        } else if self.settling.as_ref() == Some(&current) {
            FileChange::Settled
        } else {
            self.settling = Some(current);
            FileChange::Settling
        }
    }

    /// Notes the versions whose content was loaded. They are to be read before the content, so that a write in between
    /// is a change.
    pub fn mark_loaded(&mut self, versions: FileVersions) {
        self.loaded = versions;
        self.settling = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Checks one file.
    fn check(detector: &mut ChangeDetector, path: &Path) -> FileChange {
        detector.compare_with_loaded_and_last_check(read_versions([path.to_owned()]))
    }

    #[test]
    fn a_change_is_settled_once_two_checks_saw_the_same_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links");
        fs::write(&path, "one").unwrap();
        let mut detector = ChangeDetector::new(read_versions([path.clone()]));
        assert_eq!(check(&mut detector, &path), FileChange::Unchanged);
        fs::write(&path, "half of").unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        fs::write(&path, "half of two").unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        assert_eq!(check(&mut detector, &path), FileChange::Settled);
        assert_eq!(check(&mut detector, &path), FileChange::Settled);
        detector.mark_loaded(read_versions([path.clone()]));
        assert_eq!(check(&mut detector, &path), FileChange::Unchanged);
    }

    #[test]
    fn a_replaced_or_missing_file_and_a_switched_link_are_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, one, two) = (dir.path().join("links"), dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "same size 1").unwrap();
        fs::write(&two, "same size 2").unwrap();
        std::os::unix::fs::symlink(&one, &path).unwrap();
        let mut detector = ChangeDetector::new(read_versions([path.clone()]));
        fs::remove_file(&path).unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        std::os::unix::fs::symlink(&two, &path).unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        assert_eq!(check(&mut detector, &path), FileChange::Settled);
        fs::rename(&one, &path).unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        fs::remove_file(&path).unwrap();
        assert_eq!(check(&mut detector, &path), FileChange::Settling);
        assert_eq!(check(&mut detector, &path), FileChange::Settled);
    }
}
