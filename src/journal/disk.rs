//! The journal's one way to the disk: every effect that a crash can come between, in few words.
//!
//! Under test each effect is a counted point at which the "machine" can stop: it and all later ones fail.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, FlockOperation};

/// What is written at once while a file is zeroed.
const ZEROS: usize = 1 << 20;

/// The way to the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    asked: Arc<Asked>,
    #[cfg(test)]
    pub(super) faults: Arc<crate::journal::tests::faults::Faults>,
}

/// Since when the disk has been asked for something without an answer. One thread asks, another may look.
#[derive(Debug)]
pub(super) struct Asked {
    made: Instant,
    /// Nanoseconds after `made`; 0: nothing is asked.
    at: AtomicU64,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { made: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Asked {
    /// How long the answer is awaited.
    pub(super) fn waiting(&self, now: Instant) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed);
        (at > 0).then(|| now.saturating_duration_since(self.made).saturating_sub(Duration::from_nanos(at)))
    }

    fn begin(&self) {
        self.at.store(self.made.elapsed().as_nanos() as u64 | 1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.at.store(0, Ordering::Relaxed);
    }
}

/// What is about to be done.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "only a test looks"))]
pub(super) enum Effect<'a> {
    Write(&'a File, u64, usize),
    SetAside,
    Sync(&'a File),
    Create(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
    SyncDir(&'a Path),
}

impl Disk {
    /// For whoever watches whether it answers.
    pub(super) fn asked(&self) -> Arc<Asked> {
        self.asked.clone()
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.ask(&Effect::Write(file, offset, bytes.len()), || file.write_all_at(bytes, offset))
    }

    /// The bytes of `file`, and its length, are on the medium, under a name.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.ask(&Effect::Sync(file), || {
            rustix::fs::fdatasync(file)?;
            // However well it is synced, a file that was removed meanwhile is gone with this process.
            match rustix::fs::fstat(file)?.st_nlink {
                0 => Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed by somebody else")),
                _ => Ok(()),
            }
        })
    }

    /// The names in `dir` are on the medium.
    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.ask(&Effect::SyncDir(dir), || Ok(rustix::fs::fsync(File::open(dir)?)?))
    }

    /// Stores into a mapped file: it waits as long as a frozen disk does.
    pub(super) fn store(&self, store: impl FnOnce()) {
        self.asked.begin();
        store();
        self.asked.end();
    }

    /// A new file, 0600; fails where one exists.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        self.ask(&Effect::Create(path), || {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
        })
    }

    /// A directory and those above it, 0700.
    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.ask(&Effect::Create(path), || DirBuilder::new().recursive(true).mode(0o700).create(path))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(&Effect::Rename(from, to), || std::fs::rename(from, to))
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(&Effect::Remove(path), || std::fs::remove_file(path))
    }

    /// Sets `len` bytes aside, writes zeros over them and syncs: a later store can neither find the disk full nor an unwritten extent.
    pub(super) fn set_aside(&self, file: &File, len: u64) -> io::Result<()> {
        self.ask(&Effect::SetAside, || {
            rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len)?;
            let zeros = vec![0; ZEROS.min(len as usize)];
            let mut at = 0;
            while at < len {
                let part = (len - at).min(zeros.len() as u64);
                file.write_all_at(&zeros[..part as usize], at)?;
                at += part;
            }
            Ok(())
        })?;
        self.sync(file)
    }

    fn ask<T>(&self, effect: &Effect<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.point(effect)?;
        self.asked.begin();
        let answer = act();
        self.asked.end();
        answer
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self, reason = "under test it can fail")]
    fn point(&self, _: &Effect<'_>) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn point(&self, effect: &Effect<'_>) -> io::Result<()> {
        self.faults.before(effect)
    }
}

/// A file that has its name only once its contents are synced. Dropped before that, it is removed: on a full disk what it
/// took is needed.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: Option<File>,
    path: PathBuf,
    disk: Disk,
}

impl Unfinished {
    /// Begins the file that will be `path`.
    pub(super) fn begin(disk: &Disk, path: &Path) -> io::Result<Unfinished> {
        let path = path.with_extension("new");
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = Some(disk.create(&path)?);
        Ok(Unfinished { file, path, disk: disk.clone() })
    }

    /// Sets `len` bytes aside in it.
    pub(super) fn set_aside(&self, len: u64) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| self.disk.set_aside(file, len))
    }

    /// Writes `bytes` into it at `offset`.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| self.disk.write_at(file, bytes, offset))
    }

    /// Writes its beginning, syncs it and gives it its name. The caller syncs the directory.
    pub(super) fn finish(mut self, bytes: &[u8], path: &Path) -> io::Result<File> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        self.disk.write_at(file, bytes, 0)?;
        self.disk.sync(file)?;
        self.disk.rename(&self.path, path)?;
        self.file.take().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.disk.remove(&self.path);
        }
    }
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

/// The same for a lock file that is there, changing nothing.
pub(super) fn hold(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
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

/// Bytes that this user may still write on the file system of `dir`.
pub(super) fn room(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A file and the name it was opened by.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    id: (u64, u64),
}

impl Named {
    pub(super) fn new(path: PathBuf, file: &File) -> io::Result<Named> {
        let meta = file.metadata()?;
        Ok(Named { path, id: (meta.dev(), meta.ino()) })
    }

    /// Whether the name still leads to the file: not where it was removed, or something was mounted over it or away.
    pub(super) fn is_there(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id)
    }
}

/// The kernel's id of this boot; all zeros where there is none, which matches no ring.
pub(super) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut digits = text.bytes().filter_map(|digit| (digit as char).to_digit(16));
    std::array::from_fn(|_| (digits.next().unwrap_or(0) << 4 | digits.next().unwrap_or(0)) as u8)
}
