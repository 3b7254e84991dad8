//! Why the journal does not open, as its operator is told.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::size::Bytes;

/// Why the journal does not open. Each message names the path and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("another waypost runs on {path}: stop it, or give this one a directory of its own")]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// Preallocation does not hold there.
    #[error(
        "{path} lies on {kind}, where a mapped ring can lose its pages when the disk fills: set [journal] ring_dir to a \
         directory on tmpfs, ext4 or xfs"
    )]
    FileSystem {
        /// The rings' directory.
        path: PathBuf,
        /// What it lies on.
        kind: &'static str,
    },
    /// The ring's bytes cannot be set aside.
    #[error(
        "cannot set aside {} for the ring {path}: {source}; make room there, set a smaller [journal] ring_bytes or \
         another ring_dir", Bytes(*bytes)
    )]
    SetAside {
        /// The ring.
        path: PathBuf,
        /// How many bytes it needs.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A ring of another data directory lies there.
    #[error(
        "{path} is the ring of another data directory and may hold its clicks: start with that data directory, or set \
         another [journal] ring_dir, or move the file away"
    )]
    ForeignRing {
        /// The ring.
        path: PathBuf,
    },
    /// The data directory is new, and rings of another one lie where its own would be.
    #[error(
        "this data directory is new, but {path} is the ring of another one and may hold its clicks: start with that data \
         directory, or set another [journal] ring_dir; if it is gone for good, make the directory {lane}, and this one \
         takes over what the ring holds"
    )]
    OrphanRing {
        /// The ring.
        path: PathBuf,
        /// The directory that tells this one from a mistake.
        lane: PathBuf,
    },
    /// The rings of the last run are elsewhere and may hold clicks.
    #[error(
        "the last run left its rings in {was} without a clean stop, and they may hold clicks: start once with [journal] \
         ring_dir = \"{was}\" and stop it, then change to {now}; if that directory is gone for good, remove {note}"
    )]
    RingsMoved {
        /// Where they were.
        was: PathBuf,
        /// Where they are to be.
        now: PathBuf,
        /// The file that says so.
        note: PathBuf,
    },
    /// There is nothing to adopt.
    #[error("{path} holds no journal: name the data directory of a waypost")]
    NoJournal {
        /// What was named.
        path: PathBuf,
    },
    /// The rings are not where they were said to be.
    #[error(
        "{path} does not hold {}: name the directory in which the rings are now; without any, what only they held is lost and \
         stated as cut", .lane.map_or("the rings".to_owned(), |lane| format!("this directory's ring of lane {lane}"))
    )]
    NoRings {
        /// What was named.
        path: PathBuf,
        /// The lane whose ring is wanted; `None`: the directory itself is not there.
        lane: Option<u16>,
    },
    /// More lanes than can be numbered.
    #[error("{workers} workers are more lanes than the journal has numbers for: at most 9999")]
    Lanes {
        /// How many were asked for.
        workers: usize,
    },
    /// Anything else the system refused.
    #[error("cannot open the journal, {path}: {source}; see that it is on a healthy disk and belongs to this user")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}
