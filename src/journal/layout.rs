//! Where the journal's files lie. The picture is in [`crate::journal`].

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use crate::journal::disk::Disk;

/// A lane's checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// How a lane's epochs ended.
pub(super) const HISTORY: &str = "history";
/// Where damaged and strange files go, below the journal's or the rings' directory.
pub(super) const QUARANTINE: &str = "quarantine";
/// The file with the directory's id.
pub(super) const DIRECTORY: &str = "directory";
/// The file that says where the rings of the last run are.
pub(super) const RINGS: &str = "rings";

/// The journal's part of the data directory.
pub(super) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// A lane's directory, below the journal's or the ring directory.
pub(super) fn lane_name(lane: u16) -> String {
    format!("lane-{lane:04}")
}

/// The lanes that have a directory in `journal_dir`, sorted.
pub(super) fn lanes(journal_dir: &Path) -> io::Result<Vec<u16>> {
    let mut lanes = Vec::new();
    for entry in std::fs::read_dir(journal_dir)? {
        let name = entry?.file_name();
        lanes.extend(name.to_str().and_then(|name| name.strip_prefix("lane-")).and_then(|n| n.parse::<u16>().ok()));
    }
    lanes.sort_unstable();
    Ok(lanes)
}

/// A segment's name.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016}.segment")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_suffix(".segment")?.parse().ok()
}

/// The name of a ring that was put aside to be read, not written.
pub(super) fn salvage_name(lane: u16, number: u64) -> String {
    format!("lane-{lane:04}.{number:016}.salvage")
}

/// The lane and number in the name of a salvaged ring.
pub(super) fn salvage_number(name: &OsStr) -> Option<(u16, u64)> {
    let (lane, number) = name.to_str()?.strip_prefix("lane-")?.strip_suffix(".salvage")?.split_once('.')?;
    Some((lane.parse().ok()?, number.parse().ok()?))
}

/// A ring's name in its directory.
pub(super) fn ring_name(lane: u16) -> String {
    format!("lane-{lane:04}.ring")
}

/// Moves a file to the quarantine under a name that is free there. Evidence is never deleted.
pub(super) fn put_aside(disk: &Disk, path: &Path, quarantine: &Path, name: &OsStr) -> io::Result<()> {
    disk.create_dir(quarantine)?;
    let name = name.to_string_lossy();
    let free = (0..).map(|n| match n {
        0 => quarantine.join(&*name),
        n => quarantine.join(format!("{name}.{n}")),
    });
    match free.take(10_000).find(|to| !to.exists()) {
        Some(to) => disk.rename(path, &to),
        None => Err(io::Error::other("the quarantine is full of files of one name")),
    }
}
