//! The journal's one way to the disk: every effect that a crash can come between, in few words.
//!
//! Under test each effect is a counted point at which the "machine" can stop: it and all later ones fail.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{FallocateFlags, FlockOperation};

/// What is written at once while a file is zeroed.
const ZEROS: usize = 1 << 20;

/// The way to the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<faults::Faults>,
}

impl Disk {
    /// Writes all of `bytes` at `offset`.
    pub(super) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.point()?;
        file.write_all_at(bytes, offset)
    }

    /// The bytes of `file`, and its length, are on the medium.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.point()?;
        Ok(rustix::fs::fdatasync(file)?)
    }

    /// The names in `dir` are on the medium.
    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.point()?;
        Ok(rustix::fs::fsync(File::open(dir)?)?)
    }

    /// A new file, 0600; fails where one exists.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        self.point()?;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    /// A directory and those above it, 0700.
    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.point()?;
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.point()?;
        std::fs::rename(from, to)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.point()?;
        std::fs::remove_file(path)
    }

    /// Sets `len` bytes aside, writes zeros over them and syncs: a later store can neither find the disk full nor an unwritten extent.
    pub(super) fn set_aside(&self, file: &File, len: u64) -> io::Result<()> {
        self.point()?;
        rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len)?;
        let zeros = vec![0; ZEROS.min(len as usize)];
        let mut at = 0;
        while at < len {
            let part = (len - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..part as usize], at)?;
            at += part;
        }
        self.sync(file)
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, reason = "under test it can fail")]
    fn point(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn point(&self) -> io::Result<()> {
        self.faults.point()
    }
}

/// Makes a file that has its name only once its contents are synced. The caller syncs the directory.
pub(super) fn create_whole(disk: &Disk, path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<File> {
    let unfinished = path.with_extension("new");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&unfinished)?;
    let made = fill(&file).and_then(|()| disk.sync(&file)).and_then(|()| disk.rename(&unfinished, path));
    if let Err(error) = made {
        // What it took is given back: on a full disk that matters.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    Ok(file)
}

/// Takes the lock of a directory for as long as the file lives; `None`: another process has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The file systems on which preallocated blocks can still be missing under a mapped file (glibc manual, `posix_fallocate`;
/// magic numbers from linux/magic.h, OpenZFS and FUSE). `None`: they hold here.
pub(super) fn refused_file_system(dir: &Path) -> io::Result<Option<&'static str>> {
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between targets")]
    let kind = rustix::fs::statfs(dir)?.f_type as u64 & 0xffff_ffff;
    Ok(match kind {
        0x9123_683e => Some("btrfs"),
        0x2fc1_2fc1 => Some("ZFS"),
        0x6969 => Some("NFS"),
        0x6573_5546 => Some("FUSE"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0xca45_1a4e => Some("bcachefs"),
        _ => None,
    })
}

/// The kernel's id of this boot; all zeros where there is none, which matches no ring.
pub(super) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut digits = text.bytes().filter_map(|digit| (digit as char).to_digit(16));
    std::array::from_fn(|_| (digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0)) as u8)
}

#[cfg(test)]
pub(super) mod faults {
    use std::{
        io,
        sync::atomic::{AtomicU64, Ordering},
    };

    /// Counts the points passed; after `stop_at` of them everything fails.
    #[derive(Debug)]
    pub(in crate::journal) struct Faults {
        pub(in crate::journal) passed: AtomicU64,
        pub(in crate::journal) stop_at: AtomicU64,
        /// Points from `stop_at` on that fail before all is well again.
        pub(in crate::journal) failing: AtomicU64,
    }

    impl Default for Faults {
        fn default() -> Faults {
            Faults { passed: 0.into(), stop_at: u64::MAX.into(), failing: u64::MAX.into() }
        }
    }

    impl Faults {
        pub(super) fn point(&self) -> io::Result<()> {
            let passed = self.passed.fetch_add(1, Ordering::Relaxed);
            let stop_at = self.stop_at.load(Ordering::Relaxed);
            let failing = self.failing.load(Ordering::Relaxed);
            match passed >= stop_at && passed - stop_at < failing {
                true => Err(io::Error::other("the test stops the disk here")),
                false => Ok(()),
            }
        }
    }
}
