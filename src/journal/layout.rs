//! Names of the journal's files and directories, as drawn in [`crate::journal`].

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use crate::journal::disk::Disk;

/// The file with the checkpoints of all lanes of a log.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// The file that says how a lane's epochs ended.
pub(super) const HISTORY: &str = "history";
/// The file with a lane's numbers whose clicks are damaged or gone.
pub(super) const QUARANTINED_SEQS: &str = "quarantined";
/// The directory for damaged and foreign files, below the journal directory or the ring directory.
pub(super) const QUARANTINE: &str = "quarantine";
/// The file with the id of the journal's directory.
pub(super) const DIRECTORY_ID: &str = "directory";
/// The file that names the ring directory of the last run.
pub(super) const RINGS: &str = "rings";

/// The directory of all journals in a data directory. Each log has a journal of its own there.
pub(super) fn journals_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// The directories in which there may be a journal, one for each log, sorted; none if `journals_dir` does not exist.
pub(super) fn list_journal_dirs_sorted(journals_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    let entries = match std::fs::read_dir(journals_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dirs),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            dirs.push(path);
        }
    }
    dirs.sort_unstable();
    Ok(dirs)
}

/// Whether a start ended after it had created the journal of another log and before it created this one: this one is
/// empty then.
pub(super) fn is_log_not_created_beside_others(journals_dir: &Path, log: &str) -> io::Result<bool> {
    let journal_dir = journals_dir.join(log);
    let has_lanes = journal_dir.exists() && !list_lane_numbers_sorted(&journal_dir)?.is_empty();
    if has_lanes || journal_dir.join(DIRECTORY_ID).exists() {
        return Ok(false);
    }
    Ok(list_journal_dirs_sorted(journals_dir)?.iter().any(|dir| dir.join(DIRECTORY_ID).exists()))
}

/// Whether `journals_dir` holds the journal of an earlier build, whose files lay there directly.
pub(super) fn is_older_layout(journals_dir: &Path) -> bool {
    journals_dir.join(DIRECTORY_ID).exists()
        || list_lane_numbers_sorted(journals_dir).is_ok_and(|lanes| !lanes.is_empty())
}

/// The name of a lane's directory in the journal directory.
pub(super) fn lane_dir_name(lane: u16) -> String {
    format!("lane-{lane:04}")
}

/// The numbers of the lanes that have a directory in `journal_dir`, sorted.
pub(super) fn list_lane_numbers_sorted(journal_dir: &Path) -> io::Result<Vec<u16>> {
    let mut lanes = Vec::new();
    for entry in std::fs::read_dir(journal_dir)? {
        let name = entry?.file_name();
        lanes.extend(name.to_str().and_then(|name| name.strip_prefix("lane-")).and_then(|n| n.parse::<u16>().ok()));
    }
    lanes.sort_unstable();
    Ok(lanes)
}

pub(super) fn segment_file_name(number: u64) -> String {
    format!("{number:016}.segment")
}

/// The number in a segment's file name; `None` if it is not one.
pub(super) fn parse_segment_file_name(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_suffix(".segment")?.parse().ok()
}

/// The file name of a ring that recovery keeps for reading only.
pub(super) fn salvaged_ring_file_name(lane: u16, number: u64) -> String {
    format!("lane-{lane:04}.{number:016}.salvage")
}

/// The lane and the number in a salvaged ring's file name; `None` if it is not one.
pub(super) fn parse_salvaged_ring_file_name(name: &OsStr) -> Option<(u16, u64)> {
    let (lane, number) = name.to_str()?.strip_prefix("lane-")?.strip_suffix(".salvage")?.split_once('.')?;
    Some((lane.parse().ok()?, number.parse().ok()?))
}

/// The file name of frames whose payloads are no clicks, in the quarantine directory.
pub(super) fn malformed_frames_file_name(lane: u16) -> String {
    format!("lane-{lane:04}.malformed")
}

pub(super) fn ring_file_name(lane: u16) -> String {
    format!("lane-{lane:04}.ring")
}

/// Moves a file into the quarantine directory under a name that is free there: `name`, `name.1`, `name.2`…
/// Evidence is never deleted.
pub(super) fn move_to_quarantine_under_free_name(
    disk: &Disk,
    path: &Path,
    quarantine_dir: &Path,
    name: &OsStr,
) -> io::Result<()> {
    disk.create_dir(quarantine_dir)?;
    disk.rename(path, &find_free_path_in_quarantine(quarantine_dir, name)?)
}

/// A path in the quarantine directory that does not exist: `name`, `name.1`, `name.2`…
pub(super) fn find_free_path_in_quarantine(quarantine_dir: &Path, name: &OsStr) -> io::Result<PathBuf> {
    let name = name.to_string_lossy();
    let candidates = (0..).map(|n| match n {
        0 => quarantine_dir.join(&*name),
        n => quarantine_dir.join(format!("{name}.{n}")),
    });
    let free = candidates.take(10_000).find(|to| !to.exists());
    free.ok_or_else(|| io::Error::other("the quarantine holds 10000 files of this name"))
}
