//! The disk operations of the journal. A crash can come between any two of them.
//!
//! Under test each operation is counted, and the test can make it and all later ones fail.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::Instant,
};

use rustix::{fs::FallocateFlags, io::Errno};

use super::pending_io::{PendingIo, PendingIoTimer};

/// Bytes written at once while a file is filled with zeros.
const ZEROS: usize = 1 << 20;

/// Performs the disk operations of the journal and notes since when one has not returned.
#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Disk {
    pending: Arc<PendingIo>,
    #[cfg(test)]
    pub(in crate::journal) faults: Arc<crate::journal::tests::faults::Faults>,
}

/// An operation that is about to be performed.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "the fields are for the tests' faults"))]
pub(in crate::journal) enum DiskOperation<'a> {
    Write { file: &'a File, offset: u64, len: usize },
    Preallocate,
    Sync(&'a File),
    Create(&'a Path),
    Rename { from: &'a Path, to: &'a Path },
    Remove(&'a Path),
    SyncDir(&'a Path),
}

impl Disk {
    /// Tells another thread how long the disk has not answered.
    pub(in crate::journal) fn pending_io_timer(&self) -> PendingIoTimer {
        PendingIoTimer(self.pending.clone())
    }

    /// The time on the clock by which the duration of operations is measured. A test can let it run ahead, as if the
    /// disk were slow.
    #[allow(clippy::unused_self, reason = "under test the disk has a clock of its own")]
    pub(in crate::journal) fn now(&self) -> Instant {
        #[cfg(not(test))]
        return Instant::now();
        #[cfg(test)]
        return Instant::now() + self.faults.simulated_sync_time();
    }

    /// The same disk for another thread: its operations are not seen by [`Disk::pending_io_timer`] of this one.
    pub(in crate::journal) fn with_own_pending_io_timer(&self) -> Disk {
        let mut disk = self.clone();
        disk.pending = Arc::default();
        disk
    }

    /// Writes all of `bytes` at `offset`.
    pub(in crate::journal) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let operation = DiskOperation::Write { file, offset, len: bytes.len() };
        self.run_as_pending_operation_unless_fault_injected(&operation, || file.write_all_at(bytes, offset))
    }

    /// Syncs the bytes and the length of `file`. Fails if the file has no name any more.
    pub(in crate::journal) fn sync_file_and_fail_if_unlinked(&self, file: &File) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Sync(file), || {
            rustix::fs::fdatasync(file)?;
            // A file that was removed meanwhile is gone with this process, synced or not.
            match rustix::fs::fstat(file)?.st_nlink {
                0 => Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed by somebody else")),
                _ => Ok(()),
            }
        })
    }

    /// Syncs the names in `dir`.
    pub(in crate::journal) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::SyncDir(dir), || {
            Ok(rustix::fs::fsync(File::open(dir)?)?)
        })
    }

    /// Runs a store into a mapped file as a pending operation, for the store waits as long as a frozen disk does.
    pub(in crate::journal) fn run_mapped_store_as_pending_io(&self, store: impl FnOnce()) {
        self.pending.begin();
        store();
        self.pending.end();
    }

    /// Creates a file with mode 0600. Fails if the name exists.
    pub(in crate::journal) fn create_new_file_with_mode_0600(&self, path: &Path) -> io::Result<File> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Create(path), || {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
        })
    }

    /// Creates a directory and its parents with mode 0700, where they do not exist.
    pub(in crate::journal) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Create(path), || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        })
    }

    pub(in crate::journal) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Rename { from, to }, || {
            std::fs::rename(from, to)
        })
    }

    pub(in crate::journal) fn remove(&self, path: &Path) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Remove(path), || std::fs::remove_file(path))
    }

    /// Preallocates the `len` bytes from `offset` on, writes zeros over them and syncs: a later store meets neither a
    /// full disk nor an unwritten extent.
    pub(in crate::journal) fn preallocate_zeroed_and_sync(
        &self,
        file: &File,
        mut offset: u64,
        len: u64,
    ) -> io::Result<()> {
        self.run_as_pending_operation_unless_fault_injected(&DiskOperation::Preallocate, || {
            rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len)?;
            let zeros = vec![0; ZEROS.min(len as usize)];
            let end = offset + len;
            while offset < end {
                let part = (end - offset).min(zeros.len() as u64);
                file.write_all_at(&zeros[..part as usize], offset)?;
                offset += part;
            }
            Ok(())
        })?;
        self.sync_file_and_fail_if_unlinked(file)
    }

    /// Gives the mapped `file` blocks of its own where it shares them with a copy (`cp` on XFS): a store into a shared
    /// block needs a new one, and a mapped store cannot be told that there is none. Does nothing to a file that shares
    /// none, and on a file system that cannot share.
    ///
    /// # Errors
    /// There is no room for the blocks, or the disk fails.
    pub(in crate::journal) fn unshare_blocks(&self, file: &File, len: u64) -> io::Result<()> {
        self.pending.begin();
        let unshared = rustix::fs::fallocate(file, FallocateFlags::UNSHARE_RANGE, 0, len);
        self.pending.end();
        match unshared {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn run_as_pending_operation_unless_fault_injected<T>(
        &self,
        operation: &DiskOperation<'_>,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.fail_if_test_says_so(operation)?;
        self.pending.begin();
        let result = call();
        self.pending.end();
        result
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, reason = "under test it can fail")]
    fn fail_if_test_says_so(&self, _: &DiskOperation<'_>) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn fail_if_test_says_so(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        self.faults.before(operation)
    }
}
