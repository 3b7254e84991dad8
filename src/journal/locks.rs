//! The locks of the directories that the journals of all logs share: one process for each data directory, and for each
//! ring directory.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::journal::{
    disk::{Disk, try_lock_file},
    error::{OpenError, io_error, with_path},
    layout,
    ring_location::{
        find_last_ring_root_if_separate_with_own_rings, find_ring_root,
        refuse_other_ring_root_if_old_rings_may_hold_clicks,
    },
};

/// The locks of a data directory and of its ring directory, taken once for the journals of all logs. The directories
/// stay locked until the last clone is dropped; every end of a lane keeps one.
#[derive(Clone, Debug)]
pub struct DirectoryLocks {
    /// The locked files, locked as long as they are open.
    _files: Arc<Vec<File>>,
}

impl DirectoryLocks {
    /// Locks the data directory and the ring directory, created if they do not exist. `ring_dir`: as in the
    /// configuration; by default the rings lie in the data directory.
    ///
    /// # Errors
    /// See [`OpenError`]: another process has locked one of them, or the rings of the last run are elsewhere and may
    /// hold clicks.
    pub fn lock(data_dir: &Path, ring_dir: Option<&Path>) -> Result<DirectoryLocks, OpenError> {
        DirectoryLocks::lock_on_disk(&Disk::default(), data_dir, ring_dir)
    }

    pub(super) fn lock_on_disk(
        disk: &Disk,
        data_dir: &Path,
        ring_dir: Option<&Path>,
    ) -> Result<DirectoryLocks, OpenError> {
        let journals_dir = layout::journals_dir(data_dir);
        refuse_older_layout(&journals_dir)?;
        with_path(&journals_dir, disk.create_dir(&journals_dir))?;
        with_path(data_dir, disk.sync_dir(data_dir))?;
        if let Some(ring_dir) = ring_dir {
            with_path(ring_dir, disk.create_dir(ring_dir))?;
        }
        let ring_root = find_ring_root(data_dir, ring_dir)?;
        let locks = lock_data_dir_and_separate_ring_roots(data_dir, std::slice::from_ref(&ring_root))?;
        refuse_other_ring_root_if_old_rings_may_hold_clicks(disk, data_dir, &ring_root)?;
        Ok(locks)
    }

    /// Locks the data directory that another process left, and the directories in which its rings are. `ring_dir`:
    /// where the rings are now; by default where the last run had them.
    ///
    /// # Errors
    /// See [`OpenError`]: there is no journal, `ring_dir` does not exist, or another process has locked one of the
    /// directories.
    pub fn lock_existing_to_drain(data_dir: &Path, ring_dir: Option<&Path>) -> Result<DirectoryLocks, OpenError> {
        let journals_dir = layout::journals_dir(data_dir);
        refuse_older_layout(&journals_dir)?;
        let journal_dirs = with_path(&journals_dir, layout::list_journal_dirs_sorted(&journals_dir))?;
        if !journal_dirs.iter().any(|dir| dir.join(layout::DIRECTORY_ID).exists()) {
            return Err(OpenError::NoJournal { path: data_dir.to_owned() });
        }
        let mut ring_roots = Vec::new();
        match ring_dir {
            Some(named) if named.is_dir() => ring_roots.push(find_ring_root(data_dir, ring_dir)?),
            Some(named) => return Err(OpenError::NoRings { path: named.to_owned(), ring: None }),
            // The last start may have ended after it moved the rings of one log and before those of another.
            None => {
                for journal_dir in &journal_dirs {
                    let last = find_last_ring_root_if_separate_with_own_rings(&Disk::default(), journal_dir);
                    ring_roots.extend(last.map_err(|source| io_error(journal_dir, source))?);
                }
            }
        }
        ring_roots.sort_unstable();
        ring_roots.dedup();
        lock_data_dir_and_separate_ring_roots(data_dir, &ring_roots)
    }
}

/// Locks the data directory, and each ring root that is neither it nor the directory of the journals in it.
fn lock_data_dir_and_separate_ring_roots(data_dir: &Path, ring_roots: &[PathBuf]) -> Result<DirectoryLocks, OpenError> {
    let mut files = vec![lock_directory_exclusively(data_dir)?];
    let journals_dir = layout::journals_dir(data_dir);
    let absolute_data_dir = with_path(data_dir, data_dir.canonicalize())?;
    for ring_root in ring_roots.iter().filter(|root| **root != journals_dir && **root != absolute_data_dir) {
        files.push(lock_directory_exclusively(ring_root)?);
    }
    Ok(DirectoryLocks { _files: Arc::new(files) })
}

fn refuse_older_layout(journals_dir: &Path) -> Result<(), OpenError> {
    match layout::is_older_layout(journals_dir) {
        true => Err(OpenError::OlderLayout { path: journals_dir.to_owned() }),
        false => Ok(()),
    }
}

fn lock_directory_exclusively(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    match try_lock_file(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(OpenError::locked(path)),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}
