//! Files that change: looked at now and then, by what the file system says about them.
//!
//! Looking is done instead of listening because it is the same on every file system, and because a mounted secret or
//! config map is replaced by switching a symbolic link far from the watched name. A version counts as new once two looks
//! in a row saw the same, so that a file is not taken while it is being written. Who writes slower than that replaces the
//! file by renaming another one onto it.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Which version of a file this is: another one differs in at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Catches a file that was rewritten and given its old modification time.
    changed: (i64, i64),
}

impl Version {
    /// The version an open file, or a path, is at.
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The modification time, milliseconds since the epoch.
    pub fn modified_ms(&self) -> u64 {
        let seconds = u64::try_from(self.modified.0).unwrap_or(0);
        seconds * 1000 + u64::try_from(self.modified.1).unwrap_or(0) / 1_000_000
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// One file under watch.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// What was taken last, whether it was good or not.
    taken: Option<Version>,
    /// What the last look saw, if that was something else.
    settling: Option<Version>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The version that was taken.
    Same,
    /// Another version, perhaps still being written.
    Settling,
    /// Another version, the same at two looks.
    New,
}

impl Watch {
    /// Watches the file behind `path`; symbolic links are followed. `taken` is the version its user has read.
    pub fn new(path: impl Into<PathBuf>, taken: Option<Version>) -> Watch {
        Watch { path: path.into(), taken, settling: None }
    }

    /// The path under watch.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a look. An error (most often: no such file) is not a new version; a file that comes back is one only if it
    /// differs from the one taken.
    pub fn look(&mut self) -> io::Result<Seen> {
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => Version::of(&metadata),
            Err(error) => {
                self.settling = None;
                return Err(error);
            }
        };
        let settled = self.settling.replace(now) == Some(now);
        Ok(if self.taken == Some(now) {
            self.settling = None;
            Seen::Same
        } else if settled {
            Seen::New
        } else {
            Seen::Settling
        })
    }

    /// Says that this version was read, so that it is not new any more. Say the version of the *open* file, taken before
    /// reading: what is written meanwhile is then new again.
    pub fn take(&mut self, version: Version) {
        self.taken = Some(version);
        self.settling = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn version(path: &Path) -> Version {
        Version::of(&fs::metadata(path).unwrap())
    }

    #[test]
    fn a_version_is_new_once_two_looks_saw_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links");
        fs::write(&path, "one").unwrap();
        let mut watch = Watch::new(&path, Some(version(&path)));
        assert_eq!(watch.look().unwrap(), Seen::Same);
        fs::write(&path, "half of").unwrap();
        assert_eq!(watch.look().unwrap(), Seen::Settling);
        fs::write(&path, "half of two").unwrap();
        assert_eq!(watch.look().unwrap(), Seen::Settling);
        assert_eq!(watch.look().unwrap(), Seen::New);
        assert_eq!(watch.look().unwrap(), Seen::New);
        watch.take(version(&path));
        assert_eq!(watch.look().unwrap(), Seen::Same);
    }

    #[test]
    fn a_file_that_was_replaced_or_switched_behind_a_link_is_new_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, one, two) = (dir.path().join("links"), dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "same size 1").unwrap();
        fs::write(&two, "same size 2").unwrap();
        std::os::unix::fs::symlink(&one, &path).unwrap();
        let mut watch = Watch::new(&path, Some(version(&path)));
        fs::remove_file(&path).unwrap();
        assert!(watch.look().is_err());
        std::os::unix::fs::symlink(&two, &path).unwrap();
        assert_eq!(watch.look().unwrap(), Seen::Settling);
        assert_eq!(watch.look().unwrap(), Seen::New);
        fs::rename(&one, &path).unwrap();
        assert_eq!(watch.look().unwrap(), Seen::Settling);
    }
}
