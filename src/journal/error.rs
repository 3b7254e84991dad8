//! Why the journal cannot be opened, in messages for the operator.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{journal::lane_files::PathError, lock_holder::describe_lock_holder, size::Bytes};

/// Why the journal cannot be opened. Each message names the path and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has locked the directory.
    #[error("another waypost runs on {path}{holder}: stop it, or give this one a directory of its own")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// ` (process PID)`, as far as the system tells.
        holder: String,
    },
    /// The ring directory is on a file system where preallocated blocks can be missing.
    #[error(
        "{path} is on {kind}, where a mapped ring may lose its pages when the disk fills: set [journal] ring_dir to a \
         directory on tmpfs, ext4 or xfs"
    )]
    FileSystem {
        /// The ring directory.
        path: PathBuf,
        /// The kind of its file system.
        kind: String,
    },
    /// The ring shares blocks with a copy of it, and they cannot be written anew.
    #[error(
        "the ring {path} shares its blocks with a copy (cp, a snapshot), and there must be room for blocks of its own: \
         {source}; remove the copy, or make room there"
    )]
    SharedRing {
        /// The ring.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The bytes of a ring cannot be preallocated.
    #[error(
        "cannot preallocate {} for the ring {path}: {source}; make room there, set a smaller ring_bytes in [journal] \
         or [journal.orphan], or another [journal] ring_dir", Bytes(*bytes)
    )]
    Preallocate {
        /// The ring.
        path: PathBuf,
        /// The bytes that it needs.
        bytes: u64,
        /// The system's error.
        source: io::Error,
    },
    /// A ring of another data directory has the name of this one's.
    #[error(
        "{path} is the ring of another data directory and may hold its clicks: start with that data directory, or set \
         another [journal] ring_dir, or move the file away"
    )]
    ForeignRing {
        /// The ring.
        path: PathBuf,
    },
    /// The log is new in the data directory, and there are rings of another data directory in the ring directory.
    #[error(
        "this data directory is new, but {path} is the ring of another one and may hold its clicks: start with that \
         data directory, or set another [journal] ring_dir; if that data directory is gone for good, make the \
         directory {lane}, and this data directory takes over what the ring holds"
    )]
    ForeignRingBesideNewJournal {
        /// The ring.
        path: PathBuf,
        /// The directory that tells a takeover from a mistake.
        lane: PathBuf,
    },
    /// The rings of the last run are in another directory and may hold clicks.
    #[error(
        "the last run left its rings in {was} without a clean stop, and they may hold clicks: start once with \
         [journal] ring_dir = \"{was}\" and stop it, then change to {now}; if that directory is gone for good, remove \
         {note}"
    )]
    RingsMoved {
        /// The ring directory of the last run.
        was: PathBuf,
        /// The ring directory of this run.
        now: PathBuf,
        /// The file that names the ring directory of the last run.
        note: PathBuf,
    },
    /// The directory holds the journal of an earlier build, in which one lane carried all topics.
    #[error("{}", older_layout_text(path))]
    OlderLayout {
        /// The directory of the journal.
        path: PathBuf,
    },
    /// The directory holds no journal.
    #[error("{path} holds no journal: name the data directory of a waypost")]
    NoJournal {
        /// The given directory.
        path: PathBuf,
    },
    /// The given ring directory does not hold the rings.
    #[error(
        "{path} does not hold {}: name the directory in which the rings are now; without any, clicks that only the \
         rings held are lost, and the lanes are stated as cut",
        .ring.as_ref().map_or("the rings".to_owned(), |ring| format!("this directory's ring {}", ring.display()))
    )]
    NoRings {
        /// The given ring directory.
        path: PathBuf,
        /// The ring that is missing, below the ring directory; `None`: the directory itself does not exist.
        ring: Option<PathBuf>,
    },
    /// More workers than the journal has lane numbers for.
    #[error("{workers} workers are more lanes than the journal has numbers for: at most 9999")]
    TooManyLanes {
        /// The number of workers.
        workers: usize,
    },
    /// Any other error of the system.
    #[error("cannot open the journal, {path}: {source}; see that it is on a healthy disk and belongs to this user")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl OpenError {
    /// Another process has locked the file.
    pub(super) fn locked(path: PathBuf) -> OpenError {
        let holder = describe_lock_holder(&path);
        OpenError::Locked { path, holder }
    }
}

impl From<PathError> for OpenError {
    fn from((path, source): PathError) -> OpenError {
        OpenError::Io { path, source }
    }
}

/// What a user is told who gives this build the journal of an earlier one.
pub(super) fn older_layout_text(path: &Path) -> String {
    format!(
        "{0} holds the journal of an earlier build, which this build does not read: deliver it with the build that \
         wrote it (waypost journal drain), then move {0} away",
        path.display()
    )
}

pub(super) fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// Adds the path to a failed result.
pub(super) fn with_path<T>(path: &Path, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|source| io_error(path, source))
}
