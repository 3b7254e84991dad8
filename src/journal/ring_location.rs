//! Where the rings of the last run are. A start refuses to look elsewhere while these may hold clicks.
//!
//! The ring root is the directory in which each log has a directory for its rings: `ring_dir` of the configuration, or
//! the directory of the journals.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::journal::{
    checkpoint::{Checkpoint, CheckpointLookup, read_newer_valid_checkpoint},
    disk::Disk,
    error::{OpenError, io_error, with_path},
    identity::{create_or_replace_synced_file, read_directory_id_if_present},
    layout,
    ring_file::{RingFile, RingLookup},
    units::LaneId,
};

/// Stands in the file for the directory of the journals, so that a data directory can be moved.
const JOURNALS_DIR: &[u8] = b".";

/// The ring root: `ring_dir`, which exists, as an absolute path; without it, the directory of the journals.
pub(super) fn find_ring_root(data_dir: &Path, ring_dir: Option<&Path>) -> Result<PathBuf, OpenError> {
    let journals_dir = layout::journals_dir(data_dir);
    let Some(ring_dir) = ring_dir else { return Ok(journals_dir) };
    let absolute = |dir: &Path| with_path(dir, dir.canonicalize());
    // Absolute, because the next start may have another working directory, and would not find the rings.
    let ring_root = absolute(ring_dir)?;
    Ok(if ring_root == absolute(&journals_dir)? { journals_dir } else { ring_root })
}

/// Refuses a start whose rings are elsewhere than those of the last run, while the old ones may hold clicks. Checks the
/// journals of all logs, before any of them is opened: otherwise one log could have its rings in the new place and
/// another one clicks in the old place, and no configuration would find both.
///
/// # Errors
/// [`OpenError::RingsMoved`] if the last run had its rings in another directory and a lane was not closed in good
/// order.
pub(super) fn refuse_other_ring_root_if_old_rings_may_hold_clicks(
    disk: &Disk,
    data_dir: &Path,
    ring_root: &Path,
) -> Result<(), OpenError> {
    let journals_dir = layout::journals_dir(data_dir);
    for journal_dir in with_path(&journals_dir, layout::list_journal_dirs_sorted(&journals_dir))? {
        let note = journal_dir.join(layout::RINGS);
        let was = with_path(&note, read_ring_root_of_last_run(&journal_dir))?.filter(|was| was != ring_root);
        if let Some(was) = was
            && !with_path(&journal_dir, are_all_lanes_closed_cleanly(disk, &journal_dir))?
        {
            return Err(OpenError::RingsMoved { was, now: ring_root.to_owned(), note });
        }
    }
    Ok(())
}

/// Stores the ring root of this run, if it is not the one of the last run.
pub(super) fn store_ring_root_if_changed(disk: &Disk, journal_dir: &Path, ring_root: &Path) -> Result<(), OpenError> {
    let was = read_ring_root_of_last_run(journal_dir);
    if was.map_err(|source| io_error(&journal_dir.join(layout::RINGS), source))?.as_deref() == Some(ring_root) {
        return Ok(());
    }
    let is_default = Some(ring_root) == journal_dir.parent();
    let text = if is_default { JOURNALS_DIR } else { ring_root.as_os_str().as_encoded_bytes() };
    create_or_replace_synced_file(disk, journal_dir, layout::RINGS, text)
}

/// Reads the ring root of the last run; `None`: no run has stored one.
pub(super) fn read_ring_root_of_last_run(journal_dir: &Path) -> io::Result<Option<PathBuf>> {
    match std::fs::read(journal_dir.join(layout::RINGS)) {
        Ok(text) if text == JOURNALS_DIR => Ok(journal_dir.parent().map(Path::to_owned)),
        Ok(text) => Ok(Some(PathBuf::from(OsString::from_vec(text)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The ring root of the last run, if it is not the directory of the journals and holds rings of this journal. On
/// another machine, the path may not exist or belong to another edge.
pub(super) fn find_last_ring_root_if_separate_with_own_rings(
    disk: &Disk,
    journal_dir: &Path,
) -> io::Result<Option<PathBuf>> {
    let ring_root = read_ring_root_of_last_run(journal_dir)?.filter(|root| Some(&**root) != journal_dir.parent());
    let (Some(ring_root), Some(log)) = (ring_root, journal_dir.file_name()) else { return Ok(None) };
    let directory_id = read_directory_id_if_present(disk, &journal_dir.join(layout::DIRECTORY_ID)).unwrap_or_default();
    let is_own = |path: &Path| match RingFile::open_and_verify_header(disk, path, false) {
        Ok(RingLookup::Found(ring)) => Ok(directory_id.is_none_or(|id| ring.header.lane_id.directory_id == id)),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    let entries = match std::fs::read_dir(ring_root.join(log)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ring") && is_own(&path)? {
            return Ok(Some(ring_root));
        }
    }
    Ok(None)
}

/// The first lane that was not closed in good order and whose ring is not in `ring_dir`.
pub(super) fn find_first_unclean_lane_without_ring_in(
    disk: &Disk,
    journal_dir: &Path,
    ring_dir: &Path,
    directory_id: u64,
) -> io::Result<Option<u16>> {
    for lane in layout::list_lane_numbers_sorted(journal_dir)? {
        if was_lane_opened_and_not_closed_cleanly(disk, journal_dir, LaneId { directory_id, lane })? {
            let ring = RingFile::open_and_verify_header(disk, &ring_dir.join(layout::ring_file_name(lane)), false)?;
            if !matches!(ring, RingLookup::Found(ring) if ring.header.lane_id.directory_id == directory_id) {
                return Ok(Some(lane));
            }
        }
    }
    Ok(None)
}

/// Whether every lane was closed in good order. Where the directory's id cannot be read, no checkpoint can be, and no
/// lane counts as closed.
fn are_all_lanes_closed_cleanly(disk: &Disk, journal_dir: &Path) -> io::Result<bool> {
    let directory_id = match read_directory_id_if_present(disk, &journal_dir.join(layout::DIRECTORY_ID)) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        id => id.ok().flatten(),
    };
    for lane in layout::list_lane_numbers_sorted(journal_dir)? {
        let Some(directory_id) = directory_id else { return Ok(false) };
        if was_lane_opened_and_not_closed_cleanly(disk, journal_dir, LaneId { directory_id, lane })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the lane was opened and not closed in good order, as far as is known. A lane whose slots were never written
/// has no ring either. The file of the checkpoints is older than the directory of any lane, so somebody has removed it
/// where it is not there.
fn was_lane_opened_and_not_closed_cleanly(disk: &Disk, journal_dir: &Path, lane_id: LaneId) -> io::Result<bool> {
    let path = journal_dir.join(layout::CHECKPOINTS);
    if !path.try_exists()? {
        return Ok(true);
    }
    Ok(match read_newer_valid_checkpoint(disk, &path, lane_id)? {
        CheckpointLookup::NeverWritten | CheckpointLookup::Found(Checkpoint { clean_head: Some(_), .. }) => false,
        CheckpointLookup::Unreadable | CheckpointLookup::Found(_) => true,
    })
}
