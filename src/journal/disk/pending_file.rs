//! Files that get their name only once their contents are synced.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::operations::Disk;

/// A new file that has a temporary name until [`PendingFile::write_start_sync_and_rename`]. Dropped before that, the
/// file is removed: on a full disk its room is needed.
#[derive(Debug)]
pub(in crate::journal) struct PendingFile {
    file: Option<File>,
    temporary_path: PathBuf,
    disk: Disk,
}

impl PendingFile {
    /// Creates the file that will get the name `final_path`. Removes what an earlier try left under the temporary name.
    pub(in crate::journal) fn create_temporary_replacing_leftover(
        disk: &Disk,
        final_path: &Path,
    ) -> io::Result<PendingFile> {
        let temporary_path = final_path.with_extension("new");
        match disk.remove(&temporary_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = Some(disk.create_new_file_with_mode_0600(&temporary_path)?);
        Ok(PendingFile { file, temporary_path, disk: disk.clone() })
    }

    pub(in crate::journal) fn preallocate_zeroed_and_sync(&self, len: u64) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| self.disk.preallocate_zeroed_and_sync(file, 0, len))
    }

    pub(in crate::journal) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| self.disk.write_at(file, bytes, offset))
    }

    /// Writes the first bytes of the file, syncs it and renames it to `path`. The caller syncs the directory.
    pub(in crate::journal) fn write_start_sync_and_rename(mut self, start: &[u8], path: &Path) -> io::Result<File> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        self.disk.write_at(file, start, 0)?;
        self.disk.sync_file_and_fail_if_unlinked(file)?;
        self.disk.rename(&self.temporary_path, path)?;
        self.file.take().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.disk.remove(&self.temporary_path);
        }
    }
}
